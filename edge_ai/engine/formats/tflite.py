"""TensorFlow Lite files. Looked into without TensorFlow, and checked before the runtime opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.formats.tflite_file import read_file
from edge_ai.engine.spec import Format


class TfliteFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.TFLITE
    file_name = "variant.tflite"

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the stored file."""
        # Loads the names of operators, which running a model does without.
        from edge_ai.engine.formats.tflite_analysis import analyze

        return analyze(path)

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the file itself, once it has been checked."""
        read_file(path)
        return path


HANDLER: Final = TfliteFormat()
