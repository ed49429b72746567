"""TensorFlow Lite files. Looked into without TensorFlow, and checked before the runtime opens them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.tflite_file import read_file
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import Format


class TfliteFormat:
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format: Final = Format.TFLITE
    file_name: Final = "variant.tflite"

    def sniff(self, path: Path) -> bool:
        """Whether the file is a TensorFlow Lite flatbuffer."""
        try:
            return sniff_model(path).format is self.format
        except UserInputError:
            return False

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the stored file."""
        # Loads the names of operators, which running a model does without.
        from edge_ai.engine.formats.tflite_analysis import analyze

        return analyze(path)

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the file itself, once it has been checked."""
        read_file(path)
        return path

    def load(self, unpacked: Path, *, threads: int, optimize: bool = True) -> Session:
        """Load it in LiteRT."""
        return open_model(unpacked, self.format, threads=threads, optimize=optimize)

    def save(self, made: Path, target: Path) -> int:
        """Copy the file."""
        shutil.copyfile(made, target)
        return target.stat().st_size


HANDLER: Final = TfliteFormat()
