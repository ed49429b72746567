"""What holds for every graph that is compressed, tried on graphs that are drawn at random."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.compress import cluster, deduplicate, prune, simplify
from edge_ai.engine.compress.kmeans import nearest, palette_of
from edge_ai.engine.compress.steps import compress
from edge_ai.engine.formats.onnx import read_model, subgraphs, weights, write_model
from edge_ai.engine.options import OptimizeOptions
from tests.engine.compress_graphs import Array, answers
from tests.engine.graphs import model_of, value

OVERHEAD_BYTES = 256
FEW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOME = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Drawn:
    """A network that was drawn, and what to feed it."""

    model: onnx.ModelProto
    feeds: list[Array]


class _Builder:
    def __init__(self, draw: Any, opset: int) -> None:
        self.draw = draw
        self.opset = opset
        self.random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.made = 0

    def name(self, role: str) -> str:
        self.made += 1
        return f"{role}{self.made}"

    def weight(self, *shape: int) -> str:
        """Add a weight: drawn, the copy of an earlier one, or the earlier one itself; an initializer or a Constant."""
        name = self.name("w")
        values = (self.random.standard_normal(shape) / np.sqrt(max(1, shape[-1]))).astype(np.float32)
        alike = [tensor for tensor in self.weights if tuple(tensor.dims) == shape]
        kind = self.draw(st.sampled_from(["new", "new", "copy", "same", "constant"]))
        if alike and kind == "same":
            return str(alike[0].name)
        if alike and kind == "copy":
            values = numpy_helper.to_array(alike[0])
        tensor = numpy_helper.from_array(values, name)
        if kind == "constant":
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.weights.append(tensor)
        return name

    def node(self, kind: str, inputs: list[str], **given: Any) -> str:
        output = self.name("t")
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"node_{output}", **given))
        return output

    def dense(self, x: str, width: int, out: int) -> str:
        kind = self.draw(st.sampled_from(["MatMul", "Gemm", "Gemm transposed", "branch"]))
        if kind == "branch":
            return self.branch(x, width, out)
        if kind == "MatMul":
            return self.node("MatMul", [x, self.weight(width, out)])
        turned = kind.endswith("transposed")
        matrix = self.weight(out, width) if turned else self.weight(width, out)
        return self.node("Gemm", [x, matrix, self.weight(out)], transB=int(turned))

    def branch(self, x: str, width: int, out: int) -> str:
        """Add an If with a weight in each branch, equal or not."""
        output = self.name("t")
        values = self.random.standard_normal((width, out)).astype(np.float32)
        branches = {}
        for side in ("then_branch", "else_branch"):
            if self.draw(st.booleans()):
                values = values[::-1].copy()
            inside = [helper.make_node("MatMul", [x, f"{output}_w"], [f"{output}_{side}"])]
            tensor = numpy_helper.from_array(values, f"{output}_w")
            branches[side] = helper.make_graph(inside, side, [], [value(f"{output}_{side}", None)], [tensor])  # type: ignore[arg-type]
        self.nodes.append(helper.make_node("If", ["flag"], [output], name=f"node_{output}", **branches))
        return output


@st.composite
def networks(draw: Any) -> Drawn:
    """Draw a network: perhaps a convolution, one to four dense layers, some of them in branches."""
    builder = _Builder(draw, draw(st.integers(7, 21)))
    shape: list[int]
    x, width = "x", draw(st.sampled_from([8, 24, 33]))
    if draw(st.booleans()):
        channels = draw(st.sampled_from([3, 4, 8]))
        shape = [2, channels, 6, 6]
        filters = draw(st.sampled_from([5, 16]))
        x = builder.node("Conv", [x, builder.weight(filters, channels, 3, 3), builder.weight(filters)])
        x = builder.node("Flatten", [builder.node("Relu", [x])], axis=1)
        width = filters * 16
    else:
        shape = [2, width]
    for _ in range(draw(st.integers(1, 4))):
        out = draw(st.sampled_from([8, 24, 33]))
        x = builder.dense(x, width, out)
        x = builder.node(draw(st.sampled_from(["Relu", "Identity", "Tanh"])), [x])
        width = out
    if draw(st.booleans()):
        builder.weights.append(numpy_helper.from_array(np.ones(50, np.float32), "forgotten"))
    builder.nodes[-1].output[0] = "y"
    inputs = [value("x", shape), value("flag", [], TensorProto.BOOL)]
    model = model_of(builder.nodes, inputs, [value("y", [2, width])], builder.weights, opset=builder.opset)
    flag = np.array(draw(st.booleans()))
    return Drawn(model=model, feeds=[builder.random.standard_normal(shape).astype(np.float32), flag])


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def layer_values(model: onnx.ModelProto) -> dict[tuple[int, str], Array]:
    return {
        (place, weight.name): numpy_helper.to_array(weight.tensor)
        for place, graph in enumerate(subgraphs(model.graph))
        for weight in weights(model)
        if weight.graph is graph and len(weight.tensor.dims) >= 2 and weight.dtype == "float32"
    }


@FEW
@given(drawn=networks())
def test_simplifying_changes_no_answer(drawn: Drawn) -> None:
    expected = answers(drawn.model, *drawn.feeds)[0]
    with tempfile.TemporaryDirectory() as folder:
        applied = simplify.apply(copy_of(drawn.model), workdir=Path(folder))
    np.testing.assert_allclose(answers(applied.model, *drawn.feeds)[0], expected, rtol=1e-5, atol=1e-5)
    assert applied.done["nodes_after"] <= applied.done["nodes_before"]
    assert applied.model.ByteSize() <= drawn.model.ByteSize() * 1.1 + OVERHEAD_BYTES


@SOME
@given(drawn=networks())
def test_joining_equal_weights_changes_no_answer_and_leaves_no_two_alike(drawn: Drawn) -> None:
    expected = answers(drawn.model, *drawn.feeds)[0]

    applied = deduplicate.apply(copy_of(drawn.model), transposed=True)

    np.testing.assert_allclose(answers(applied.model, *drawn.feeds)[0], expected, rtol=1e-5, atol=1e-5)
    held = [values.tobytes() + str(values.shape).encode() for values in layer_values(applied.model).values()]
    assert len(held) == len(set(held))
    assert "forgotten" not in {tensor.name for tensor in applied.model.graph.initializer}
    assert applied.model.ByteSize() <= drawn.model.ByteSize() + OVERHEAD_BYTES


@SOME
@given(drawn=networks(), sparsity=st.floats(0.01, 0.99))
def test_pruning_leaves_the_share_of_zeros_that_was_asked_for(drawn: Drawn, sparsity: float) -> None:
    applied = prune.apply(copy_of(drawn.model), sparsity=sparsity)

    held = layer_values(applied.model).values()
    elements, zeros = sum(values.size for values in held), sum(int(np.sum(values == 0)) for values in held)
    assert applied.done["elements"] == elements
    assert abs(zeros - sparsity * elements) <= 0.5 + 1e-9
    assert np.isfinite(answers(applied.model, *drawn.feeds)[0]).all()
    assert applied.model.ByteSize() <= drawn.model.ByteSize() + OVERHEAD_BYTES


@SOME
@given(drawn=networks(), size=st.sampled_from([16, 256]))
def test_clustering_leaves_few_values_and_a_graph_that_runs(drawn: Drawn, size: int) -> None:
    original = copy_of(drawn.model)

    applied = cluster.apply(copy_of(drawn.model), size=size)

    held = {
        tensor.name: numpy_helper.to_array(tensor)
        for graph in subgraphs(applied.model.graph)
        for tensor in graph.initializer
    }
    values = {name: np.unique(held[name]).size for name in held if "::palette" in name}
    assert all(count <= 256 for count in values.values())
    if size == 16:
        # Only the smallest weights may have more.
        finer = sum(held[name.replace("::palette", "::index")].size for name, count in values.items() if count > size)
        assert finer <= cluster.SMALL_SHARE * sum(array.size for array in layer_values(original).values())
    assert np.isfinite(answers(applied.model, *drawn.feeds)[0]).all()
    assert applied.model.ByteSize() <= original.ByteSize() + OVERHEAD_BYTES
    if applied.done["weights"]:
        assert applied.model.ByteSize() < original.ByteSize() + OVERHEAD_BYTES - applied.done["bytes_saved"]


@SOME
@given(
    size=st.sampled_from([16, 256]),
    count=st.integers(600, 5000),
    seed=st.integers(0, 2**16),
    tail=st.floats(0.0, 2.0),
    zeros=st.floats(0.0, 0.9),
)
def test_k_means_beats_equal_steps(size: int, count: int, seed: int, tail: float, zeros: float) -> None:
    random = np.random.default_rng(seed)
    values = (random.standard_normal(count) * np.exp(tail * random.standard_normal(count))).astype(np.float32)
    values[: int(zeros * count)] = 0

    palette = palette_of(values, size)

    equal = np.linspace(values.min(), values.max(), size).astype(np.float32)
    errors = [
        float(np.sum((values - levels[nearest(values, levels)]).astype(np.float64) ** 2)) for levels in (palette, equal)
    ]
    assert palette.size <= size
    assert errors[0] < errors[1]


@FEW
@given(
    drawn=networks(),
    asked=st.fixed_dictionaries(
        {
            "deduplicate": st.booleans(),
            "prune": st.sampled_from(["none", "unstructured", "2:4"]),
            "cluster": st.sampled_from([0, 16, 256]),
        }
    ),
)
def test_all_steps_together_give_a_model_that_loads_runs_and_did_not_grow(drawn: Drawn, asked: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(drawn.model, folder / "model.onnx")
        reports = compress(folder / "model.onnx", folder / "small.onnx", OptimizeOptions(**asked), folder)
        made = read_model(folder / "small.onnx")
    onnx.checker.check_model(made)
    assert np.isfinite(answers(made, *drawn.feeds)[0]).all()
    assert len(reports) == sum(value not in {0, "none"} for value in asked.values())
    assert made.ByteSize() <= drawn.model.ByteSize() + OVERHEAD_BYTES


@pytest.mark.parametrize("size", [16, 256])
def test_a_constant_weight_is_one_value(size: int) -> None:
    np.testing.assert_array_equal(palette_of(np.full(1000, 0.3, np.float32), size), np.array([0.3], np.float32))
