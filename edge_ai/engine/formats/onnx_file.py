"""ONNX files as a format: alone, or in a zip archive with the weights that they keep beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_ai.engine.archives import pack_stored
from edge_ai.engine.formats.archive import unpack_archive
from edge_ai.engine.formats.base import warning
from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.formats.onnx import data_of, read_graph, read_model, unreadable, write_model
from edge_ai.engine.formats.onnx_analysis import analyze
from edge_ai.engine.spec import Format


class OnnxFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.ONNX
    file_name = "variant.onnx"

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the network, and say what else is in its archive."""
        unpacked = self.unpack(path, workdir)
        analysis = analyze(unpacked)
        if unpacked != path:
            analysis["warnings"] += _needless(unpacked, workdir / f"{path.name}.unpacked")
        return analysis

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the file itself, or the one in the archive with its weights beside it."""
        with path.open("rb") as stream:
            packed = stream.read(4) == b"PK\x03\x04"
        if not packed:
            return path
        folder = unpack_archive(path, workdir / f"{path.name}.unpacked")
        found = [each for each in _files(folder) if each.suffix.lower() == ".onnx"]
        if len(found) != 1:
            raise unreadable(f"The archive holds {len(found)} ONNX files, and must hold one.")
        return found[0]

    def save(self, made: Path, target: Path) -> int:
        """Write one file that holds its weights itself; of a model that is too large for that, an archive with two."""
        size = write_model(read_model(made), target)
        weights = data_of(target)
        if not weights.exists():
            return size
        packed = target.with_name(target.name + ".packed")
        pack_stored({each.name: each for each in (target, weights)}, packed)
        weights.unlink()
        packed.replace(target)
        return target.stat().st_size


def _files(folder: Path) -> list[Path]:
    """Return the files of an unpacked archive, without what macOS adds to each."""
    return sorted(each for each in folder.rglob("*") if each.is_file() and "__MACOSX" not in each.parts)


def _needless(model: Path, folder: Path) -> list[dict[str, str]]:
    _, outside = read_graph(model)
    used = {model, *(model.parent / name for name in outside)}
    needless = [each.relative_to(folder).as_posix() for each in _files(folder) if each not in used]
    if not needless:
        return []
    names = ", ".join(repr(name[:80]) for name in needless[:5])
    return [
        warning(
            "extra_files",
            f"The archive holds files that the model does not refer to: {names}"
            + (f" and {len(needless) - 5} more." if len(needless) > 5 else "."),
            "Leave them out: they take room and are not used.",
        )
    ]


HANDLER: Final = OnnxFormat()
