"""What holds for every ONNX variant, tried on networks that are drawn at random, in every precision and with every option."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.evaluate.parity import Reference, compare_variant, run_reference
from edge_ai.engine.formats.onnx import read_model
from edge_ai.engine.formats.onnx_analysis import analyze
from edge_ai.engine.formats.onnx_file import HANDLER
from edge_ai.engine.lanes import onnx as lane
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format, OptimizationLevel, Precision

from . import graphs

PRECISIONS = [
    Precision.FP32,
    Precision.FP16,
    Precision.INT8,
    Precision.INT8_DYNAMIC,
    Precision.INT4,
    Precision.FP8,
]
#: What made-up networks reach at least, in dB, when the range of their activations is known.
LEAST_DB = {
    Precision.FP32: 90.0,
    Precision.FP16: 40.0,
    Precision.INT8: 10.0,
    Precision.INT8_DYNAMIC: 10.0,
    Precision.INT4: 3.0,
    Precision.FP8: 10.0,
}
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@dataclass
class Drawn:
    """A network that was drawn, what to feed it, and its figures as they were counted while it was built."""

    model: onnx.ModelProto
    feeds: list[Feed]
    parameters: int
    macs: int

    def __repr__(self) -> str:
        opset = self.model.opset_import[0].version
        return f"opset {opset}: {[node.op_type for node in self.model.graph.node]}"


class _Builder:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.parameters = self.macs = 0

    def weight(self, *shape: int, constant: bool = False) -> str:
        name = f"w{len(self.weights) + len(self.nodes)}_{self.parameters}"
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        values = (self.random.standard_normal(shape) / np.sqrt(max(1, fan_in))).astype(np.float32)
        self.parameters += values.size
        tensor = numpy_helper.from_array(values, name)
        if constant:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.weights.append(tensor)
        return name

    def node(self, kind: str, inputs: list[str], **given: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **given))
        return output


@st.composite
def networks(draw: Any) -> Drawn:
    """Draw one to three convolutions or none, then dense layers or a recurrent one, in opset 7 to 22."""
    opset = draw(st.integers(7, 22))
    made = _Builder(draw(st.integers(0, 2**16)))
    kind = draw(st.sampled_from(["pictures", "rows", "steps"]))
    x, flat = "x", 24
    shape: list[int] = [1, 24]
    if kind == "pictures":
        channels, shape = 3, [1, 3, 8, 8]
        for _ in range(draw(st.integers(1, 3))):
            filters = draw(st.sampled_from([4, 16]))
            in_constant = draw(st.booleans())
            w = made.weight(filters, channels, 3, 3, constant=in_constant)
            biased = [made.weight(filters)] if draw(st.booleans()) else []
            x = made.node("Conv", [x, w, *biased], pads=[1, 1, 1, 1])
            made.macs += filters * channels * 9 * 64
            x = made.node(draw(st.sampled_from(["Relu", "Sigmoid", "Tanh"])), [x])
            channels = filters
        x = made.node("Flatten", [made.node("GlobalAveragePool", [x])], axis=1)
        flat = channels
    elif kind == "steps":
        hidden = 16
        gates, cell = draw(st.sampled_from([(4, "LSTM"), (3, "GRU")]))
        shape = [5, 1, 24]
        w, r = made.weight(1, gates * hidden, 24), made.weight(1, gates * hidden, hidden)
        x = made.node(cell, [x, w, r], hidden_size=hidden)
        made.macs += 5 * gates * hidden * (24 + hidden)
        x = made.node("Flatten", [x], axis=1)
        made.nodes[-1].attribute[0].i = 3
        flat = hidden
    rows = 5 if kind == "steps" else 1
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.sampled_from([8, 40]))
        if draw(st.booleans()):
            x = made.node("MatMul", [x, made.weight(flat, out)])
        else:
            x = made.node("Gemm", [x, made.weight(out, flat), made.weight(out)], transB=1)
        made.macs += rows * flat * out
        x = made.node(draw(st.sampled_from(["Relu", "Tanh", "Identity"])), [x])
        flat = out
    x = made.node("Gemm", [x, made.weight(flat, 6), made.weight(6)])
    made.macs += rows * flat * 6
    if draw(st.booleans()):
        x = made.node("Softmax", [x], axis=1)
    made.nodes[-1].output[0] = "y"
    model = graphs.model_of(
        made.nodes, [graphs.value("x", shape)], [graphs.value("y", [rows, 6])], made.weights, opset=opset
    )
    feeds: list[Feed] = [{"x": made.random.standard_normal(shape).astype(np.float32)} for _ in range(12)]
    return Drawn(model=model, feeds=feeds, parameters=made.parameters, macs=made.macs)


def context_for(folder: Path, drawn: Drawn, precision: Precision, **options: Any) -> LaneContext:
    path = graphs.save(drawn.model, folder / "model.onnx")
    session = open_model(path, Format.ONNX, threads=1)
    return LaneContext(
        model=path,
        format=Format.ONNX,
        inputs=session.inputs,
        outputs=session.outputs,
        precision=precision,
        level=OptimizationLevel.BALANCED,
        options=OptimizeOptions(**options),
        calibration=drawn.feeds,
        sample=drawn.feeds[0],
        workdir=folder,
        progress=graphs.Told(),
    )


def reference_of(context: LaneContext, feeds: list[Feed]) -> Reference:
    return run_reference(
        open_model(context.model, Format.ONNX, threads=1),
        feeds,
        data="dataset",
        batch=1,
        labels=None,
        softmax_outputs={},
    )


def attempts(context: LaneContext, feeds: list[Feed]) -> Iterator[Trial]:
    """Make each way and compare it, as an optimization does; ways that are refused are left out."""
    reference = reference_of(context, feeds)
    for trial in lane.ways(context):
        try:
            trial.make(trial.path)
        except EngineError as error:
            trial.failure = error
            continue
        trial.parity = compare_variant(reference, open_model(trial.path, Format.ONNX, threads=1))
        yield trial


def closeness(trial: Trial) -> float:
    return 0.0 if trial.parity is None or trial.parity.sqnr_db is None else trial.parity.sqnr_db


@pytest.mark.parametrize("precision", PRECISIONS)
@FEW
@given(drawn=networks())
def test_every_precision_is_refused_or_gives_a_file_that_runs_and_is_close(precision: Precision, drawn: Drawn) -> None:
    with tempfile.TemporaryDirectory() as name:
        context = context_for(Path(name), drawn, precision)
        before = context.model.read_bytes()
        made = list(attempts(context, drawn.feeds[:4]))
        assert context.model.read_bytes() == before
        for trial in made:
            assert trial.parity is not None and trial.parity.sound
            onnx.checker.check_model(onnx.load(trial.path))
        if made:
            assert max(map(closeness, made)) >= LEAST_DB[precision]
        elif precision in {Precision.FP32, Precision.INT8}:
            raise AssertionError("Nothing was made.")


@FEW
@given(drawn=networks())
def test_what_is_counted_is_what_was_built(drawn: Drawn) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = analyze(graphs.save(drawn.model, Path(name) / "m.onnx"))
    assert (found["parameter_count"], found["macs"]) == (drawn.parameters, drawn.macs)
    assert found["peak_activation_bytes"] >= 4 * drawn.feeds[0]["x"].size
    assert found["precision"] == "fp32" and not [w for w in found["warnings"] if w["code"] != "old_opset"]


@pytest.mark.parametrize("precision", [Precision.INT4, Precision.FP8, Precision.FP16, Precision.INT8_DYNAMIC])
def test_parameters_and_work_do_not_depend_on_how_weights_are_stored(tmp_path: Path, precision: Precision) -> None:
    model = graphs.dense_net(hidden=512)
    drawn = Drawn(model=model, feeds=[{"x": graphs.samples(1, 32)}], parameters=0, macs=0)
    trial = next(attempts(context_for(tmp_path, drawn, precision), drawn.feeds))
    found = analyze(trial.path)
    assert found["parameter_count"] == 32 * 512 + 512 * 8
    assert found["macs"] == 32 * 512 + 512 * 8
    assert found["precision"] == {"int4": "weight-only", "fp8": "weight-only", "fp16": "fp16"}.get(
        precision, "dynamic-int8"
    )
    # The first product and its positive part, and a scale where activations are quantized as it runs.
    assert 0 <= found["peak_activation_bytes"] - 4 * (512 + 512) <= 4


def test_weights_that_branches_read_count_once_however_they_are_stored(tmp_path: Path) -> None:
    def branch(name: str, own: bool) -> onnx.GraphProto:
        weights = [graphs.weight("w", 32, 64, seed=2)] if own else []
        node = helper.make_node("MatMul", ["x", "w" if own else "shared"], [f"{name}_y"])
        return helper.make_graph([node], name, [], [graphs.value(f"{name}_y", [1, 64])], weights)

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a", True), else_branch=branch("b", False))
    values = [graphs.value("c", [], onnx.TensorProto.BOOL), graphs.value("x", [1, 32])]
    model = graphs.model_of([node], values, [graphs.value("y", [1, 64])], [graphs.weight("shared", 32, 64)])
    feed: Feed = {"c": np.array(True), "x": graphs.samples(1, 32)}
    drawn = Drawn(model=model, feeds=[feed, {**feed, "c": np.array(False)}], parameters=0, macs=0)
    context = context_for(tmp_path, drawn, Precision.INT8, weight_only=True)
    trial = next(attempts(context, drawn.feeds))
    for path, precision in ((context.model, "fp32"), (trial.path, "weight-only")):
        found = analyze(path)
        assert (found["parameter_count"], found["precision"]) == (2 * 32 * 64, precision)
        assert found["peak_activation_bytes"] is None
    assert closeness(trial) > 35


def test_int8_weights_only_are_small_and_told_as_such(tmp_path: Path) -> None:
    drawn = Drawn(model=graphs.dense_net(hidden=512), feeds=[{"x": graphs.samples(1, 32)}], parameters=0, macs=0)
    context = context_for(tmp_path, drawn, Precision.INT8, weight_only=True, per_channel=True)
    made = list(attempts(context, drawn.feeds))
    assert [trial.settings["weights"] for trial in made] == ["int8 per channel"]
    assert made[0].path.stat().st_size < context.model.stat().st_size / 3
    assert analyze(made[0].path)["precision"] == "weight-only"


def outlier_net() -> Drawn:
    """Return two dense layers; the second reads one channel that dwarfs the others, and does nothing with it."""
    stretch = np.ones(64, np.float32)
    stretch[0] = 5000.0
    second = numpy_helper.to_array(graphs.weight("w2", 64, 8, scale=0.2)).copy()
    second[0] = 0.0
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Mul", ["h", "stretch"], ["s"], name="stretching"),
        helper.make_node("MatMul", ["s", "w2"], ["y"], name="second"),
    ]
    tensors = [
        graphs.weight("w1", 32, 64, scale=0.2),
        numpy_helper.from_array(stretch, "stretch"),
        numpy_helper.from_array(second, "w2"),
    ]
    model = graphs.model_of(nodes, [graphs.value("x", [1, 32])], [graphs.value("y", [1, 8])], tensors)
    return Drawn(
        model=model, feeds=[{"x": graphs.samples(1, 32, seed=seed)} for seed in range(20)], parameters=0, macs=0
    )


def test_the_layer_that_loses_most_stays_in_float_and_the_answers_come_close(tmp_path: Path) -> None:
    drawn = outlier_net()
    context = context_for(tmp_path, drawn, Precision.INT8, calibration_method="minmax")
    made = list(attempts(context, drawn.feeds[:8]))
    plain = [trial for trial in made if not trial.settings["kept_in_float"]]
    mixed = [trial for trial in made if trial.settings["kept_in_float"] == ["second"]]
    assert len(plain) == 2 and len(mixed) == 1
    assert max(map(closeness, plain)) < 10 < 30 < closeness(mixed[0])
    worst = next(step["worst"] for step in context.steps if step["step"] == "sensitivity")
    assert isinstance(worst, list) and worst[0]["layer"] == "second" and worst[0]["operator"] == "MatMul"
    assert {"prepare", "calibrate minmax", "screen layers"} <= {item["name"] for item in context.passes}


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT8_DYNAMIC, Precision.INT4, Precision.FP8])
def test_layers_that_are_named_stay_in_float(tmp_path: Path, precision: Precision) -> None:
    drawn = outlier_net()
    context = context_for(tmp_path, drawn, precision, exclude_layers=["second"])
    trial = max(attempts(context, drawn.feeds[:4]), key=closeness)
    model = read_model(trial.path)
    node = next(node for node in model.graph.node if "second" in node.name)
    assert node.op_type == "MatMul"
    makers = {name: other.op_type for other in model.graph.node for name in other.output}
    assert makers.get(node.input[1]) in {None, "Cast"}
    assert closeness(trial) > 15


def test_a_name_that_no_layer_has_is_refused_with_those_like_it(tmp_path: Path) -> None:
    context = context_for(tmp_path, outlier_net(), Precision.INT8, exclude_layers=["secnd"])
    with pytest.raises(UserInputError) as caught:
        next(iter(lane.ways(context)))
    error = caught.value
    assert (error.code, error.field) == ("invalid_request", "options.exclude_layers")
    assert "second" in error.fix


def test_a_precision_that_onnx_lacks_is_refused(tmp_path: Path) -> None:
    context = context_for(tmp_path, outlier_net(), Precision.INT16X8)
    with pytest.raises(EngineError) as caught:
        next(iter(lane.ways(context)))
    assert caught.value.code == "unsupported_precision"


def test_an_archive_with_weights_beside_the_graph_is_one_file_when_it_is_saved(tmp_path: Path) -> None:
    import zipfile

    folder = tmp_path / "exported"
    folder.mkdir()
    onnx.save(
        graphs.dense_net(),
        folder / "net.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="net.data",
        size_threshold=0,
    )
    archive = tmp_path / "net.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
    work = tmp_path / "work"
    work.mkdir()
    assert HANDLER.sniff(archive) and not HANDLER.sniff(folder / "net.data")
    assert HANDLER.inspect(archive, work)["parameter_count"] == 32 * 64 + 64 * 8
    unpacked = HANDLER.unpack(archive, work)
    assert HANDLER.unpack(archive, work) == unpacked
    size = HANDLER.save(unpacked, tmp_path / "alone.onnx")
    assert size == (tmp_path / "alone.onnx").stat().st_size
    feed = {"x": graphs.samples(3, 32)}
    alone, whole = (HANDLER.load(path, threads=1).run(feed)[0] for path in (tmp_path / "alone.onnx", unpacked))
    np.testing.assert_array_equal(alone, whole)


def test_layers_whose_activations_are_infinite_stay_in_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["p"]),
        helper.make_node("Log", ["p"], ["l"]),
        helper.make_node("Mul", ["l", "half"], ["m"], name="scaled"),
        helper.make_node("Exp", ["m"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["y"], name="dense"),
    ]
    tensors = [numpy_helper.from_array(np.full(1, 0.5, np.float32), "half"), graphs.weight("w", 32, 16)]
    model = graphs.model_of(nodes, [graphs.value("x", [1, 32])], [graphs.value("y", [1, 16])], tensors)
    drawn = Drawn(model=model, feeds=[{"x": graphs.samples(1, 32)}], parameters=0, macs=0)
    trial = next(attempts(context_for(tmp_path, drawn, Precision.INT8), drawn.feeds))
    written = read_model(trial.path).graph.node
    makers = {name: node.op_type for node in written for name in node.output}
    inputs = {node.name: makers.get(node.input[0]) for node in written}
    assert inputs["scaled"] == "Log" and inputs["dense"] == "DequantizeLinear"
    assert closeness(trial) > 25


def test_embeddings_are_stored_as_int8_beside_layers_in_integers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="lookup"),
        helper.make_node("MatMul", ["rows", "w"], ["y"], name="dense"),
    ]
    tensors = [graphs.weight("table", 200, 32), graphs.weight("w", 32, 16)]
    ids = graphs.value("ids", [4], onnx.TensorProto.INT64)
    model = graphs.model_of(nodes, [ids], [graphs.value("y", [4, 16])], tensors)
    drawn = Drawn(model=model, feeds=[{"ids": np.array([3, 1, 199, 0])}], parameters=0, macs=0)
    for precision in (Precision.INT8, Precision.INT4):
        folder = tmp_path / precision
        folder.mkdir()
        context = context_for(folder, drawn, precision)
        made = list(attempts(context, drawn.feeds))
        assert all(trial.path.stat().st_size < context.model.stat().st_size / 2.5 for trial in made)
        assert max(map(closeness, made)) > (30 if precision is Precision.INT8 else 15)
