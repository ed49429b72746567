"""A model's files as they lie in a bundle: under plain names, unpacked so that a runtime opens them as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.spec import Format

SUFFIXES: Final[Mapping[Format, str]] = {
    Format.ONNX: ".onnx",
    Format.ORT: ".ort",
    Format.TFLITE: ".tflite",
    Format.GGUF: ".gguf",
    Format.TENSORRT: ".engine",
    Format.OTHER: ".safetensors",
}
PAIRS: Final[Mapping[Format, str]] = {Format.OPENVINO: ".bin", Format.NCNN: ".bin"}
"""Formats of two files, by the ending of the second one: it has the first one's name."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What of a bundle is the model.

    Parameters
    ----------
    model
        What a runtime opens, a file or a folder, relative to the bundle.
    files
        Where each file is found, by its place in the bundle.
    """

    model: str
    files: Mapping[str, Path]


def contents_of(stored: Path, format: Format, workdir: Path) -> Contents:
    """Return a model's files.

    Parameters
    ----------
    stored
        The stored file: packed, for formats that are folders.
    workdir
        A folder to unpack to.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    opened = handler_of(format).unpack(stored, workdir)
    if format in PAIRS:
        name = f"model{opened.suffix}"
        return Contents(model=name, files={name: opened, f"model{PAIRS[format]}": opened.with_suffix(PAIRS[format])})
    if format is Format.ONNX and opened != stored:
        # The model names its other files by where they lie beside it.
        from edge_ai.engine.formats.onnx import read_graph

        names = [opened.name, *sorted(read_graph(opened)[1])]
        return Contents(model=f"model/{opened.name}", files={f"model/{name}": opened.parent / name for name in names})
    if format is Format.SAVED_MODEL:
        return _folder(opened, "saved_model")
    if format is Format.COREML and opened != stored:
        # Its manifest is what makes a folder a package.
        roots = [folder for folder in opened.parents if (folder / "Manifest.json").is_file()]
        return _folder(roots[0], "model.mlpackage") if roots else _file(opened, ".mlmodel")
    if format is Format.COREML:
        return _file(opened, ".mlmodel")
    # A Keras file's ending says which of the two kinds it is.
    return _file(opened, SUFFIXES.get(format, opened.suffix))


def _file(path: Path, suffix: str) -> Contents:
    name = f"model{suffix}"
    return Contents(model=name, files={name: path})


def _folder(folder: Path, name: str) -> Contents:
    found = {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return Contents(model=name, files=found)
