"""What holds for every network: converted it answers the same, made smaller it loads, inspected it is what was drawn."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edge_ai.engine.convert import onnx_to_tflite
from edge_ai.engine.convert.base import Conversion
from edge_ai.engine.errors import EngineError
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.pipeline import run
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format, OptimizeSpec, Precision
from tests.engine.graphs import Told, model_of, value
from tests.engine.lane_contexts import closeness_db

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
#: Each example converts, or goes through the whole pipeline.
FEW = settings(max_examples=5, deadline=None, suppress_health_check=QUIET)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
REFUSALS = {"nothing_to_quantize", "unsupported_precision", "unsupported_operator", "parity_failed"}


@dataclass
class Drawn:
    """A network that was drawn, with what it must count to."""

    shape: list[int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)
    macs: int = 0
    answer: list[int] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=np.random.default_rng)

    @property
    def parameters(self) -> int:
        """How many numbers were drawn as weights."""
        return sum(math.prod(tensor.dims) for tensor in self.weights)

    def weight(self, *shape: int) -> str:
        """Add a weight."""
        name = f"w{len(self.weights)}"
        values = self.random.standard_normal(shape) / np.sqrt(max(1, math.prod(shape[1:])))
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], **given: Any) -> str:
        """Add an operator."""
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"node_{output}", **given))
        self.operators[kind] += 1
        return output

    def model(self) -> onnx.ModelProto:
        """Return the whole network."""
        self.nodes[-1].output[0] = "y"
        return model_of(self.nodes, [value("x", self.shape)], [value("y", self.answer)], self.weights)

    def feeds(self, count: int) -> list[dict[str, Any]]:
        """Return input."""
        return [{"x": self.random.standard_normal(self.shape).astype(np.float32)} for _ in range(count)]


@st.composite
def networks(draw: Any) -> Drawn:
    """Draw convolutions of every usual kind, perhaps, and one to three dense layers."""
    drawn = Drawn(shape=[1, draw(st.sampled_from([8, 20]))], random=np.random.default_rng(draw(st.integers(0, 999))))
    x, width = "x", drawn.shape[1]
    if draw(st.booleans()):
        channels, size = draw(st.sampled_from([4, 8])), draw(st.integers(7, 10))
        drawn.shape = [1, channels, size, size]
        for _ in range(draw(st.integers(1, 2))):
            x, channels, size = _convolution(draw, drawn, x, channels, size)
        x = drawn.node("Flatten", [x], axis=1)
        width = channels * size * size
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.sampled_from([6, 16, 32]))
        if draw(st.booleans()):
            x = drawn.node("MatMul", [x, drawn.weight(width, out)])
        else:
            x = drawn.node("Gemm", [x, drawn.weight(out, width), drawn.weight(out)], transB=1)
        x = drawn.node(draw(st.sampled_from(["Relu", "Tanh", "Sigmoid"])), [x])
        drawn.macs += width * out
        width = out
    drawn.answer = [1, width]
    return drawn


def _convolution(draw: Any, drawn: Drawn, x: str, channels: int, size: int) -> tuple[str, int, int]:
    depthwise, stride, pad = draw(st.booleans()), draw(st.integers(1, 2)), draw(st.integers(0, 1))
    filters = channels if depthwise else draw(st.sampled_from([4, 8]))
    inner = 1 if depthwise else channels
    x = drawn.node(
        "Conv",
        [x, drawn.weight(filters, inner, 3, 3), drawn.weight(filters)],
        kernel_shape=[3, 3],
        group=channels if depthwise else 1,
        strides=[stride, stride],
        pads=[pad] * 4,
    )
    size = (size + 2 * pad - 3) // stride + 1
    drawn.macs += filters * size * size * inner * 9
    return drawn.node("Relu", [x]), filters, size


@FEW
@given(drawn=networks())
def test_a_converted_network_answers_what_its_source_answers(drawn: Drawn) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "source.onnx", folder / "made.tflite"
        source.write_bytes(drawn.model().SerializeToString())
        feeds = drawn.feeds(3)
        onnx_to_tflite.convert(
            Conversion(source=source, target=target, workdir=folder, inputs=(), sample=feeds[0], progress=Told())
        )
        assert closeness_db(source, Format.ONNX, target, Format.TFLITE, feeds) > 80


@FEW
@given(
    drawn=networks(),
    precision=st.sampled_from([Precision.INT8, Precision.INT8_DYNAMIC, Precision.FP16, Precision.INT4, Precision.FP8]),
)
def test_what_is_made_smaller_loads_and_answers_or_is_refused(drawn: Drawn, precision: Precision) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(drawn.model().SerializeToString())
        feeds = drawn.feeds(24)
        np.savez(folder / "data.npz", x=np.concatenate([feed["x"] for feed in feeds]))
        spec = OptimizeSpec(
            model_path="model.onnx",
            source_format=Format.ONNX,
            target_format=Format.ONNX,
            precision=precision,
            dataset_path="data.npz",
            options={"search": False},
        )
        try:
            made = run(spec, folder, Told())
        except EngineError as error:
            assert error.code in REFUSALS
            assert error.fix
            return
        variant = open_model(folder / made.files[0].path, Format.ONNX, threads=1)
        assert all(np.isfinite(answer).all() for feed in feeds for answer in variant.run(feed))


@MANY
@given(drawn=networks())
def test_an_inspection_counts_what_was_drawn(drawn: Drawn) -> None:
    with TemporaryDirectory() as name:
        path = Path(name, "model.onnx")
        path.write_bytes(drawn.model().SerializeToString())
        found = handler_of(Format.ONNX).inspect(path, path.parent)
    assert found["parameter_count"] == drawn.parameters
    assert found["weight_bytes"] == 4 * drawn.parameters
    assert found["operators"] == dict(drawn.operators)
    assert found["macs"] == drawn.macs
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": drawn.shape}]
    assert found["outputs"] == [{"name": "y", "dtype": "float32", "shape": drawn.answer}]
