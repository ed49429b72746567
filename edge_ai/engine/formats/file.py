"""What the formats share: recognizing a file by its content, opening it as it is, storing it as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import Format


class FileFormat:
    """A format whose stored file is what its runtime opens; see :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format: Format
    file_name: str

    def sniff(self, path: Path) -> bool:
        """Whether the file is one, by its content."""
        try:
            return sniff_model(path).format is self.format
        except UserInputError:
            return False

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the file itself."""
        return path

    def load(self, unpacked: Path, *, threads: int, optimize: bool = True) -> Session:
        """Load it in its runtime."""
        return open_model(unpacked, self.format, threads=threads, optimize=optimize)

    def save(self, made: Path, target: Path) -> int:
        """Copy the file; returns its size in bytes."""
        shutil.copyfile(made, target)
        return target.stat().st_size
