"""Keras files: archives of Keras 3, and HDF5. Looked into without Keras."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.keras_config import is_hdf5
from edge_ai.engine.formats.tensorflow_analysis import describe_keras
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import Format


class KerasFormat:
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format: Final = Format.KERAS
    file_name: Final = "variant.keras"

    def sniff(self, path: Path) -> bool:
        """Whether the file is an archive of Keras 3 or HDF5."""
        try:
            return sniff_model(path).format is self.format
        except UserInputError:
            return False

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

    def load(self, unpacked: Path, *, threads: int, optimize: bool = True) -> Session:
        """Load it in TensorFlow."""
        return open_model(unpacked, self.format, threads=threads, optimize=optimize)

    def save(self, made: Path, target: Path) -> int:
        """Copy the file."""
        shutil.copyfile(made, target)
        return target.stat().st_size


HANDLER: Final = KerasFormat()
