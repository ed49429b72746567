"""safetensors: weights without a network. PyTorch's own files are pickles and are refused before they get here."""

from __future__ import annotations

import struct
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, Final

from edge_ai.engine import shallow
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.kept import KeptFormat, damaged, weight_facts
from edge_ai.engine.sniff import MAX_SAFETENSORS_HEADER
from edge_ai.engine.spec import Format

DTYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8e4m3fn",
    "F8_E5M2": "float8e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
#: Bytes of an element.
WIDTHS: Final = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
MAX_RANK: Final = 64
_PRECISIONS: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


class SafetensorsFormat(KeptFormat):
    """See :class:`~edge_ai.engine.formats.kept.KeptFormat`."""

    def facts(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Read the header, which lists every tensor."""
        size = path.stat().st_size
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
            if length > min(size - 8, MAX_SAFETENSORS_HEADER):
                raise _damaged("it ends within its header")
            try:
                header = shallow.loads(stream.read(length))
                tensors = {name: item for name, item in header.items() if name != "__metadata__"}
                return _facts(tensors, header.get("__metadata__") or {}, size - 8 - length)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                raise _damaged("its header is not what safetensors write") from None


HANDLER: Final = SafetensorsFormat(
    Format.OTHER,
    "variant.safetensors",
    reason="It holds weights without the network that they belong to.",
    fix='Load them into the network and export that: torch.onnx.export(model, example, "model.onnx", dynamo=True).',
)


def _facts(tensors: dict[str, Any], metadata: dict[str, Any], room: int) -> dict[str, Any]:
    sizes: Counter[str] = Counter()
    parameters = 0
    for item in tensors.values():
        begin, end = (_count(place) for place in item["data_offsets"])
        if not begin <= end <= room:
            raise _damaged("it ends before the tensors that its header lists")
        if len(item["shape"]) > MAX_RANK:
            raise _damaged("a tensor has an absurd number of axes")
        elements = prod(_count(axis) for axis in item["shape"])
        kind = str(item["dtype"])
        if kind in WIDTHS and elements * WIDTHS[kind] != end - begin:
            raise _damaged("a tensor's shape does not fit its place in the file")
        sizes[DTYPES.get(kind, kind.lower()[:20])] += end - begin
        # Types of a byte or less cannot have more numbers than bits.
        parameters += min(elements, 8 * (end - begin))
    most = max(sizes, key=lambda name: sizes[name]) if sizes else ""
    return {
        **weight_facts(sizes, parameters),
        "producer": "safetensors",
        "precision": _PRECISIONS.get(most, most[:20] or None),
        "metadata": {str(key)[:200]: str(value)[:200] for key, value in list(metadata.items())[:32]}
        | {"tensors": str(len(tensors))},
    }


def _count(value: object) -> int:
    """Return a size or place as the header has it.

    Raises
    ------
    TypeError
        For anything but a whole number from zero.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _damaged(reason: str) -> UserInputError:
    return damaged("safetensors file", reason, "Save it again with safetensors, and upload the whole file.")
