"""What a data set holds beyond its header: how often each label stands in it, how files are prepared, what labels mean.

Standard library only. Labels are counted in whole numbers and words; masks, boxes and real numbers are not.
"""

from __future__ import annotations

import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from edge_ai.engine.archives import ARCHIVE_DAMAGE, Content, open_archive
from edge_ai.engine.dataset_files import MAX_LIST_BYTES, list_files
from edge_ai.engine.dataset_header import ARRAYS, LABELS, DatasetHeader
from edge_ai.engine.dataset_task import TaskSpec
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import MAX_DATASET_SAMPLES

MAX_LABELS_SHOWN: Final = 100
MAX_TEXT: Final = 100
#: Of whole numbers: NumPy's names and how ``struct`` reads one.
WHOLE: Final = {
    **{"int8": "b", "int16": "h", "int32": "i", "int64": "q"},
    **{"uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "bool": "?"},
}
ITEM_BYTES: Final = 8


def dataset_details(path: Content, header: DatasetHeader) -> dict[str, Any]:
    """Return what is known beyond the header of a data set that was read; fields that are not known are ``None``."""
    found: dict[str, Any] = {"labels": None, "preprocess": None, "task": None}
    try:
        with open_archive(path, max_list_bytes=MAX_LIST_BYTES) as archive:
            if header.content == ARRAYS:
                counts = _whole_numbers(archive, header)
                return found | {"labels": None if counts is None else _counted(counts, None)}
            listing = list_files(archive)
    except (*ARCHIVE_DAMAGE, UserInputError):
        return found
    return {
        "labels": None if listing.labels is None else _counted(listing.labels, listing.task),
        "preprocess": {name: value for name, value in asdict(listing.steps).items() if value is not None},
        "task": None if listing.task is None else _told(listing.task),
    }


def _whole_numbers(archive: zipfile.ZipFile, header: DatasetHeader) -> list[str] | None:
    """Read one whole number for each sample; ``None`` where labels are anything else."""
    labels = next((array for array in header.arrays if array.name == LABELS), None)
    letter = WHOLE.get(labels.dtype) if labels is not None else None
    if labels is None or letter is None or not 1 <= len(labels.shape) <= 2 or labels.shape[1:] not in {(), (1,)}:
        return None
    width = struct.calcsize(f"={letter}")
    with archive.open(f"{LABELS}.npy") as stream:
        content = stream.read(20_000 + MAX_DATASET_SAMPLES * ITEM_BYTES)
    # A header of its own length comes first; how the bytes of a number are ordered stands in it.
    numbers = content[len(content) - header.samples * width :]
    order = ">" if b"'>" in content[: len(content) - len(numbers)] else "<"
    if len(numbers) != header.samples * width:
        return None
    return [str(int(number)) for (number,) in struct.iter_unpack(f"{order}{letter}", numbers)]


def _counted(labels: Iterable[str], task: TaskSpec | None) -> dict[str, Any] | None:
    """Count them, the most frequent first; of labels that hardly repeat, nothing is told by a count."""
    counts = Counter(label[:MAX_TEXT] for label in labels)
    names: Sequence[str] = (task.classes if task is not None else None) or ()
    rows = [
        {"label": label, "name": _name(label, names), "count": count}
        for label, count in sorted(counts.items(), key=lambda each: (-each[1], _in_order(each[0])))
    ]
    return {"classes": len(counts), "rows": rows[:MAX_LABELS_SHOWN]}


def _name(label: str, names: Sequence[str]) -> str | None:
    whole = label.isascii() and label.isdigit() and len(label) < 7
    return names[int(label)][:MAX_TEXT] if whole and int(label) < len(names) else None


def _in_order(label: str) -> tuple[int, int, str]:
    whole = label.isascii() and label.isdigit() and len(label) < 20
    return (0, int(label), "") if whole else (1, 0, label)


def _told(task: TaskSpec) -> dict[str, Any]:
    facts = {"task": task.task, "output": task.output, "classes": len(task.classes) if task.classes else None}
    return {name: value for name, value in facts.items() if value is not None}
