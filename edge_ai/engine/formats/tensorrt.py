"""TensorRT engines: what little their header tells. They run on the GPU and version that they were built for alone."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.kept import KeptFormat, damaged
from edge_ai.engine.spec import Format

LEAST_BYTES: Final = 64


class TensorRtFormat(KeptFormat):
    """See :class:`~edge_ai.engine.formats.kept.KeptFormat`."""

    def facts(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Read the mark and the version of the serialization; the rest is documented nowhere."""
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(8)
        if size < LEAST_BYTES or len(head) < 8:
            raise damaged("TensorRT engine", "it was cut short", "Build it again, and upload the whole file.")
        (version,) = struct.unpack("<I", head[4:8])
        return {
            "producer": "TensorRT",
            "metadata": {"mark": head[:4].decode("ascii", "replace"), "serialization": str(version)},
        }


HANDLER: Final = TensorRtFormat(
    Format.TENSORRT,
    "variant.engine",
    reason="A TensorRT engine is bound to one GPU, one driver and one version of TensorRT.",
    fix="Upload the ONNX file that it was built from, and optimize that.",
)
