"""ONNX files as a format: alone, or in a zip archive with the weights that they keep beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.archive import unpack_archive
from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.formats.onnx import read_model, unreadable, write_model
from edge_ai.engine.formats.onnx_analysis import analyze
from edge_ai.engine.spec import Format


class OnnxFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.ONNX
    file_name = "variant.onnx"

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the network."""
        return analyze(self.unpack(path, workdir))

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the file itself, or the one in the archive with its weights beside it."""
        with path.open("rb") as stream:
            packed = stream.read(4) == b"PK\x03\x04"
        if not packed:
            return path
        folder = unpack_archive(path, workdir / f"{path.name}.unpacked")
        found = sorted(folder.rglob("*.onnx"))
        if len(found) != 1:
            raise unreadable(f"The archive holds {len(found)} ONNX files, and must hold one.")
        return found[0]

    def save(self, made: Path, target: Path) -> int:
        """Write one file that holds its weights itself."""
        return write_model(read_model(made), target)


HANDLER: Final = OnnxFormat()
