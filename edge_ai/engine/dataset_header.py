"""What a data set holds, from the headers of its arrays or the lists of its files. Standard library only."""

from __future__ import annotations

import ast
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edge_ai.engine.archives import ARCHIVE_DAMAGE, Content, check_archive, open_archive
from edge_ai.engine.dataset_files import MAX_FILES, MAX_LIST_BYTES, list_files
from edge_ai.engine.dataset_preprocess import ImageSteps
from edge_ai.engine.dataset_task import TASK_FILE, TaskSpec, read_task
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import MAX_DATASET_BYTES, MAX_DATASET_SAMPLES
from edge_ai.engine.strangers import HEAD_BYTES, stranger

MAX_NPY_HEADER_BYTES = 10_000
MAX_ARRAYS = 64
MAX_AXES = 32
MAX_NAME = 200
MAX_TASK_BYTES = 4 << 20
LABELS = "labels"
ARRAYS, IMAGES, SOUNDS = "arrays", "images", "audio"


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """An array of a data set; the first axis counts samples."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetHeader:
    """What a data set's file says it holds: arrays, images or sounds, and the task, where it gives one."""

    arrays: tuple[ArraySpec, ...]
    samples: int
    has_labels: bool
    content: str = ARRAYS
    task: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "arrays": [{"name": a.name, "dtype": a.dtype, "shape": list(a.shape)} for a in self.arrays],
            "samples": self.samples,
            "has_labels": self.has_labels,
            "content": self.content,
            "task": self.task,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DatasetHeader:
        """Return the header that :meth:`to_json` wrote."""
        return cls(
            arrays=tuple(ArraySpec(name=a["name"], dtype=a["dtype"], shape=tuple(a["shape"])) for a in data["arrays"]),
            samples=data["samples"],
            has_labels=data["has_labels"],
            # Not there in what was uploaded before there was anything else.
            content=data.get("content", ARRAYS),
            task=data.get("task"),
        )


def read_dataset_header(path: Content) -> DatasetHeader:
    """Read what a data set holds from the archive's list and the headers in it; no array and no file of a sample is read.

    Raises
    ------
    UserInputError
        ``dataset_unreadable``, ``preprocess_invalid``, ``task_invalid``.
    """
    try:
        with open_archive(path, max_list_bytes=MAX_LIST_BYTES) as archive:
            check_archive(archive, code="dataset_unreadable", max_entries=MAX_FILES)
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_DATASET_BYTES * 4:
                raise _bad_dataset("The archive unpacks to more than can be used.")
            if not any(entry.filename.endswith(".npy") for entry in entries):
                return _of_files(archive)
            if len(entries) > MAX_ARRAYS or not all(entry.filename.endswith(".npy") for entry in entries):
                raise _bad_dataset("The archive must hold NumPy arrays and nothing else, at most 64 of them.")
            return _of_arrays(archive, entries)
    except ARCHIVE_DAMAGE as error:
        with path.open("rb") as stream:
            found = stranger(stream.read(HEAD_BYTES))
        raise _bad_dataset(f"The file is not an .npz or .zip archive ({error}); it looks like {found}.") from None


def _of_files(archive: zipfile.ZipFile) -> DatasetHeader:
    listing = list_files(archive)
    steps = listing.steps
    images = isinstance(steps, ImageSteps)
    dtype = steps.dtype if isinstance(steps, ImageSteps) else "float32"
    return DatasetHeader(
        arrays=(ArraySpec(name=steps.input, dtype=dtype, shape=(len(listing.files), *listing.shape)),),
        samples=len(listing.files),
        has_labels=listing.has_labels,
        content=IMAGES if images else SOUNDS,
        task=None if listing.task is None else listing.task.task,
    )


def _of_arrays(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> DatasetHeader:
    task_entry = f"{TASK_FILE}.npy"
    arrays = tuple(_array(archive, entry) for entry in entries if entry.filename != task_entry)
    task = next((_task(archive, entry) for entry in entries if entry.filename == task_entry), None)
    inputs = [array for array in arrays if array.name != LABELS]
    if not inputs:
        raise _bad_dataset("There are labels but no inputs.")
    samples = inputs[0].shape[0] if inputs[0].shape else 0
    for array in arrays:
        first = array.shape[0] if array.shape else 0
        if first != samples or first == 0:
            raise _bad_dataset(
                f"The first axis of each array counts samples, and they differ: {inputs[0].name!r} has {samples}, "
                f"{array.name!r} has {first}."
            )
    if samples > MAX_DATASET_SAMPLES:
        raise _bad_dataset(f"There are {samples:,} samples; at most {MAX_DATASET_SAMPLES:,} are used.")
    return DatasetHeader(
        arrays=arrays,
        samples=samples,
        has_labels=len(inputs) != len(arrays),
        task=None if task is None else task.task,
    )


def _task(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> TaskSpec:
    """Read the task of an ``.npz``: an array of one text, the JSON."""
    described = _array(archive, entry)
    if described.dtype != "string" or described.shape != () or entry.file_size > MAX_TASK_BYTES:
        raise _bad_dataset(f"{TASK_FILE!r} must be one text, the task as JSON.")
    with archive.open(entry) as stream:
        content = stream.read(MAX_TASK_BYTES)
    wide = content[6] > 1
    start = (12 if wide else 10) + int.from_bytes(content[8 : 12 if wide else 10], "little")
    order = "big" if b"'>U" in content[:start] else "little"
    try:
        text = content[start:].decode("utf-32-be" if order == "big" else "utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise _bad_dataset(f"{TASK_FILE!r} is no text.") from None
    return read_task(text)


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> ArraySpec:
    name = entry.filename.removesuffix(".npy")
    if len(name) > MAX_NAME:
        raise _bad_dataset(f"The name {name[:60]!r} is too long.")
    with archive.open(entry) as stream:
        prefix = stream.read(8)
        if len(prefix) < 8 or prefix[:6] != b"\x93NUMPY" or prefix[6] not in (1, 2, 3):
            raise _bad_dataset(f"{name!r} is not a NumPy array.")
        wide = prefix[6] > 1
        (length,) = struct.unpack("<I" if wide else "<H", stream.read(4 if wide else 2))
        if length > MAX_NPY_HEADER_BYTES:
            raise _bad_dataset(f"The header of {name!r} is too long.")
        try:
            header = ast.literal_eval(stream.read(length).decode("latin1").strip())
            descr, shape = header["descr"], tuple(header["shape"])
        except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
            raise _bad_dataset(f"The header of {name!r} cannot be read.") from None
    if len(shape) > MAX_AXES or any(type(axis) is not int or axis < 0 for axis in shape):
        raise _bad_dataset(f"The header of {name!r} has a shape that no array has.")
    dtype, width = _dtype(name, descr)
    # What is not there cannot be asked for: everybody after this believes the shape.
    if prod(shape) * width != entry.file_size - (12 if wide else 10) - length:
        raise _bad_dataset(f"{name!r} does not have as many numbers as its header says.")
    return ArraySpec(name=name, dtype=dtype, shape=shape)


#: By NumPy's letter, what a type is called and how many bytes an element has; of text by the letter, of any length.
_KINDS: dict[str, tuple[str, frozenset[int]]] = {
    "f": ("float", frozenset({2, 4, 8, 16})),
    "i": ("int", frozenset({1, 2, 4, 8})),
    "u": ("uint", frozenset({1, 2, 4, 8})),
    "b": ("bool", frozenset({1})),
}
_LETTER_BYTES = {"U": ("string", 4), "S": ("bytes", 1)}


def _dtype(name: str, descr: object) -> tuple[str, int]:
    """Return what a type is called, and the bytes of an element."""
    match = re.fullmatch(r"[<>|=]([fiubUS])(\d{1,9})", descr) if isinstance(descr, str) else None
    if match is not None:
        letter, size = match[1], int(match[2])
        if letter in _LETTER_BYTES:
            kind, width = _LETTER_BYTES[letter]
            return kind, width * size
        kind, sizes = _KINDS[letter]
        if size in sizes:
            return kind if kind == "bool" else f"{kind}{8 * size}", size
    raise _bad_dataset(f"{name!r} holds {repr(descr)[:60]}, which is not a plain type of number or text.")


def _bad_dataset(message: str) -> UserInputError:
    return UserInputError(
        message,
        code="dataset_unreadable",
        fix="Save it with numpy.savez_compressed(path, input_name=array, labels=labels), or zip images or WAV files; "
        "docs/datasets.md describes both.",
        field="file",
    )
