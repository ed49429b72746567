"""OpenVINO IR: a zip archive of one ``.xml``, which is the network, and its ``.bin``, which holds the weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree
from xml.parsers import expat

from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.formats.archive import pack_folder, unpack_archive
from edge_ai.engine.formats.base import analysis_of, free_axes, warning
from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.spec import Format

IR_NAME: Final = "model.xml"
DTYPES: Final = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "i4": "int4",
    "u64": "uint64",
    "u32": "uint32",
    "u16": "uint16",
    "u8": "uint8",
    "u4": "uint4",
    "boolean": "bool",
    "string": "string",
}
LEARNED: Final = frozenset({"float64", "float32", "float16", "bfloat16", "int8", "uint8", "int4", "uint4"})
FLOW: Final = frozenset({"If", "Loop", "TensorIterator"})
MAX_XML_BYTES: Final = 256 << 20
#: Bodies of loops are nested in layers; no network nests them nearly as deep.
MAX_DEPTH: Final = 256
#: What differs between two conversions of the same network, and says nothing about it.
_OF_THE_RUN: Final = re.compile(
    r"(?<!\s)\s*"  # from the first of several, or each of them would be tried
    r"<(?:input_model|output_dir|model_name|conversion_parameters|legacy_frontend|is_python_object|is_python_api_used)\b"
    r"(?:[^>]*/>|.*?</(?:input_model|output_dir|model_name|conversion_parameters|legacy_frontend)>)",
    re.DOTALL,
)
#: A name that OpenVINO made up, such as ``Constant_37016``: it counts every operator that the process ever made.
_NAME: Final = re.compile(r'(<layer id="\d+" name=")([A-Z][A-Za-z0-9]*)_(\d+)(?=["_/])')


class OpenVinoFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.OPENVINO
    file_name = "variant.zip"

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the path of the ``.xml``, its ``.bin`` beside it."""
        folder = path if path.is_dir() else unpack_archive(path, workdir / "openvino")
        found = sorted(folder.rglob("*.xml"))
        if len(found) != 1:
            raise _unreadable(f"the archive has {len(found)} .xml files, and must have one")
        if not found[0].with_suffix(".bin").is_file():
            raise _unreadable(f"there is no {found[0].with_suffix('.bin').name} beside {found[0].name}")
        return found[0]

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the network from its ``.xml`` and the weights that it refers to."""
        xml = self.unpack(path, workdir)
        analysis = describe(_read(xml), xml.with_suffix(".bin").stat().st_size)
        try:
            self.load(xml, threads=1)
        except EngineError as error:
            if error.code == "resource_limit":
                raise
            analysis["warnings"].append(warning("cannot_run_here", error.message, error.fix))
        return analysis

    def save(self, made: Path, target: Path) -> int:
        """Pack the folder with the ``.xml`` and its ``.bin``."""
        return pack_folder(made if made.is_dir() else made.parent, target)


HANDLER: Final = OpenVinoFormat()


def reproducible(xml: Path) -> None:
    """Take out of a written ``.xml`` what the run put there: paths, parameters of the conversion, and running numbers."""
    text = _OF_THE_RUN.sub("", xml.read_text(encoding="utf-8"))
    places: dict[str, dict[str, int]] = {}

    def renumber(found: re.Match[str]) -> str:
        known = places.setdefault(found[2], {})
        return f"{found[1]}{found[2]}_{known.setdefault(found[3], len(known))}"

    xml.write_text(_NAME.sub(renumber, text), encoding="utf-8")


def describe(net: ElementTree.Element, bin_bytes: int) -> dict[str, Any]:
    """Return the analysis of a parsed ``<net>``.

    Raises
    ------
    UserInputError
        ``model_unreadable`` where weights lie beyond the end of the ``.bin``.
    """
    layers = net.findall("./layers/layer")
    if not layers:
        raise _unreadable("the .xml has no layers")
    everything = net.findall(".//layers/layer")
    operators = Counter(
        str(layer.get("type")) for layer in everything if layer.get("type") not in {"Parameter", "Result", "Const"}
    )
    inputs = [_described(layer, _outputs(layer)) for layer in layers if layer.get("type") == "Parameter"]
    sources = _Sources(net, layers)
    outputs = [_described(layer, sources.port(layer)) for layer in layers if layer.get("type") == "Result"]
    sizes: Counter[str] = Counter()
    parameters = 0
    for layer in everything:
        if layer.get("type") == "Const":
            dtype, elements, size = _constant(layer, bin_bytes)
            sizes[dtype] += size
            parameters += elements if dtype in LEARNED else 0
    macs = _macs(layers)
    return analysis_of(
        inputs=inputs,
        outputs=outputs,
        operators=dict(operators.most_common()),
        node_count=sum(operators.values()),
        parameter_count=parameters,
        weight_bytes=sum(sizes.values()),
        weight_bytes_by_dtype=dict(sizes.most_common()),
        macs=None if macs is None else sum(macs.values()),
        macs_by_operator=None if macs is None else dict(macs.most_common()),
        ir_version=_number(net.get("version")),
        producer=_producer(net),
        precision=_precision(sizes, operators),
        dynamic_axes=free_axes(inputs),
        control_flow=sorted(FLOW & operators.keys()),
        metadata={"name": str(net.get("name") or "")[:200], "operator_sets": ", ".join(_operator_sets(everything))},
    )


def _read(xml: Path) -> ElementTree.Element:
    if xml.stat().st_size > MAX_XML_BYTES:
        raise _unreadable("its .xml is larger than 256 MB")
    try:
        net = _parse(xml.read_bytes())
    except (expat.ExpatError, AssertionError, LookupError, ValueError) as error:
        raise _unreadable(f"its .xml is damaged ({error})") from None
    if net.tag != "net":
        raise _unreadable("its .xml is no network")
    return net


def _parse(data: bytes) -> ElementTree.Element:
    """Parse with the standard library's parser, but refuse a document type, in whatever encoding it comes."""
    builder = ElementTree.TreeBuilder()
    depth = 0

    def refuse(*_: object) -> None:
        raise UserInputError(
            "The .xml declares a document type, which no OpenVINO file does: entities in it may grow without end.",
            code="model_unsafe",
            fix="Convert the network again with openvino.save_model.",
            field="file",
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise _unreadable(f"its .xml nests elements more than {MAX_DEPTH} deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None


def _outputs(layer: ElementTree.Element) -> ElementTree.Element | None:
    return layer.find("./output/port")


class _Sources:
    """Where the inputs of layers come from."""

    def __init__(self, net: ElementTree.Element, layers: Sequence[ElementTree.Element]) -> None:
        self._layers = {layer.get("id"): layer for layer in reversed(layers)}
        self._edges = {edge.get("to-layer"): edge for edge in reversed(net.findall("./edges/edge"))}

    def port(self, result: ElementTree.Element) -> ElementTree.Element | None:
        """Return the port that feeds a result: its names are the output's."""
        edge = self._edges.get(result.get("id"))
        layer = None if edge is None else self._layers.get(edge.get("from-layer"))
        if edge is None or layer is None:
            return None
        return next((port for port in layer.findall("./output/port") if port.get("id") == edge.get("from-port")), None)


def _described(layer: ElementTree.Element, port: ElementTree.Element | None) -> dict[str, Any]:
    names = (port.get("names") or "").split(",") if port is not None else [""]
    shape = [_axis(axis.text) for axis in port.findall("dim")] if port is not None else None
    precision = str(port.get("precision") or "FP32").lower().replace("fp", "f") if port is not None else ""
    name = min(
        (name for name in names if name), key=lambda name: (len(name), name), default=str(layer.get("name") or "")
    )
    return {"name": name, "dtype": DTYPES.get(precision, precision), "shape": shape}


def _axis(text: str | None) -> int | None:
    try:
        size = int(text or "")
    except ValueError:
        return None
    return size if size >= 0 else None


def _constant(layer: ElementTree.Element, bin_bytes: int) -> tuple[str, int, int]:
    """Return a constant's type, how many numbers it has, and its bytes."""
    data = layer.find("data")
    if data is None:
        return "float32", 0, 0
    try:
        offset, size = int(data.get("offset") or 0), int(data.get("size") or 0)
        shape = [int(axis) for axis in re.findall(r"\d+", data.get("shape") or "")]
    except ValueError:
        raise _unreadable("its .xml has a constant with numbers that are none") from None
    if offset < 0 or size < 0 or offset + size > bin_bytes:
        raise _unreadable("its .bin ends before the weights that the .xml refers to")
    element = str(data.get("element_type") or "f32")
    return DTYPES.get(element, element), prod(shape), size


def _macs(layers: Sequence[ElementTree.Element]) -> Counter[str] | None:
    """Count multiply-accumulates from the ports' shapes; ``None`` where one is not known."""
    counted: Counter[str] = Counter()
    for layer in layers:
        kind = str(layer.get("type"))
        shapes = [[_axis(axis.text) for axis in port.findall("dim")] for port in layer.findall("./input/port")]
        port = _outputs(layer)
        made = [_axis(axis.text) for axis in port.findall("dim")] if port is not None else []
        if kind not in {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"} or len(shapes) < 2:
            continue
        # A free batch counts as one sample; another free size makes the work unknown.
        if any(axis is None for shape in (*shapes[:2], made) for axis in shape[1:]):
            return None
        sizes = [[axis if axis is not None else 1 for axis in shape] for shape in (*shapes[:2], made)]
        counted[kind] += _product(kind, layer, sizes)
    return counted


def _product(kind: str, layer: ElementTree.Element, sizes: Sequence[Sequence[int]]) -> int:
    given, weights, made = sizes
    if kind == "Convolution":
        return prod(made) * prod(weights[1:])
    if kind == "GroupConvolution":
        return prod(made) * prod(weights[2:])
    if kind == "ConvolutionBackpropData":
        return prod(given) * prod(weights[1:])
    data = layer.find("data")
    transposed = data is not None and data.get("transpose_a") == "true"
    return prod(made) * given[-2 if transposed and len(given) > 1 else -1]


def _operator_sets(layers: Sequence[ElementTree.Element]) -> list[str]:
    """Return the versions of the operators, the most used first."""
    used = Counter(str(layer.get("version"))[:40] for layer in layers if layer.get("version"))
    return [version for version, _ in used.most_common(20)]


def _precision(sizes: Counter[str], operators: Counter[str]) -> str | None:
    if operators.get("FakeQuantize"):
        return "qdq-int8"
    if (
        sizes.get("int8", 0) + sizes.get("uint8", 0) + sizes.get("int4", 0) + sizes.get("uint4", 0)
        > sum(sizes.values()) / 4
    ):
        return "weight-only"
    floats = {
        name: size for name, size in sizes.items() if name in {"float32", "float16", "float64", "bfloat16"} and size
    }
    if not floats:
        return None
    return "fp16" if floats.get("float16", 0) > sum(floats.values()) / 2 else "fp32"


def _producer(net: ElementTree.Element) -> str | None:
    for name in ("Runtime_version", "MO_version"):
        found = net.find(f"./rt_info/{name}")
        if found is not None and found.get("value"):
            return f"OpenVINO {found.get('value')}"[:200]
    return "OpenVINO"


def _unreadable(reason: str) -> UserInputError:
    return UserInputError(
        f"The OpenVINO model cannot be read: {reason}.",
        code="model_unreadable",
        fix="Zip the .xml and its .bin from one conversion, and upload that.",
        field="file",
    )
