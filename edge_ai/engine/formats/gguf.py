"""GGUF files: the header alone is read, with bounds on everything that it claims."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from typing import IO, Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.kept import KeptFormat, damaged, weight_facts
from edge_ai.engine.spec import Format

MAX_ENTRIES: Final = 100_000
MAX_TEXT: Final = 1 << 24
MAX_ARRAY: Final = 1 << 24
MAX_AXES: Final = 8
#: Of one tensor: no model of today has as many numbers in all of them.
MAX_ELEMENTS: Final = 1 << 44
#: Fixed-size values of the header by type number: struct code.
SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
#: ggml's types: name, numbers in a block, bytes of a block. Source: ggml.h and ggml-common.h of llama.cpp.
TYPES: Final = {
    0: ("float32", 1, 4),
    1: ("float16", 1, 2),
    2: ("q4_0", 32, 18),
    3: ("q4_1", 32, 20),
    6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24),
    8: ("q8_0", 32, 34),
    9: ("q8_1", 32, 36),
    10: ("q2_k", 256, 84),
    11: ("q3_k", 256, 110),
    12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176),
    14: ("q6_k", 256, 210),
    15: ("q8_k", 256, 292),
    16: ("iq2_xxs", 256, 66),
    17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98),
    19: ("iq1_s", 256, 50),
    20: ("iq4_nl", 32, 18),
    21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82),
    23: ("iq4_xs", 256, 136),
    24: ("int8", 1, 1),
    25: ("int16", 1, 2),
    26: ("int32", 1, 4),
    27: ("int64", 1, 8),
    28: ("float64", 1, 8),
    29: ("iq1_m", 256, 56),
    30: ("bfloat16", 1, 2),
    34: ("tq1_0", 256, 54),
    35: ("tq2_0", 256, 66),
    39: ("mxfp4", 32, 17),
}
SHOWN: Final = ("general.name", "general.architecture", "general.quantized_by", "general.license")


class GgufFormat(KeptFormat):
    """See :class:`~edge_ai.engine.formats.kept.KeptFormat`."""

    def facts(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Read the header: metadata, then a line for each tensor."""
        try:
            with path.open("rb") as stream:
                return _Header(stream, path.stat().st_size).facts()
        except (struct.error, UnicodeDecodeError, OverflowError, MemoryError):
            raise _damaged("its header was cut short") from None


HANDLER: Final = GgufFormat(
    Format.GGUF,
    "variant.gguf",
    reason="GGUF is for llama.cpp.",
    fix="Run it with llama.cpp; to optimize the network here, export it to ONNX.",
)


class _Header:
    """Reads a GGUF header, little-endian, front to back."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._size = size

    def facts(self) -> dict[str, Any]:
        """Return the fields of an analysis."""
        magic, version = self._take("4sI")
        if magic != b"GGUF" or version not in (2, 3):
            raise _damaged(f"its version is {version}; 2 and 3 are known")
        tensors, entries = self._take("QQ")
        if tensors > MAX_ENTRIES or entries > MAX_ENTRIES:
            raise _damaged("it claims an absurd number of tensors or entries")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self._text()
            metadata[key] = self._value(self._take("I")[0])
        sizes: Counter[str] = Counter()
        parameters = end = 0
        for _ in range(tensors):
            name, elements, size, offset = self._tensor()
            sizes[name] += size
            parameters += elements
            end = max(end, offset + size)
        if end > self._size - self._stream.tell():
            raise _damaged("it ends before the tensors that its header lists")
        architecture = str(metadata.get("general.architecture") or "")
        shown: dict[str, str] = {key: str(metadata[key])[:200] for key in SHOWN if key in metadata}
        for name in ("context_length", "embedding_length", "block_count"):
            if f"{architecture}.{name}" in metadata:
                shown[name] = str(metadata[f"{architecture}.{name}"])[:200]
        return {
            **weight_facts(sizes, parameters),
            "node_count": None,
            "producer": f"GGUF {version}, {architecture}".strip(", "),
            "precision": max(sizes, key=lambda name: sizes[name])[:20] if sizes else None,
            "metadata": shown,
        }

    def _take(self, layout: str) -> tuple[Any, ...]:
        layout = "<" + layout
        return struct.unpack(layout, self._stream.read(struct.calcsize(layout)))

    def _text(self) -> str:
        (length,) = self._take("Q")
        if length > MAX_TEXT:
            raise _damaged("it claims an absurdly long text")
        data = self._stream.read(length)
        if len(data) < length:
            raise _damaged("its header was cut short")
        return data.decode("utf-8", errors="replace")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in SCALARS:
            return self._take(SCALARS[kind])[0]
        if kind == STRING:
            return self._text()
        if kind != ARRAY or depth > 2:
            raise _damaged(f"it has a value of the unknown type {kind}")
        inner, length = self._take("IQ")
        if length > MAX_ARRAY:
            raise _damaged("it claims an absurdly long list")
        if inner in SCALARS:
            width = struct.calcsize("<" + SCALARS[inner])
            if self._stream.tell() + length * width > self._size:
                raise _damaged("its header was cut short")
            self._stream.seek(length * width, 1)
        else:
            for _ in range(length):
                self._value(inner, depth + 1)
        return f"{length} values"

    def _tensor(self) -> tuple[str, int, int, int]:
        """Return a tensor's type, numbers, bytes and offset."""
        self._text()
        (axes,) = self._take("I")
        if axes > MAX_AXES:
            raise _damaged("it has a tensor with an absurd number of axes")
        elements = 1
        for size in self._take("Q" * axes) if axes else ():
            elements *= size
        if elements > MAX_ELEMENTS:
            raise _damaged("it has a tensor with an absurd number of elements")
        kind, offset = self._take("IQ")
        name, numbers, size = TYPES.get(kind, (f"type {kind}", 1, 0))
        return name, elements, -(-elements // numbers) * size, offset


def _damaged(reason: str) -> UserInputError:
    return damaged("GGUF file", reason, "Download or convert it again, and upload the whole file.")
