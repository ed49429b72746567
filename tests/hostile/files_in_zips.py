"""Data sets of images and sounds that are not what they say."""

from __future__ import annotations

import io
import json
import struct
import wave
import zipfile
import zlib
from typing import Any, Final

from tests.hostile.kinds import Bait, hostile

CALIBRATED: Final[dict[str, Any]] = {"target_format": "onnx", "precision": "int8"}
LABELS: Final = "file,label\na.png,1\n"


def zipped(**files: bytes | str) -> bytes:
    """An archive; in the names of its files a double underscore stands for a point."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name.replace("__", "."), content)
    return held.getvalue()


def png(width: int, height: int, rows: bytes) -> bytes:
    """A grey image, whose pixels need not be as many as its header says."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav(frames: int) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(16_000)
        made.writeframes(bytes(2 * frames))
    return held.getvalue()


@hostile("images-bomb", "has an image that unpacks to 200 MB", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return zipped(a__png=bytes(200 << 20))


@hostile("images-boxes-deep", "nests boxes without end", "conversion", "dataset_unreadable", dataset=True, **CALIBRATED)
def _(bait: Bait) -> bytes:
    return zipped(a__png=png(4, 4, bytes(20)), annotations__json='{"images":' + "[" * 100_000)


@hostile(
    "images-endless", "claims 60,000 × 60,000 pixels", "conversion", "dataset_unreadable", dataset=True, **CALIBRATED
)
def _(bait: Bait) -> bytes:
    return zipped(a__png=png(60_000, 60_000, bytes(64)), preprocess__json=json.dumps({"resize": [4, 4]}))


@hostile("images-cut", "has an image without its end", "conversion", "dataset_unreadable", dataset=True, **CALIBRATED)
def _(bait: Bait) -> bytes:
    return zipped(a__png=png(4, 4, bytes(20))[:-30])


@hostile("images-labels-outside", "labels a file by ../", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return zipped(a__png=png(4, 4, bytes(20)), labels__csv=f"file,mask\na.png,../{bait.secret_file.name}\n")


@hostile("images-preprocess", "divides by 0 and resizes to nothing", "upload", "preprocess_invalid", dataset=True)
def _(bait: Bait) -> bytes:
    return zipped(a__png=png(4, 4, bytes(20)), labels__csv=LABELS, preprocess__json='{"std": 0, "resize": [1, 1]}')


@hostile("images-preprocess-huge", "resizes to 10^18 pixels", "upload", "preprocess_invalid", dataset=True)
def _(bait: Bait) -> bytes:
    return zipped(a__png=png(4, 4, bytes(20)), preprocess__json='{"resize": [1000000000, 1000000000]}')


@hostile("images-task", "brings a metric of its own as code", "upload", "task_invalid", dataset=True)
def _(bait: Bait) -> bytes:
    code = f"open({str(bait.marker)!r}, 'w')"
    return zipped(a__png=png(4, 4, bytes(20)), task__json=json.dumps({"task": "regression", "metric": code}))


@hostile(
    "sounds-lie",
    "says that it has 2^31 frames and has 100",
    "conversion",
    "dataset_unreadable",
    dataset=True,
    **CALIBRATED,
)
def _(bait: Bait) -> bytes:
    lie = bytearray(wav(100))
    lie[40:44] = struct.pack("<I", 0xFFFFFFFE)
    return zipped(a__wav=bytes(lie), preprocess__json=json.dumps({"length": 4}))
