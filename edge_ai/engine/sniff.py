"""What a file is, by its content, with the standard library only.

Cheap enough for the web process (a few reads at the beginning and the end, never the whole file), and careful: whatever is
not recognised is refused with a word on what was found instead. A file that passes may still be damaged; its analysis, in
the engine's own process, tells.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from edge_ai.engine.archives import ARCHIVE_DAMAGE, Content, check_archive, open_archive
from edge_ai.engine.dataset_header import LABELS as LABELS
from edge_ai.engine.dataset_header import ArraySpec as ArraySpec
from edge_ai.engine.dataset_header import DatasetHeader as DatasetHeader
from edge_ai.engine.dataset_header import read_dataset_header as read_dataset_header
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import Format
from edge_ai.engine.strangers import HEAD_BYTES, stranger

OCTETS = "application/octet-stream"
#: ModelProto's top-level fields and their wire types.
ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
ONNX_GRAPH, ONNX_IR_VERSION, ONNX_OPSETS = 7, 1, 8
MAX_TOP_LEVEL_FIELDS = 4096
#: The first line of an NCNN network.
NCNN_MAGIC = "7767517"
#: How the network of an OpenVINO model begins.
OPENVINO_ROOT = r"\ufeff?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<net[\s>]"
TENSORRT_MARKS = (b"ptrt", b"ftrt")
MAX_SAFETENSORS_HEADER = 100 << 20
#: Core ML's specification: its version, its description, and the fields from here on that say which kind of model it is.
COREML_VERSION, COREML_DESCRIPTION, COREML_FIRST_KIND, COREML_LAST_KIND = 1, 2, 200, 4000
#: TensorFlow's GraphDef (nodes, library, versions) and SavedModel (a version, then graphs): fields and their wire types.
GRAPH_DEF_FIELDS, SAVED_MODEL_FIELDS = {1: 2, 2: 2, 3: 0, 4: 2}, {1: 0, 2: 2}
#: The tag of a first field that has a length: a GraphDef begins with a node, and a node with its name.
FIRST_FIELD = b"\x0a"
#: The attribute in which Keras keeps the network in HDF5, and the one that files of its weights have as well.
KERAS_NETWORK, KERAS_WEIGHTS = b"model_config", b"layer_names"
SCAN_BYTES = 4 << 20
EXPORT = 'Export the network to ONNX: torch.onnx.export(model, example, "model.onnx", dynamo=True).'


@dataclass(frozen=True, kw_only=True)
class Sniffed:
    """What a file is taken for."""

    format: Format
    detail: str
    mime_type: str = OCTETS


def sniff_model(path: Content) -> Sniffed:
    """Say what the model file at ``path`` is.

    Raises
    ------
    UserInputError
        ``model_unreadable`` with what was found instead; ``model_unsafe`` for pickles and archive bombs.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        head = stream.read(HEAD_BYTES)
        if head[4:8] == b"TFL3":
            return Sniffed(format=Format.TFLITE, detail="a TensorFlow Lite flatbuffer")
        if head[4:8] == b"ORTM":
            return Sniffed(format=Format.ORT, detail="an ONNX Runtime flatbuffer")
        if head[:4] == b"GGUF":
            return Sniffed(format=Format.GGUF, detail="a GGUF file")
        if head[:8] == b"\x89HDF\r\n\x1a\n":
            return _sniff_hdf5(stream)
        if head[:4] == b"PK\x03\x04":
            return _sniff_zip(path)
        if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 2:
            raise _pickle("The file is a Python pickle")
        if head[:4] in TENSORRT_MARKS:
            return Sniffed(format=Format.TENSORRT, detail="a TensorRT engine")
        if _looks_like_safetensors(head, size):
            return Sniffed(format=Format.OTHER, detail="safetensors, which are weights without a network")
        if size >= len(b"\x08\x01\x3a\x00") and _looks_like_onnx(stream, size):
            return Sniffed(format=Format.ONNX, detail="an ONNX model")
        if _looks_like_coreml(stream, size):
            return Sniffed(format=Format.COREML, detail="a Core ML specification")
        _refuse_tensorflow(stream, size)
    _refuse_halves(head)
    raise unreadable(f"The file is not a model: it is {stranger(head)}.")


def _sniff_hdf5(stream: IO[bytes]) -> Sniffed:
    stream.seek(0)
    weights, end = False, b""
    while chunk := stream.read(SCAN_BYTES):
        # A word may lie over the edge.
        seen = end + chunk
        if KERAS_NETWORK in seen:
            return Sniffed(format=Format.KERAS, detail="a Keras HDF5 file")
        weights = weights or KERAS_WEIGHTS in seen
        end = seen[-len(KERAS_NETWORK) :]
    if weights:
        raise _refusal(
            "The file holds the weights of a Keras model without its network.",
            "Save the whole model: model.save('model.keras').",
        )
    raise _refusal("The file is HDF5, but not a Keras model.", "Save the model with Keras: model.save('model.keras').")


def _refuse_tensorflow(stream: IO[bytes], size: int) -> None:
    """Say what is missing where a part of a SavedModel, or a graph of TensorFlow 1, was sent."""
    if _fields(stream, size, SAVED_MODEL_FIELDS) == {1, 2}:
        raise _refusal(
            "This is the saved_model.pb of a SavedModel without its variables.",
            "Zip the whole folder with saved_model.pb and variables, and upload the archive.",
        )
    stream.seek(0)
    begins_with_node = stream.read(1) == FIRST_FIELD
    if begins_with_node and _varint(stream) is not None and stream.read(1) == FIRST_FIELD:
        found = _fields(stream, size, GRAPH_DEF_FIELDS)
        if found is not None and 1 in found and found & {2, 4}:
            raise _refusal(
                "This is a frozen graph of TensorFlow 1 (a GraphDef), which does not say what it takes and answers.",
                "Save it as a SavedModel with a signature, or convert it: python -m tf2onnx.convert --graphdef model.pb "
                "--inputs x:0 --outputs y:0 --output model.onnx.",
            )


def _fields(stream: IO[bytes], size: int, known: Mapping[int, int]) -> set[int] | None:
    """Walk the top level of a protobuf; returns the fields that it has, ``None`` where it has others or is cut short."""
    stream.seek(0)
    seen: set[int] = set()
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if stream.tell() == size:
            return seen
        tag = _varint(stream)
        if tag is None or known.get(tag >> 3) != tag & 7:
            return None
        value = _varint(stream)
        if value is None:
            return None
        if tag & 7 == 2:
            if stream.tell() + value > size:
                return None
            stream.seek(value, 1)
        seen.add(tag >> 3)
    # More nodes than are looked at: what came so far fits.
    return seen | ({4} if 1 in seen else set())


def _refusal(message: str, fix: str) -> UserInputError:
    return UserInputError(message, code="model_unreadable", fix=fix, field="file")


def _pickle(what: str) -> UserInputError:
    return UserInputError(f"{what}, which runs code when it is loaded.", code="model_unsafe", fix=EXPORT, field="file")


def _refuse_halves(head: bytes) -> None:
    """Say which file is missing, where half of a model was sent."""
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t")
    if re.match(OPENVINO_ROOT, text):
        raise _refusal(
            "This is the .xml of an OpenVINO model without its weights.",
            "Zip the .xml together with its .bin, and upload the archive.",
        )
    if text.startswith(NCNN_MAGIC):
        raise _refusal(
            "This is the .param of an NCNN model without its weights.",
            "Zip the .param together with its .bin, and upload the archive.",
        )


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    """A length of 8 bytes, then a JSON object of that length."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 10 and 2 <= length <= min(size, MAX_SAFETENSORS_HEADER) and head[8:10] in {b'{"', b"{ "}


def _looks_like_coreml(stream: IO[bytes], size: int) -> bool:
    """Walk the top level of a protobuf: a version, a description, and one of the kinds of model."""
    stream.seek(0)
    seen: set[int] = set()
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if stream.tell() >= size:
            break
        tag = _varint(stream)
        if tag is None:
            return False
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            if _varint(stream) is None:
                return False
        elif wire == 2:
            length = _varint(stream)
            if length is None:
                return False
            if stream.tell() + length > size:
                seen.add(number)
                break
            stream.seek(length, 1)
        else:
            return False
        seen.add(number)
    kinds = {number for number in seen if COREML_FIRST_KIND <= number <= COREML_LAST_KIND}
    return {COREML_VERSION, COREML_DESCRIPTION} <= seen and bool(kinds)


def unreadable(message: str) -> UserInputError:
    """Return the refusal of a file that is no model."""
    return UserInputError(
        message,
        code="model_unreadable",
        fix="Upload an ONNX, TensorFlow Lite, Keras, SavedModel (zip), OpenVINO (zip) or ORT file.",
        field="file",
    )


def _looks_like_onnx(stream: IO[bytes], size: int) -> bool:
    """Walk the top level of a protobuf, seeking over contents: is it a ModelProto, whole or cut short?"""
    stream.seek(0)
    seen: dict[int, int] = {}
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if stream.tell() >= size:
            break
        tag = _varint(stream)
        if tag is None:
            break
        number, wire = tag >> 3, tag & 7
        if ONNX_FIELDS.get(number) != wire:
            return False
        seen[number] = seen.get(number, 0) + 1
        if wire == 0:
            if _varint(stream) is None:
                break
            continue
        length = _varint(stream)
        if length is None:
            break
        if stream.tell() + length > size:
            # Cut short inside the graph, after what comes before it in every exporter's file: an ONNX model, damaged.
            return number == ONNX_GRAPH and ONNX_IR_VERSION in seen
        stream.seek(length, 1)
    return ONNX_GRAPH in seen


def _varint(stream: IO[bytes]) -> int | None:
    value = shift = 0
    for _ in range(10):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
        shift += 7
    return None


def _sniff_zip(path: Content) -> Sniffed:
    try:
        with open_archive(path) as archive:
            names = check_archive(archive, code="model_unsafe")
            begins = {suffix: _beginning(archive, suffix) for suffix in (".xml", ".param")}
    except ARCHIVE_DAMAGE as error:
        raise unreadable(f"The file begins like a zip archive, but cannot be read as one: {error}.") from None
    if {"config.json", "metadata.json"} <= names:
        return Sniffed(format=Format.KERAS, detail="a Keras 3 archive", mime_type="application/zip")
    # What macOS adds to each file has its name, and is none.
    last = {name.rsplit("/", 1)[-1] for name in names if not name.startswith("__macosx/")}
    if "saved_model.pb" in last:
        return Sniffed(format=Format.SAVED_MODEL, detail="a zipped SavedModel", mime_type="application/zip")
    if {"data.pkl", "constants.pkl"} & last or any(name.endswith(".pkl") for name in last):
        raise _pickle("The file is a PyTorch archive with a pickle in it")
    kinds = Counter(name.rsplit(".", 1)[-1] for name in last if "." in name)
    if "manifest.json" in last and kinds["mlmodel"]:
        return Sniffed(format=Format.COREML, detail="a zipped Core ML package", mime_type="application/zip")
    if kinds["onnx"] == 1:
        return Sniffed(
            format=Format.ONNX, detail="an ONNX model with its weights beside it", mime_type="application/zip"
        )
    if kinds["onnx"] > 1:
        raise _refusal(
            f"The archive holds {kinds['onnx']} ONNX files, and must hold one, with the files that keep its weights.",
            "Zip each model by itself.",
        )
    if kinds["xml"] == 1 and kinds["bin"] and re.match(OPENVINO_ROOT, begins[".xml"], re.DOTALL):
        return Sniffed(format=Format.OPENVINO, detail="a zipped OpenVINO model", mime_type="application/zip")
    if kinds["param"] == 1 and kinds["bin"] and begins[".param"].startswith(NCNN_MAGIC):
        return Sniffed(format=Format.NCNN, detail="a zipped NCNN model", mime_type="application/zip")
    if any(name.endswith(".npy") for name in last):
        raise unreadable("The file is not a model: it is an archive of NumPy arrays.")
    raise unreadable(
        "The file is a zip archive without a model that is known here: no Keras, SavedModel, OpenVINO (.xml and .bin), "
        "Core ML package, NCNN (.param and .bin) or single ONNX file is in it."
    )


def _beginning(archive: zipfile.ZipFile, suffix: str) -> str:
    """Return how the first entry with that suffix begins, as text; nothing where there is none."""
    for entry in archive.infolist():
        if entry.filename.lower().endswith(suffix):
            with archive.open(entry) as stream:
                head = stream.read(HEAD_BYTES)
            wide = head[:2] in {b"\xff\xfe", b"\xfe\xff"}
            return head.decode("utf-16" if wide else "utf-8", errors="replace")
    return ""
