"""SavedModels, stored as a zip archive of their folder. Looked into without TensorFlow."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.archive import pack_folder, unpack_archive
from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.formats.saved_model_graph import find_folder, read_graph
from edge_ai.engine.formats.tensorflow_analysis import describe_saved_model
from edge_ai.engine.spec import Format


class SavedModelFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.SAVED_MODEL
    file_name = "variant.zip"

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the stored archive."""
        with tempfile.TemporaryDirectory(dir=workdir) as folder:
            return describe_saved_model(self.unpack(path, Path(folder)))

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the unpacked folder that holds ``saved_model.pb``."""
        if path.is_dir():
            return find_folder(path)
        return find_folder(unpack_archive(path, workdir / f"{path.name}.unpacked"))

    def save(self, made: Path, target: Path) -> int:
        """Pack a folder, without what only this run knows, so that the same content gives the same bytes."""
        if made.is_file():
            shutil.copyfile(made, target)
            return target.stat().st_size
        read_graph(made)
        return pack_folder(made, target)


HANDLER: Final = SavedModelFormat()
