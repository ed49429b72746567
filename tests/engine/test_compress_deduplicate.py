"""Equal weights are stored once."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.compress import deduplicate
from edge_ai.engine.formats.onnx import subgraphs
from tests.engine.compress_graphs import Array, answers, branches, optimized, tied_net, weights_of
from tests.engine.graphs import dense_net, model_of, samples, value, weight


def test_equal_weights_are_joined_and_their_readers_follow() -> None:
    ids = np.array([3, 1, 49])
    expected = answers(tied_net(), ids)

    applied = deduplicate.apply(tied_net())

    assert applied.done["joined"] == 1
    assert applied.done["weight_bytes_saved"] == 50 * 32 * 4
    assert len(applied.model.graph.initializer) == 1
    for x, y in zip(expected, answers(applied.model, ids), strict=True):
        np.testing.assert_array_equal(x, y)


def test_weights_that_nothing_reads_are_dropped() -> None:
    model = dense_net()
    model.graph.initializer.append(weight("forgotten", 100, seed=9))

    applied = deduplicate.apply(model)

    assert applied.done["unused_dropped"] == 1
    assert set(weights_of(applied.model)) == {"w1", "w2"}


@pytest.mark.parametrize("other", ["type", "shape", "one bit", "sign of zero"])
def test_what_differs_in_anything_stays_apart(other: str) -> None:
    values = np.zeros((8, 8), np.float32)
    candidates: dict[str, Array] = {
        "type": np.zeros((8, 8), np.float64),
        "shape": values.reshape(4, 16),
        "one bit": np.nextafter(values, 1, dtype=np.float32),
        "sign of zero": -values,
    }
    second = candidates[other]
    nodes = [helper.make_node("Identity", [name], [f"{name}_y"]) for name in ("a", "b")]
    kinds = [TensorProto.FLOAT, TensorProto.DOUBLE if other == "type" else TensorProto.FLOAT]
    outputs = [value("a_y", [8, 8], kinds[0]), value("b_y", list(second.shape), kinds[1])]
    weights = [numpy_helper.from_array(values, "a"), numpy_helper.from_array(second, "b")]

    applied = deduplicate.apply(model_of(nodes, [], outputs, weights))

    assert applied.done["joined"] == 0
    assert "No two weights" in applied.note


def test_equal_weights_of_two_branches_move_out_of_both(tmp_path: Path) -> None:
    x = samples(2, 32)
    expected = [answers(branches(), np.array(flag), x)[0] for flag in (True, False)]

    applied = deduplicate.apply(branches())

    assert applied.done["moved_out"] == 1
    assert applied.done["joined"] == 2
    assert applied.done["weight_bytes_saved"] == 32 * 64 * 4
    assert sum(len(graph.initializer) for graph in subgraphs(applied.model.graph)) == 1
    for flag, y in zip((True, False), expected, strict=True):
        np.testing.assert_array_equal(answers(applied.model, np.array(flag), x)[0], y)
    assert optimized(applied.model, tmp_path).graph.node[0].op_type == "If"


def test_different_weights_of_one_name_in_two_branches_stay_where_they_are() -> None:
    x = samples(2, 32)
    model = branches(equal=False)
    expected = [answers(model, np.array(flag), x)[0] for flag in (True, False)]

    applied = deduplicate.apply(model)

    assert applied.done["joined"] == 0
    for flag, y in zip((True, False), expected, strict=True):
        np.testing.assert_array_equal(answers(applied.model, np.array(flag), x)[0], y)


def test_a_branch_uses_the_weight_outside_of_it() -> None:
    model = branches()
    model.graph.initializer.append(weight("outer", 32, 64, seed=1))
    model.graph.node.insert(0, helper.make_node("MatMul", ["x", "outer"], ["z"]))
    model.graph.output.append(value("z", ["batch", 64]))

    applied = deduplicate.apply(model)

    assert applied.done["joined"] == 2
    assert set(weights_of(applied.model)) == {"outer"}
    y, z = answers(applied.model, np.array(False), samples(2, 32))
    np.testing.assert_array_equal(y, z)


def test_an_output_keeps_its_name() -> None:
    nodes = [helper.make_node("Add", ["x", "a"], ["y"])]
    weights = [weight("a", 64, seed=1), weight("b", 64, seed=1)]
    model = model_of(nodes, [value("x", [64])], [value("y", [64]), value("b", [64])], weights)

    applied = deduplicate.apply(model)

    assert applied.done["joined"] == 0
    assert len(answers(applied.model, samples(64))) == 2


def test_transposes_are_joined_only_where_they_are_asked_for(tmp_path: Path) -> None:
    ids = np.array([0, 7])
    expected = answers(tied_net(transposed=True), ids)[0]
    assert deduplicate.apply(tied_net(transposed=True)).done["transposes_joined"] == 0

    applied = deduplicate.apply(tied_net(transposed=True), transposed=True)

    assert applied.done["transposes_joined"] == 1
    assert applied.done["weight_bytes_saved"] == 50 * 32 * 4
    np.testing.assert_allclose(answers(applied.model, ids)[0], expected, rtol=1e-6)
    run = [node.op_type for node in optimized(applied.model, tmp_path).graph.node]
    assert sorted(run) == ["Gather", "MatMul"]
