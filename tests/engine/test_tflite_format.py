"""TensorFlow Lite files: what they hold, counted otherwise, and which are refused before LiteRT sees them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge_ai.sample
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.base import EMPTY_ANALYSIS, handler_of
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format

TFLITE = handler_of(Format.TFLITE)
DIGITS = Path(edge_ai.sample.__file__).parent / "digits.tflite"


def changed(change: Callable[[Any], object], target: Path, source: Path = DIGITS) -> Path:
    """Write a file again after a change to its objects."""
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target


def test_analysis_has_every_field_and_the_names_that_sessions_give(tmp_path: Path) -> None:
    analysis = TFLITE.inspect(DIGITS, tmp_path)
    session = open_model(TFLITE.unpack(DIGITS, tmp_path), Format.TFLITE, threads=1)
    assert analysis.keys() == EMPTY_ANALYSIS.keys()
    assert analysis["inputs"] == [tensor.to_json() for tensor in session.inputs]
    assert analysis["outputs"] == [tensor.to_json() for tensor in session.outputs]
    assert analysis["precision"] == "fp32"
    assert analysis["warnings"] == []


def test_figures_are_those_of_the_runtimes_own_tensors(tmp_path: Path) -> None:
    analysis = TFLITE.inspect(DIGITS, tmp_path)
    interpreter = Interpreter(str(DIGITS))
    interpreter.allocate_tensors()
    shapes = {item["index"]: item["shape"] for item in interpreter.get_tensor_details()}
    macs = 0
    operators: dict[str, int] = {}
    for item in interpreter._get_ops_details():
        name = item["op_name"]
        if name != "DELEGATE":
            operators[name] = operators.get(name, 0) + 1
        if name == "CONV_2D":
            macs += int(np.prod(shapes[item["outputs"][0]])) * int(np.prod(shapes[item["inputs"][1]][1:]))
        elif name == "FULLY_CONNECTED":
            macs += int(np.prod(shapes[item["outputs"][0]])) * int(shapes[item["inputs"][1]][-1])
    assert analysis["operators"] == operators
    assert analysis["node_count"] == sum(operators.values())
    assert analysis["macs"] == sum(analysis["macs_by_operator"].values()) == macs
    assert analysis["weight_bytes_by_dtype"]["float32"] == 4 * analysis["parameter_count"]
    assert sum(analysis["weight_bytes_by_operator"].values()) == 4 * analysis["parameter_count"]
    # At the widest moment a convolution reads one image and writes another, the larger one at most twice.
    widest = max(
        int(np.prod(shapes[o["outputs"][0]])) for o in interpreter._get_ops_details() if o["op_name"] == "CONV_2D"
    )
    assert 4 * widest < analysis["peak_activation_bytes"] <= 8 * widest


@pytest.mark.parametrize("kept", [0, 7, 8, 40, 0.1, 0.5, 0.9])
def test_a_cut_file_is_unreadable(kept: float, tmp_path: Path) -> None:
    data = DIGITS.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: int(kept * len(data) if kept < 1 else kept)])
    for look in (TFLITE.inspect, TFLITE.unpack):
        with pytest.raises(UserInputError) as caught:
            look(path, tmp_path)
        assert caught.value.code == "model_unreadable"


def _set(graph_change: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda model: graph_change(model.subgraphs[0])


def _assign(target: Any, name: str, value: object) -> None:
    setattr(target, name, value)


def _constant_of(graph: Any) -> Any:
    return next(index for index in graph.operators[0].inputs if index not in graph.inputs)


def _options(model: Any) -> Any:
    return next(
        o for o in model.subgraphs[0].operators if isinstance(o.builtinOptions, schema.Conv2DOptionsT)
    ).builtinOptions


DAMAGE: dict[str, Callable[[Any], object]] = {
    "no subgraph": lambda m: m.subgraphs.clear(),
    "operator code": _set(lambda g: _assign(g.operators[0], "opcodeIndex", 99)),
    "operator input": _set(lambda g: _assign(g.operators[0], "inputs", [9999])),
    "operator output": _set(lambda g: _assign(g.operators[0], "outputs", [-1])),
    "graph output": _set(lambda g: _assign(g, "outputs", [9999])),
    "buffer index": _set(lambda g: _assign(g.tensors[0], "buffer", 9999)),
    "type": _set(lambda g: _assign(g.tensors[0], "type", 99)),
    "negative shape": _set(lambda g: _assign(g.tensors[0], "shape", [1, -8, 8, 1])),
    "absurd shape": _set(lambda g: _assign(g.tensors[0], "shape", [1 << 30, 1 << 30, 8])),
    "constant larger than its bytes": _set(lambda g: _assign(g.tensors[_constant_of(g)], "shape", [64, 64, 64, 64])),
    "writes a constant": _set(lambda g: _assign(g.operators[0], "outputs", [_constant_of(g)])),
    "reads what comes later": _set(lambda g: _assign(g.operators[0], "inputs", [g.outputs[0]])),
    "reads its own answer": _set(lambda g: g.operators.reverse()),
    "no stride": lambda m: _assign(_options(m), "strideW", 0),
    "runs itself": _set(
        lambda g: vars(g.operators[0]).update(
            builtinOptionsType=schema.BuiltinOptions.CallOptions, builtinOptions=schema.CallOptionsT()
        )
    ),
    "signature": lambda m: _assign(m.signatureDefs[0].inputs[0], "tensorIndex", 9999),
    "metadata": lambda m: _assign(m.metadata[0], "buffer", 9999),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_makes_no_sense_is_refused(damage: Callable[[Any], object], tmp_path: Path) -> None:
    path = changed(damage, tmp_path / "damaged.tflite")
    with pytest.raises(UserInputError) as caught:
        TFLITE.unpack(path, tmp_path)
    assert caught.value.code == "model_unreadable"


def _become_a_sum(model: Any, scale: float) -> None:
    """Replace the network by a sum of two int8 tensors, whose answer has ``scale``."""
    graph, code, add = model.subgraphs[0], schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode, code.version = schema.BuiltinOperator.ADD, 2
    graph.tensors = [_int8_tensor("a", 0.01), _int8_tensor("b", 0.02), _int8_tensor("c", scale)]
    add.opcodeIndex, add.inputs, add.outputs = 0, [0, 1], [2]
    add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.inputs, graph.outputs, graph.operators = [0, 1], [2], [add]
    model.operatorCodes, model.signatureDefs, model.metadata = [code], [], []


def _int8_tensor(name: str, scale: float) -> Any:
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [scale], [0]
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 4], schema.TensorType.INT8, 0
    tensor.quantization = quantization
    return tensor


@pytest.mark.parametrize(("scale", "sound"), [(1e-3, True), (1e-9, False), (1e36, False)])
def test_sums_that_end_the_runtimes_process_are_refused(scale: float, sound: bool, tmp_path: Path) -> None:
    path = changed(lambda model: _become_a_sum(model, scale), tmp_path / "sum.tflite")
    loads = f"from ai_edge_litert.interpreter import Interpreter; Interpreter({str(path)!r}).allocate_tensors()"
    # The check is held against what the runtime really does.
    ended = subprocess.run([sys.executable, "-c", loads], capture_output=True, check=False).returncode
    assert ended == (0 if sound else -signal.SIGABRT)
    if sound:
        TFLITE.unpack(path, tmp_path)
        return
    with pytest.raises(UserInputError, match="scales of a sum"):
        TFLITE.unpack(path, tmp_path)


def test_a_file_written_again_is_described_alike(tmp_path: Path) -> None:
    again = changed(lambda model: None, tmp_path / "again.tflite")
    assert TFLITE.inspect(again, tmp_path) == TFLITE.inspect(DIGITS, tmp_path)


def test_a_custom_operator_is_named(tmp_path: Path) -> None:
    def make_custom(model: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, schema.BuiltinOperator.CUSTOM
        code.customCode = b"FlexErf"
        model.operatorCodes.append(code)
        model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes) - 1

    analysis = TFLITE.inspect(changed(make_custom, tmp_path / "flex.tflite"), tmp_path)
    assert analysis["operators"]["FlexErf"] == 1
    assert analysis["macs"] is None
    assert {item["code"] for item in analysis["warnings"]} == {"cannot_run_here", "macs_unknown"}
    assert "FlexErf" in analysis["warnings"][0]["detail"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_take_the_reader_down(data: st.DataObject, tmp_path: Path) -> None:
    mutated = bytearray(changed_once(tmp_path))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        mutated[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.tflite"
    path.write_bytes(mutated)
    try:
        analysis = TFLITE.inspect(path, tmp_path)
    except UserInputError as error:
        assert error.code in {"model_unreadable", "external_data_missing"}
    else:
        assert analysis.keys() == EMPTY_ANALYSIS.keys()


def changed_once(folder: Path) -> bytes:
    """Return a file that is nearly all structure: its dense layer is what is left of the weights."""

    def shrink(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.operators = graph.operators[-1:]
        graph.inputs = [int(graph.operators[0].inputs[0])]
        used = {int(i) for i in graph.operators[0].inputs}
        model.signatureDefs = []
        for index, tensor in enumerate(graph.tensors):
            if index not in used:
                tensor.buffer = 0
        for index, buffer in enumerate(model.buffers):
            if index not in {graph.tensors[i].buffer for i in used} | {item.buffer for item in model.metadata}:
                buffer.data = None

    path = folder / "small.tflite"
    return path.read_bytes() if path.exists() else changed(shrink, path).read_bytes()
