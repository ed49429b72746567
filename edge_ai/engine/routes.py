"""Which ways lead from one format to another, and which precisions each target has. Standard library only.

A way is a chain of conversions to a format that the target's lane takes, and then the lane: what makes variants in the
target format, in the precision asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.spec import Format, Precision


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A converter or runtime that may or may not be installed.

    Parameters
    ----------
    name
        What it is called here.
    distributions
        The Python distributions that it needs; the first one's version is the tool's.
    does
        What it is used for.
    """

    name: str
    distributions: tuple[str, ...]
    does: str


TOOLS: Final[Mapping[str, Tool]] = {
    tool.name: tool
    for tool in (
        Tool(name="onnxruntime", distributions=("onnxruntime", "onnx"), does="runs ONNX and ORT, quantizes ONNX"),
        Tool(name="tensorflow", distributions=("tensorflow", "keras"), does="runs Keras and SavedModel, makes TFLite"),
        Tool(name="tf_keras", distributions=("tf_keras",), does="reads Keras files that Keras 2 wrote"),
        Tool(name="tf2onnx", distributions=("tf2onnx",), does="makes ONNX from TensorFlow and TFLite"),
        Tool(name="litert", distributions=("ai-edge-litert",), does="runs TFLite"),
        Tool(name="ai-edge-quantizer", distributions=("ai-edge-quantizer",), does="quantizes TFLite"),
        Tool(
            name="onnx2tf",
            distributions=("onnx2tf", "sne4onnx", "sng4onnx", "onnxoptimizer", "onnxscript", "flatbuffers"),
            does="makes TFLite and SavedModel from ONNX",
        ),
        Tool(name="openvino", distributions=("openvino",), does="makes and runs OpenVINO IR"),
        Tool(name="nncf", distributions=("nncf",), does="quantizes OpenVINO IR"),
        Tool(name="coremltools", distributions=("coremltools",), does="makes Core ML from TensorFlow"),
        Tool(name="pnnx", distributions=("pnnx",), does="makes NCNN from ONNX"),
        Tool(name="ncnn", distributions=("ncnn",), does="runs NCNN, to compare what pnnx made"),
        Tool(name="onnxslim", distributions=("onnxslim",), does="simplifies ONNX graphs"),
        Tool(
            name="onnxconverter-common", distributions=("onnxconverter-common",), does="turns ONNX arithmetic to fp16"
        ),
        Tool(name="gguf", distributions=("gguf",), does="reads GGUF"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A conversion that keeps float32: ``module`` has ``convert(conversion)``."""

    source: Format
    target: Format
    tool: str
    module: str


EDGES: Final = (
    Edge(
        source=Format.KERAS,
        target=Format.SAVED_MODEL,
        tool="tensorflow",
        module="edge_ai.engine.convert.keras_to_saved_model",
    ),
    Edge(
        source=Format.SAVED_MODEL,
        target=Format.ONNX,
        tool="tf2onnx",
        module="edge_ai.engine.convert.saved_model_to_onnx",
    ),
    Edge(source=Format.TFLITE, target=Format.ONNX, tool="tf2onnx", module="edge_ai.engine.convert.tflite_to_onnx"),
    Edge(source=Format.ONNX, target=Format.TFLITE, tool="onnx2tf", module="edge_ai.engine.convert.onnx_to_tflite"),
    Edge(
        source=Format.ONNX,
        target=Format.SAVED_MODEL,
        tool="onnx2tf",
        module="edge_ai.engine.convert.onnx_to_saved_model",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What makes variants in one target format: ``module`` has ``ways(context)``.

    Parameters
    ----------
    takes
        The formats that it starts from, the best first.
    precisions
        What it makes, the usual one first.
    tools
        By the format that it starts from, what it needs.
    """

    target: Format
    module: str
    takes: tuple[Format, ...]
    precisions: tuple[Precision, ...]
    tools: Mapping[Format, tuple[str, ...]]


_P = Precision
LANES: Final[Mapping[Format, Lane]] = {
    lane.target: lane
    for lane in (
        Lane(
            target=Format.ONNX,
            module="edge_ai.engine.lanes.onnx",
            takes=(Format.ONNX,),
            precisions=(_P.INT8, _P.INT8_DYNAMIC, _P.FP16, _P.INT4, _P.FP8, _P.FP32),
            tools={Format.ONNX: ("onnxruntime",)},
        ),
        Lane(
            target=Format.ORT,
            module="edge_ai.engine.lanes.ort",
            takes=(Format.ONNX,),
            precisions=(_P.FP32, _P.FP16, _P.INT8, _P.INT8_DYNAMIC, _P.INT4),
            tools={Format.ONNX: ("onnxruntime",)},
        ),
        Lane(
            target=Format.TFLITE,
            module="edge_ai.engine.lanes.tflite",
            takes=(Format.TFLITE, Format.SAVED_MODEL),
            precisions=(_P.INT8, _P.INT8_DYNAMIC, _P.FP16, _P.INT16X8, _P.INT4, _P.FP32),
            tools={
                Format.TFLITE: ("litert", "ai-edge-quantizer"),
                Format.SAVED_MODEL: ("litert", "tensorflow"),
            },
        ),
        Lane(
            target=Format.OPENVINO,
            module="edge_ai.engine.lanes.openvino",
            takes=(Format.OPENVINO, Format.ONNX, Format.TFLITE, Format.SAVED_MODEL),
            precisions=(_P.FP16, _P.INT8, _P.FP32),
            tools={
                Format.OPENVINO: ("openvino", "nncf"),
                Format.ONNX: ("openvino", "nncf"),
                Format.TFLITE: ("openvino", "nncf"),
                Format.SAVED_MODEL: ("openvino", "nncf"),
            },
        ),
        Lane(
            target=Format.SAVED_MODEL,
            module="edge_ai.engine.lanes.saved_model",
            takes=(Format.SAVED_MODEL,),
            precisions=(_P.FP32,),
            tools={Format.SAVED_MODEL: ("tensorflow",)},
        ),
        Lane(
            target=Format.COREML,
            module="edge_ai.engine.lanes.coreml",
            takes=(Format.SAVED_MODEL,),
            precisions=(_P.FP16, _P.FP32, _P.INT8),
            tools={Format.SAVED_MODEL: ("coremltools", "tensorflow")},
        ),
        Lane(
            target=Format.NCNN,
            module="edge_ai.engine.lanes.ncnn",
            takes=(Format.ONNX,),
            precisions=(_P.FP16, _P.FP32),
            tools={Format.ONNX: ("pnnx", "ncnn")},
        ),
    )
}

#: What can be run and measured on a machine like this one.
RUNS_HERE: Final = frozenset(
    {Format.ONNX, Format.ORT, Format.TFLITE, Format.KERAS, Format.SAVED_MODEL, Format.OPENVINO}
)
#: What runs them, for people.
RUNTIME_OF: Final[Mapping[Format, str]] = {
    Format.ONNX: "onnxruntime",
    Format.ORT: "onnxruntime",
    Format.TFLITE: "litert",
    Format.KERAS: "tensorflow",
    Format.SAVED_MODEL: "tensorflow",
    Format.OPENVINO: "openvino",
}
#: Why the other formats cannot be a source, and what to do instead.
NO_SOURCE: Final[Mapping[Format, str]] = {
    Format.ORT: "An ORT file is the last step of a conversion; start from the ONNX file that it was made from.",
    Format.COREML: "Core ML runs on Apple's devices only; start from the model that it was made from.",
    Format.NCNN: "Nothing converts NCNN back; start from the model that it was made from.",
    Format.GGUF: "GGUF is for llama.cpp, which quantizes it itself; there is no way to another format.",
    Format.TENSORRT: "A TensorRT engine is bound to one GPU and version; start from the ONNX file that it was built from.",
    Format.OTHER: "These are weights without a network; export the network to ONNX with torch.onnx.export.",
}


@dataclass(frozen=True, kw_only=True)
class Route:
    """The way from one format to another: conversions, then the lane."""

    source: Format
    edges: tuple[Edge, ...]
    lane: Lane

    @property
    def entry(self) -> Format:
        """The format that the lane starts from."""
        return self.edges[-1].target if self.edges else self.source

    @property
    def formats(self) -> tuple[Format, ...]:
        """Every format on the way, the source first and the target last."""
        passed = (self.source, *(edge.target for edge in self.edges))
        return passed if passed[-1] is self.lane.target and self.edges else (*passed, self.lane.target)

    @property
    def tools(self) -> tuple[str, ...]:
        """What it needs."""
        needed = (*(edge.tool for edge in self.edges), *self.lane.tools[self.entry])
        return tuple(dict.fromkeys(needed))


def missing_here() -> frozenset[str]:
    """Return the names of the tools that are not installed beside this process."""
    return frozenset(tool.name for tool in TOOLS.values() if not all(map(_is_installed, tool.distributions)))


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def find_route(source: Format, target: Format, *, missing: Collection[str] = ()) -> Route:
    """Return the shortest way whose tools are all there; the shortest of all where there is none.

    Parameters
    ----------
    missing
        Names of `TOOLS` that are not installed where jobs run.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion``, saying why there is none and naming the nearest target that there is a way to.
    """
    lane = LANES.get(target)
    if lane is None:
        raise UnsupportedError(
            f"Nothing here makes {target} files; {', '.join(LANES)} can be made.",
            code="unsupported_conversion",
            fix="Choose one of these as the target format.",
            field="target_format",
            details=_nearest(source),
        )
    shortest: Route | None = None
    ways: deque[tuple[Format, tuple[Edge, ...]]] = deque([(source, ())])
    while ways:
        here, edges = ways.popleft()
        if here in lane.takes:
            route = Route(source=source, edges=edges, lane=lane)
            if not set(route.tools) & set(missing):
                return route
            shortest = shortest or route
        passed = {source, *(edge.target for edge in edges)}
        ways += [(edge.target, (*edges, edge)) for edge in EDGES if edge.source is here and edge.target not in passed]
    if shortest is not None:
        return shortest
    raise UnsupportedError(
        f"There is no way from {source} to {target}. {NO_SOURCE.get(source, '')}".strip(),
        code="unsupported_conversion",
        fix="Choose another target format." if targets_of(source) else "Upload the model that this one was made from.",
        field="target_format" if targets_of(source) else "model",
        details=_nearest(source),
    )


def targets_of(source: Format) -> tuple[Format, ...]:
    """Return the formats that a model in ``source`` can become."""
    reachable, waiting = {source}, [source]
    while waiting:
        here = waiting.pop()
        for edge in EDGES:
            if edge.source is here and edge.target not in reachable:
                reachable.add(edge.target)
                waiting.append(edge.target)
    return tuple(target for target, lane in LANES.items() if reachable & set(lane.takes))


def _nearest(source: Format) -> dict[str, object]:
    targets = targets_of(source)
    if not targets:
        return {"nearest": {"format": Format.ONNX.value}}
    target = source if source in targets else targets[0]
    return {"nearest": {"target_format": target.value, "precision": LANES[target].precisions[0].value}}
