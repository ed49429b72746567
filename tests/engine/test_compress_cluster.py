"""Clustered weights: how many values, how close, how small, and unfolded when the model is loaded."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.compress import cluster, prune
from edge_ai.engine.compress.kmeans import nearest, palette_of
from edge_ai.engine.compress.unfold import MARK
from edge_ai.engine.formats.onnx import subgraphs
from edge_ai.engine.quantize.fp16 import halve_weights
from tests.engine.compress_graphs import answers, branches, constant_net, loop_net, optimized, sqnr_db, tied_net
from tests.engine.graphs import conv_net, dense_net, model_of, samples, trees, value, weight

SIZES = [256, 16]


def uniform(values: np.ndarray, size: int) -> np.ndarray:
    levels = np.linspace(values.min(), values.max(), size, dtype=np.float32)
    return levels[nearest(values, levels)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("draw", ["normal", "heavy", "lopsided"])
def test_k_means_is_closer_than_equal_steps(size: int, draw: str) -> None:
    random = np.random.default_rng(1)
    values = {
        "normal": random.standard_normal(50_000),
        "heavy": random.standard_t(2, 50_000),
        "lopsided": random.exponential(1, 50_000),
    }[draw].astype(np.float32)

    palette = palette_of(values, size)

    assert palette.dtype == np.float32
    assert palette.size <= size
    assert (np.diff(palette) > 0).all()
    gain = sqnr_db(values, palette[nearest(values, palette)]) - sqnr_db(values, uniform(values, size))
    assert gain > 1.0


def test_a_normal_distribution_in_16_values_comes_close_to_the_optimum_of_lloyd_and_max() -> None:
    values = np.random.default_rng(2).standard_normal(400_000).astype(np.float32)
    palette = palette_of(values, 16)
    # Max (1960): 0.009497 of the variance, 20.22 dB.
    assert float(np.mean((values - palette[nearest(values, palette)]) ** 2)) == pytest.approx(0.009497, rel=0.02)


def test_few_distinct_values_are_kept_exactly() -> None:
    values = np.random.default_rng(3).choice(np.array([-1.5, 0, 0.25, 7], np.float32), 1000)
    palette = palette_of(values, 16)
    np.testing.assert_array_equal(palette, [-1.5, 0, 0.25, 7])
    np.testing.assert_array_equal(palette[nearest(values, palette)], values)


def test_pruned_weights_stay_zero() -> None:
    model = prune.apply(dense_net(), sparsity=0.6).model
    before = numpy_helper.to_array(model.graph.initializer[0])

    applied = cluster.apply(model, size=16)

    made = unfolded(applied.model)["w1"]
    assert ((made == 0) == (before == 0)).all()


def unfolded(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Compute the weights of a clustered model, without onnxruntime."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name.endswith(MARK):
            given = [known[name] for name in node.input]
            settings = {item.name: item.i for item in node.attribute}
            if node.op_type == "Cast":
                known[node.output[0]] = given[0].astype(np.int32)
            elif node.op_type == "Gather":
                known[node.output[0]] = given[0][given[1]]
            elif node.op_type == "Mul":
                known[node.output[0]] = given[0] * given[1]
            elif node.op_type == "Reshape":
                known[node.output[0]] = given[0].reshape(given[1])
            else:
                known[node.output[0]] = np.concatenate(given, axis=settings["axis"])
    return known


@pytest.mark.parametrize("size", SIZES)
def test_each_weight_has_few_values_and_the_file_shrinks(size: int) -> None:
    model = dense_net()
    before = model.ByteSize()

    applied = cluster.apply(model, size=size)

    made = unfolded(applied.model)["w1"]
    assert max(np.unique(channel).size for channel in made.T) <= size
    assert before - applied.model.ByteSize() == pytest.approx(applied.done["bytes_saved"], abs=128)
    assert applied.model.ByteSize() < before * (0.6 if size == 256 else 0.45)
    onnx.checker.check_model(applied.model, full_check=True)
    x = samples(4, 32)
    assert sqnr_db(answers(dense_net(), x)[0], answers(applied.model, x)[0]) > (40 if size == 256 else 15)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opset", [7, 11, 13, 17, 21])
def test_it_runs_in_every_operator_set(size: int, opset: int) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = model_of(
        nodes, [value("x", [1, 16, 9, 9])], [value("y", [1, 33, 7, 7])], [weight("w", 33, 16, 3, 3)], opset=opset
    )
    x = samples(1, 16, 9, 9)
    expected = answers(model, x)[0]

    applied = cluster.apply(model, size=size)

    assert applied.done["weights"] == 1
    assert sqnr_db(expected, answers(applied.model, x)[0]) > (35 if size == 256 else 17)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "make", [dense_net, constant_net, branches, loop_net, tied_net], ids=lambda make: make.__name__
)
def test_onnxruntime_unfolds_it_once_when_it_loads_the_model(tmp_path: Path, size: int, make: object) -> None:
    model = make()  # type: ignore[operator]
    plain = sorted(node.op_type for graph in subgraphs(optimized(model, tmp_path).graph) for node in graph.node)

    applied = cluster.apply(model, size=size)

    assert applied.done["weights"] >= 1
    run = optimized(applied.model, tmp_path)
    assert sorted(node.op_type for graph in subgraphs(run.graph) for node in graph.node) == plain


@pytest.mark.parametrize("size", SIZES)
def test_channels_of_different_scale_are_all_kept_well(size: int) -> None:
    scales = np.geomspace(1e-3, 1e3, 32, dtype=np.float32)
    values = np.random.default_rng(5).standard_normal((64, 32)).astype(np.float32) * scales
    values[:, 7] = 0
    values[3, 7] = 1e-42
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of([node], [value("x", [1, 64])], [value("y", [1, 32])], [numpy_helper.from_array(values, "w")])

    applied = cluster.apply(model, size=size)

    assert applied.done["weights_with_scales"] == 1
    made = unfolded(applied.model)["w"]
    assert not made[:, 7].any()
    live = np.delete(np.arange(32), 7)
    assert min(sqnr_db(values[:, place], made[:, place]) for place in live) > (30 if size == 256 else 14)
    tiny = (made != 0) & (np.abs(made) < np.finfo(np.float32).tiny)
    assert not tiny.any()


def test_an_odd_number_of_weights_takes_half_a_byte_each_too() -> None:
    shape = (33, 33)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of([node], [value("x", [1, 33])], [value("y", [1, 33])], [weight("w", *shape)])

    applied = cluster.apply(model, size=16)

    made = unfolded(applied.model)
    assert made["w"].shape == shape
    assert made["w::index"].size == 33 * 33 // 2
    assert np.unique(made["w"]).size <= 16
    x = samples(1, 33)
    np.testing.assert_allclose(answers(applied.model, x)[0], x @ made["w"], rtol=1e-4, atol=1e-5)


def test_fp16_weights_are_clustered_in_fp16() -> None:
    half = numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float16), "w")
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "wide"], ["y"]),
    ]
    model = model_of(nodes, [value("x", [1, 64])], [value("y", [1, 64])], [half])
    x = samples(1, 64)
    expected = answers(model, x)[0]

    applied = cluster.apply(model, size=256)

    assert unfolded(applied.model)["w"].dtype == np.float16
    assert sqnr_db(expected, answers(applied.model, x)[0]) > 35


def test_a_clustered_model_can_be_stored_in_fp16_afterwards() -> None:
    x = samples(1, 2, 6, 6)
    expected = answers(conv_net(batch=1), x)[0]
    model = cluster.apply(conv_net(batch=1), size=16).model
    before = model.ByteSize()

    halve_weights(model)

    assert model.ByteSize() <= before
    assert sqnr_db(expected, answers(model, x)[0]) > 15


def test_what_would_not_get_smaller_is_left_alone() -> None:
    for model in (trees(), model_of([helper.make_node("Add", ["x", "b"], ["y"])], [value("x", [4096])],
                                    [value("y", [4096])], [weight("b", 4096)])):  # fmt: skip
        before = model.SerializeToString(deterministic=True)
        applied = cluster.apply(model, size=256)
        assert applied.model.SerializeToString(deterministic=True) == before
        assert "no float weights" in applied.note


def test_infinities_are_kept_or_the_weight_is_left_alone() -> None:
    mask = np.triu(np.full((64, 64), -np.inf, np.float32), 1)
    mixed = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    mixed[0, 0] = np.nan
    nodes = [helper.make_node("Add", ["x", "mask"], ["h"]), helper.make_node("Add", ["h", "mixed"], ["y"])]
    model = model_of(
        nodes,
        [value("x", [64, 64])],
        [value("y", [64, 64])],
        [numpy_helper.from_array(mask, "mask"), numpy_helper.from_array(mixed, "mixed")],
    )

    applied = cluster.apply(model, size=16)

    assert [layer["name"] for layer in applied.done["layers"]] == ["mask"]
    np.testing.assert_array_equal(unfolded(applied.model)["mask"], mask)


def test_the_same_model_gives_the_same_bytes() -> None:
    one, two = (cluster.apply(dense_net(), size=16).model.SerializeToString(deterministic=True) for _ in range(2))
    assert one == two
