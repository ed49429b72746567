"""ONNX files as a format: alone, or in a zip archive with the weights that they keep beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.archive import unpack_archive
from edge_ai.engine.formats.onnx import read_model, unreadable, write_model
from edge_ai.engine.formats.onnx_analysis import analyze
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import Format


class OnnxFormat:
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format: Final = Format.ONNX
    file_name: Final = "variant.onnx"

    def sniff(self, path: Path) -> bool:
        """Whether the file is one, or an archive of one."""
        try:
            return sniff_model(path).format is self.format
        except UserInputError:
            return False

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

    def load(self, unpacked: Path, *, threads: int, optimize: bool = True) -> Session:
        """Load it in onnxruntime."""
        return open_model(unpacked, self.format, threads=threads, optimize=optimize)

    def save(self, made: Path, target: Path) -> int:
        """Write one file that holds its weights itself."""
        return write_model(read_model(made), target)


HANDLER: Final = OnnxFormat()
