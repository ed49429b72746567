"""Pruning: which weights become zero, and how many."""

import numpy as np
import pytest
from onnx import helper

from edge_ai.engine.compress import prune
from tests.engine.compress_graphs import answers, branches, constant_net, loop_net, weights_of
from tests.engine.graphs import conv_net, dense_net, model_of, samples, trees, value, weight


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9, 0.99])
def test_the_share_that_was_asked_for_becomes_zero_over_all_layers(sparsity: float) -> None:
    before = weights_of(conv_net())

    applied = prune.apply(conv_net(), sparsity=sparsity)

    after = weights_of(applied.model)
    zeros = sum(int(np.sum(after[name] == 0)) for name in ("cw", "gw"))
    assert zeros == round(sparsity * (before["cw"].size + before["gw"].size)) == applied.done["zeros"]
    for name in ("cb", "gb"):
        np.testing.assert_array_equal(after[name], before[name])


def test_within_a_layer_the_smallest_go_and_the_others_stay_as_they_are() -> None:
    before = weights_of(dense_net())["w1"]

    after = weights_of(prune.apply(dense_net(), sparsity=0.6).model)["w1"]

    gone = after == 0
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(after[~gone], before[~gone])


def test_a_layer_of_small_weights_is_not_erased() -> None:
    nodes = [helper.make_node("MatMul", ["x", "small"], ["h"]), helper.make_node("MatMul", ["h", "large"], ["y"])]
    weights = [weight("small", 16, 16, seed=1, scale=1e-4), weight("large", 16, 16, seed=2, scale=10.0)]
    model = model_of(nodes, [value("x", [1, 16])], [value("y", [1, 16])], weights)

    after = weights_of(prune.apply(model, sparsity=0.5).model)

    assert [0.3 < float(np.mean(after[name] == 0)) < 0.7 for name in ("small", "large")] == [True, True]


def test_lamp_scores_follow_their_definition() -> None:
    values = np.array([3.0, -1.0, 2.0])
    np.testing.assert_allclose(prune.lamp_scores(values), [1 / 14, 4 / 13, 1.0], rtol=1e-6)


def test_zeros_that_are_there_already_count() -> None:
    model = dense_net()
    once = prune.apply(model, sparsity=0.5).model
    before = weights_of(once)

    again = prune.apply(once, sparsity=0.4)

    assert again.done["achieved_sparsity"] == pytest.approx(0.5, abs=1e-3)
    np.testing.assert_array_equal(weights_of(again.model)["w1"], before["w1"])


@pytest.mark.parametrize(
    ("kind", "settings", "shape", "axis"),
    [
        ("MatMul", {}, (8, 6), 0),
        ("Gemm", {}, (8, 6), 0),
        ("Gemm", {"transB": 1}, (6, 8), 1),
    ],
)
def test_two_of_four_along_the_input_channels_stay(
    kind: str, settings: dict[str, int], shape: tuple[int, int], axis: int
) -> None:
    node = helper.make_node(kind, ["x", "w"], ["y"], **settings)  # type: ignore[arg-type]
    model = model_of([node], [value("x", [1, 8])], [value("y", [1, 6])], [weight("w", *shape, seed=7)])
    before = np.moveaxis(weights_of(model)["w"], axis, -1).reshape(6, 2, 4)

    after = np.moveaxis(weights_of(prune.apply(model, method="2:4").model)["w"], axis, -1).reshape(6, 2, 4)

    assert (np.sum(after != 0, axis=-1) == 2).all()
    kept = np.sort(np.abs(after), axis=-1)[..., 2:]
    np.testing.assert_array_equal(kept, np.sort(np.abs(before), axis=-1)[..., 2:])


def test_two_of_four_takes_convolutions_by_channel_and_leaves_out_what_does_not_divide() -> None:
    nodes = [helper.make_node("Conv", ["x", "first"], ["h"]), helper.make_node("Conv", ["h", "second"], ["y"])]
    weights = [weight("first", 8, 3, 3, 3, seed=1), weight("second", 4, 8, 3, 3, seed=2)]
    model = model_of(nodes, [value("x", [1, 3, 9, 9])], [value("y", [1, 4, 5, 5])], weights)

    applied = prune.apply(model, method="2:4")

    after = weights_of(applied.model)
    assert applied.done["layers_left_out"] == ["first"]
    assert "left alone" in applied.note
    assert np.count_nonzero(after["first"]) == after["first"].size
    groups = after["second"].reshape(4, 2, 4, 9)
    assert (np.count_nonzero(groups, axis=2) == 2).all()


def test_embeddings_are_left_alone_even_where_a_layer_shares_them() -> None:
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["words"]),
        helper.make_node("MatMul", ["words", "w"], ["y"]),
    ]
    model = model_of(nodes, [value("ids", [3], 7)], [value("y", [3, 8])], [weight("w", 8, 8)])

    applied = prune.apply(model, sparsity=0.5)

    assert applied.done["weights"] == 0
    assert applied.note == "The model has no weights that could be pruned."


def test_weights_in_constants_branches_and_loops_are_pruned_and_the_graph_runs() -> None:
    for model, feeds in (
        (constant_net(), [samples(2, 64)]),
        (branches(), [np.array(True), samples(2, 32)]),
        (loop_net(), [samples(2, 32)]),
    ):
        applied = prune.apply(model, sparsity=0.5)
        assert applied.done["weights"] >= 1
        assert applied.done["achieved_sparsity"] == pytest.approx(0.5, abs=1e-3)
        assert np.isfinite(answers(applied.model, *feeds)[0]).all()


def test_a_model_without_layers_stays_as_it_is() -> None:
    assert prune.apply(trees()).done["zeros"] == 0
