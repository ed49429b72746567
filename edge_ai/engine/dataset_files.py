"""Data sets that are archives of images or sounds: which samples they have, by their lists alone. Standard library only."""

from __future__ import annotations

import csv
import io
import struct
import wave
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import PurePosixPath
from typing import Final

from edge_ai.engine.archives import ARCHIVE_DAMAGE
from edge_ai.engine.dataset_preprocess import (
    PREPROCESS_FILE,
    AudioSteps,
    ImageSteps,
    read_audio_steps,
    read_image_steps,
)
from edge_ai.engine.dataset_task import DETECTION, TASK_FILE, TaskSpec, read_task
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.image_header import image_size
from edge_ai.engine.spec import MAX_DATASET_BYTES, MAX_DATASET_SAMPLES

LABELS_FILE: Final = "labels.csv"
BOXES_FILE: Final = "annotations.json"
#: Every sample may have a mask beside it.
MAX_FILES: Final = 2 * MAX_DATASET_SAMPLES + 10
MAX_LIST_BYTES: Final = 4 << 20
MAX_LABELS_BYTES: Final = 8 << 20
MAX_BOXES_BYTES: Final = 64 << 20
MAX_FILE_BYTES: Final = 256 << 20
MAX_LABEL: Final = 10_000
HEAD_BYTES: Final = 256 << 10
IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
SOUNDS: Final = frozenset({".wav"})
FIX: Final = (
    "Zip images (PNG, JPEG, BMP, WebP) or WAV files, with labels.csv and preprocess.json beside them; docs/datasets.md "
    "describes both."
)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What an archive of files holds, in the order of the samples.

    Parameters
    ----------
    files
        Names of the samples' entries.
    labels
        The text of each sample's label, ``None`` without labels.
    masks
        Names of the entries with the masks, ``None`` without.
    boxes
        Name of the entry with the boxes in COCO's form.
    steps
        How the files become an input.
    task
        What the labels mean.
    shape
        Of a sample, as far as it is told by ``preprocess.json`` or the first file.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...] | None
    masks: tuple[str, ...] | None
    boxes: str | None
    steps: ImageSteps | AudioSteps
    task: TaskSpec | None
    shape: tuple[int, ...]

    @property
    def has_labels(self) -> bool:
        """Whether there is something to judge by."""
        return self.labels is not None or self.masks is not None or self.boxes is not None


def list_files(archive: zipfile.ZipFile) -> Listing:
    """Read the lists of an archive that was checked; of its samples only the first one's header.

    Raises
    ------
    UserInputError
        ``dataset_unreadable``, ``preprocess_invalid``, ``task_invalid``.
    Exception
        One of `ARCHIVE_DAMAGE`.
    """
    entries = {
        entry.filename: entry for entry in archive.infolist() if not entry.is_dir() and not _is_litter(entry.filename)
    }
    special = _special(entries)
    kinds = {name: PurePosixPath(name).suffix.lower() for name in entries if name not in special.values()}
    strangers = sorted(name for name, kind in kinds.items() if kind not in IMAGES | SOUNDS)
    if strangers:
        raise bad_files(f"The archive has {strangers[0][:100]!r} in it, which is neither an image nor a WAV file")
    found = sorted(kinds)
    if not found:
        raise bad_files("There is no image and no WAV file in the archive")
    sounds = kinds[found[0]] in SOUNDS
    if any((kind in SOUNDS) is not sounds for kind in kinds.values()):
        raise bad_files("The archive has both images and WAV files; a data set has one kind")
    preprocess = _text(archive, entries, special.get(PREPROCESS_FILE), MAX_LABELS_BYTES)
    steps: ImageSteps | AudioSteps = read_audio_steps(preprocess) if sounds else read_image_steps(preprocess)
    told = _text(archive, entries, special.get(TASK_FILE), MAX_LABELS_BYTES)
    task = None if told is None else read_task(told)
    boxes = special.get(BOXES_FILE)
    if task is not None and task.task == DETECTION and boxes is None:
        raise bad_files(f"task.json says detection, and there is no {BOXES_FILE} with the boxes")
    if boxes is not None:
        if entries[boxes].file_size > MAX_BOXES_BYTES:
            raise bad_files(f"{BOXES_FILE} is longer than {MAX_BOXES_BYTES:,} bytes")
        task = task or TaskSpec(task=DETECTION)
    labels = masks = None
    if LABELS_FILE in special:
        text = _text(archive, entries, special[LABELS_FILE], MAX_LABELS_BYTES) or b""
        found, labels, masks = _read_labels(text, found, folder=special[LABELS_FILE].rpartition("/")[0])
    if len(found) > MAX_DATASET_SAMPLES:
        raise bad_files(f"There are {len(found):,} samples; at most {MAX_DATASET_SAMPLES:,} are used")
    for name in (*found, *(masks or ())):
        if entries[name].file_size > MAX_FILE_BYTES:
            raise bad_files(f"{name[:100]!r} unpacks to more than {MAX_FILE_BYTES >> 20} MiB")
    shape = _shape(archive, found[0], steps)
    width = 1 if isinstance(steps, ImageSteps) and steps.dtype == "uint8" else 4
    # One sample alone; of many only those are read that there is room for.
    if prod(shape) * width > MAX_DATASET_BYTES:
        raise bad_files(f"A sample becomes an input of {list(shape)}, which is more than can be used")
    return Listing(
        files=tuple(found),
        labels=None if labels is None else tuple(labels),
        masks=None if masks is None else tuple(masks),
        boxes=boxes,
        steps=steps,
        task=task,
        shape=shape,
    )


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a whole file of an archive, which unpacks to no more than its list says.

    Raises
    ------
    UserInputError
        ``dataset_unreadable`` naming the file.
    """
    try:
        with archive.open(name) as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except ARCHIVE_DAMAGE as error:
        raise bad_files(f"{name[:100]!r} is damaged ({str(error)[:120]})") from None


def bad_files(message: str) -> UserInputError:
    """Return the refusal of an archive of files."""
    return UserInputError(f"{message}.", code="dataset_unreadable", fix=FIX, field="file")


def _is_litter(name: str) -> bool:
    """What file managers leave behind."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return "__MACOSX" in parts or not parts or parts[-1].startswith("._") or parts[-1] in {".DS_Store", "Thumbs.db"}


def _special(entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, str]:
    """Return the entries that are no samples, by their names without folders."""
    found: dict[str, str] = {}
    for name in entries:
        last = PurePosixPath(name).name
        if last in {LABELS_FILE, PREPROCESS_FILE, TASK_FILE, BOXES_FILE}:
            if last in found:
                raise bad_files(f"There are two files of the name {last}")
            found[last] = name
    return found


def _text(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str | None, most: int
) -> bytes | None:
    if name is None:
        return None
    if entries[name].file_size > most:
        raise bad_files(f"{name[:100]} is longer than {most:,} bytes")
    with archive.open(name) as stream:
        return stream.read(most + 1).removeprefix(b"\xef\xbb\xbf")


def _read_labels(text: bytes, files: list[str], *, folder: str) -> tuple[list[str], list[str] | None, list[str] | None]:
    """Read ``labels.csv``: returns the samples in its order, and their labels or masks."""
    try:
        rows = list(csv.reader(io.StringIO(text.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_files(f"{LABELS_FILE} is no CSV in UTF-8 ({str(error)[:120]})") from None
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "file" not in head or ("label" in head) == ("mask" in head):
        raise bad_files(f"{LABELS_FILE} must begin with a row of names: file, and either label or mask")
    column, value = head.index("file"), head.index("label" if "label" in head else "mask")
    there = set(files)
    order: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(column, value) or len(row[value]) > MAX_LABEL:
            raise bad_files(f"Line {number} of {LABELS_FILE} has no label, or an endless one")
        name = _found(row[column].strip(), there, folder)
        if name is None:
            raise bad_files(f"Line {number} of {LABELS_FILE} names {row[column][:100]!r}, which is not in the archive")
        if name in order:
            raise bad_files(f"Line {number} of {LABELS_FILE} names {row[column][:100]!r} a second time")
        order[name] = row[value].strip()
    if not order:
        raise bad_files(f"{LABELS_FILE} has no rows")
    masks: list[str] | None = None
    if "label" not in head:
        masks = []
        for name, mask in order.items():
            mask_name = _found(mask, there, folder)
            if mask_name is None or mask_name == name:
                raise bad_files(f"The mask {mask[:100]!r} of {name[:100]!r} is not in the archive")
            masks.append(mask_name)
    left = sorted(there - order.keys() - set(masks or ()))
    if left:
        raise bad_files(f"{len(left)} of {len(there)} files have no row in {LABELS_FILE}, such as {left[0][:100]!r}")
    labels = list(order.values()) if "label" in head else None
    return list(order), labels, masks


def _found(name: str, there: set[str], folder: str) -> str | None:
    plain = name.replace("\\", "/").removeprefix("./")
    return next((path for path in (plain, f"{folder}/{plain}" if folder else plain) if path in there), None)


def _shape(archive: zipfile.ZipFile, name: str, steps: ImageSteps | AudioSteps) -> tuple[int, ...]:
    if isinstance(steps, ImageSteps):
        if steps.size is not None:
            return steps.shape(*steps.size)
        with archive.open(name) as stream:
            found = image_size(stream.read(HEAD_BYTES))
        if found is None:
            raise bad_files(f"{name[:100]!r} does not begin like an image, or is damaged")
        return steps.shape(*found)
    if steps.length is not None:
        return steps.shape(steps.length)
    with archive.open(name) as stream:
        return steps.shape(sound_frames(stream.read(HEAD_BYTES), name))


def sound_frames(head: bytes, name: str) -> int:
    """Return how many frames a WAV file says it has.

    Raises
    ------
    UserInputError
        ``dataset_unreadable`` when it is none.
    """
    try:
        with wave.open(io.BytesIO(head)) as sound:
            return int(sound.getnframes())
    except (wave.Error, EOFError, struct.error, ValueError, OverflowError) as error:
        raise not_sound(name, error) from None


def not_sound(name: str, error: Exception) -> UserInputError:
    """Return the refusal of a file that is no WAV that can be read."""
    return bad_files(f"{name[:100]!r} is no WAV file of PCM samples ({str(error)[:120] or 'it ends too early'})")
