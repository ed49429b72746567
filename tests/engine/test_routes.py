"""The ways between formats: found, shown and refused."""

from importlib import import_module

import pytest

from edge_ai.engine.convert.base import convert
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.base import HANDLERS, handler_of
from edge_ai.engine.routes import EDGES, LANES, RUNS_HERE, RUNTIME_OF, TOOLS, Tool, find_route, missing_here, targets_of
from edge_ai.engine.runtime import RUNTIMES
from edge_ai.engine.spec import Format


@pytest.mark.parametrize(
    ("source", "target", "formats"),
    [
        ("onnx", "onnx", "onnx onnx"),
        ("onnx", "tflite", "onnx tflite"),
        ("onnx", "ort", "onnx ort"),
        ("keras", "tflite", "keras saved_model tflite"),
        ("keras", "onnx", "keras saved_model onnx"),
        ("keras", "saved_model", "keras saved_model"),
        ("saved_model", "tflite", "saved_model tflite"),
        ("tflite", "onnx", "tflite onnx"),
        ("tflite", "tflite", "tflite tflite"),
        ("tflite", "openvino", "tflite openvino"),
        ("onnx", "coreml", "onnx saved_model coreml"),
        ("keras", "ncnn", "keras saved_model onnx ncnn"),
        ("tflite", "ort", "tflite onnx ort"),
    ],
)
def test_the_shortest_way_is_found(source: str, target: str, formats: str) -> None:
    route = find_route(Format(source), Format(target))
    assert " ".join(route.formats) == formats
    assert set(route.tools) <= TOOLS.keys() and route.tools


@pytest.mark.parametrize(
    ("source", "target", "missing", "formats"),
    [
        ("onnx", "tflite", {"ai-edge-quantizer"}, "onnx saved_model tflite"),
        ("onnx", "tflite", {"coremltools"}, "onnx tflite"),
        # Where every way lacks something, the shortest is told.
        ("onnx", "tflite", {"litert"}, "onnx tflite"),
        ("keras", "onnx", {"tf2onnx"}, "keras saved_model onnx"),
    ],
)
def test_a_missing_tool_leads_to_the_next_way(source: str, target: str, missing: set[str], formats: str) -> None:
    assert " ".join(find_route(Format(source), Format(target), missing=missing).formats) == formats


def test_what_is_missing_here_is_what_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"onnxruntime", "onnx2tf"} & missing_here()
    monkeypatch.setitem(TOOLS, "nothing", Tool(name="nothing", distributions=("no-such-package",), does="nothing"))
    assert "nothing" in missing_here()


@pytest.mark.parametrize(
    ("source", "target", "word"),
    [
        ("gguf", "onnx", "llama.cpp"),
        ("ort", "onnx", "last step"),
        ("coreml", "tflite", "Apple"),
        ("onnx", "keras", "Nothing here makes keras"),
        ("openvino", "onnx", "no way from openvino"),
        ("other", "onnx", "torch.onnx.export"),
    ],
)
def test_where_there_is_no_way_the_reason_and_the_nearest_are_told(source: str, target: str, word: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        find_route(Format(source), Format(target))
    assert caught.value.code == "unsupported_conversion"
    assert word in caught.value.message
    assert caught.value.details is not None and caught.value.details["nearest"]


def test_the_nearest_of_a_refusal_is_a_way_that_there_is() -> None:
    for source in Format:
        for target in Format:
            try:
                find_route(source, target)
            except UnsupportedError as error:
                nearest = (error.details or {})["nearest"]
                if "target_format" in nearest:
                    lane = find_route(source, Format(nearest["target_format"])).lane
                    assert nearest["precision"] in {precision.value for precision in lane.precisions}


def test_every_module_that_a_table_names_is_there_and_has_what_it_must() -> None:
    for edge in EDGES:
        assert callable(import_module(edge.module).convert) and edge.tool in TOOLS
    for lane in LANES.values():
        assert callable(import_module(lane.module).ways)
        assert {tool for tools in lane.tools.values() for tool in tools} <= TOOLS.keys()
        assert lane.tools.keys() == set(lane.takes)
    for module in RUNTIMES.values():
        assert callable(import_module(module).open_session)
    for format in HANDLERS:
        assert handler_of(format).format is format
    assert HANDLERS.keys() == set(Format)
    assert RUNTIME_OF.keys() == RUNS_HERE <= RUNTIMES.keys()
    assert callable(convert)


def test_what_runs_here_and_can_be_a_source_reaches_several_targets() -> None:
    for source in (Format.ONNX, Format.KERAS, Format.SAVED_MODEL, Format.TFLITE):
        assert {Format.ONNX, Format.TFLITE, Format.OPENVINO, Format.ORT} <= set(targets_of(source))
    assert targets_of(Format.GGUF) == ()
