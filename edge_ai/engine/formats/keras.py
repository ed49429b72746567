"""Keras files: archives of Keras 3, and HDF5. Looked into without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.formats.keras_config import is_hdf5
from edge_ai.engine.formats.tensorflow_analysis import describe_keras
from edge_ai.engine.spec import Format


class KerasFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.KERAS
    file_name = "variant.keras"

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the stored file."""
        return describe_keras(path)

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the file itself, under a name that ends as Keras wants it."""
        suffixes = (".h5", ".hdf5") if is_hdf5(path) else (".keras",)
        if path.suffix in suffixes:
            return path
        link = workdir / f"{path.name}{suffixes[0]}"
        if not link.is_symlink():
            link.symlink_to(path.resolve())
        return link


HANDLER: Final = KerasFormat()
