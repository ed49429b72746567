"""Reading a data set of images or sounds into arrays. For the engine's own process."""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine import shallow
from edge_ai.engine.archives import open_archive
from edge_ai.engine.dataset_files import BOXES_FILE, MAX_LIST_BYTES, Listing, bad_files, list_files, read_entry
from edge_ai.engine.dataset_preprocess import AudioSteps, ImageSteps
from edge_ai.engine.dataset_task import CTC, DETECTION, SEGMENTATION, TaskSpec

MAX_ARRAY_BYTES: Final = 1 << 30
"""What the samples may take in memory; of more a part is read that is drawn from a fixed seed."""

SEED: Final = 0

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class FilesRead:
    """The samples of an archive: one array, what is right, what that means, and what else there is to know."""

    array: Array
    labels: Array | None
    task: TaskSpec | None
    input: str
    notes: tuple[str, ...]


def read_files(path: Path, *, max_bytes: int = MAX_ARRAY_BYTES) -> FilesRead:
    """Read the samples of an archive whose header was read before.

    Raises
    ------
    UserInputError
        ``dataset_unreadable`` naming the file that is damaged, or lies about its size.
    """
    with open_archive(path, max_list_bytes=MAX_LIST_BYTES) as archive:
        listing = list_files(archive)
        places = _drawn(listing, max_bytes)
        steps = listing.steps
        if isinstance(steps, ImageSteps):
            array, labels, task = _images(archive, listing, steps, places)
        else:
            array, labels, task = _sounds(archive, listing, steps, places), None, listing.task
    if listing.labels is not None:
        labels = read_labels([listing.labels[place] for place in places], listing.task)
    notes: tuple[str, ...] = ()
    if len(places) < len(listing.files):
        notes = (f"Of {len(listing.files):,} samples {len(places):,} were read, drawn at random, to bound memory.",)
    return FilesRead(array=array, labels=labels, task=task, input=steps.input, notes=notes)


def read_labels(texts: Sequence[str], task: TaskSpec | None) -> Array:
    """Return the labels of ``labels.csv``: whole numbers, numbers, or what is neither as it is."""
    if task is not None and (task.task == CTC or task.classes is not None):
        return np.array(texts, dtype=str)
    for kind in (int, float):
        try:
            numbers = [kind(text) for text in texts]
        except ValueError:
            continue
        if kind is float or all(abs(number) < 1 << 62 for number in numbers):
            return np.array(numbers, dtype=np.int64 if kind is int else np.float64)
    return np.array(texts, dtype=str)


def _drawn(listing: Listing, max_bytes: int) -> list[int]:
    """Return which samples are read, in their order."""
    size = prod(listing.shape) * (1 if getattr(listing.steps, "dtype", "") == "uint8" else 4)
    if listing.masks is not None and isinstance(listing.steps, ImageSteps):
        size += prod(listing.shape) // listing.steps.channels
    most = max(1, max_bytes // max(1, size))
    count = len(listing.files)
    if count <= most:
        return list(range(count))
    return sorted(np.random.default_rng(SEED).permutation(count)[:most].tolist())


def _images(
    archive: zipfile.ZipFile, listing: Listing, steps: ImageSteps, places: Sequence[int]
) -> tuple[Array, Array | None, TaskSpec | None]:
    # OpenCV is loaded for images only.
    from edge_ai.engine.evaluate.images import decode_image, place_image, to_numbers

    array = np.empty((len(places), *listing.shape), steps.dtype)
    height, width = steps.size or (listing.shape[1:] if steps.layout == "nchw" else listing.shape[:2])
    task = listing.task
    truth: dict[str, list[dict[str, Any]]] = {}
    if listing.boxes is not None:
        truth, categories = read_coco(read_entry(archive, listing.boxes), [listing.files[place] for place in places])
        task = task or TaskSpec(task=DETECTION)
        task = task if task.categories else replace(task, categories=categories)
    if listing.masks is not None:
        task = task or TaskSpec(task=SEGMENTATION)
    masks = None if listing.masks is None else np.empty((len(places), height, width), np.uint8)
    boxes: list[str] = []
    ignore = 255 if task is None or not 0 <= task.ignore <= 255 else task.ignore
    for row, place in enumerate(places):
        name = listing.files[place]
        image = decode_image(read_entry(archive, name), name, gray=steps.color_order == "gray")
        placed, where = place_image(image, steps)
        if placed.shape[:2] != (height, width):
            raise bad_files(
                f"{name[:100]!r} has {image.shape[0]} × {image.shape[1]} pixels and the first image {height} × {width}; "
                "give a “resize” in preprocess.json"
            )
        array[row] = to_numbers(placed, steps)
        if masks is not None and listing.masks is not None:
            mask_name = listing.masks[place]
            mask = decode_image(read_entry(archive, mask_name), mask_name, gray=True)
            if mask.shape != image.shape[:2]:
                raise bad_files(f"The mask {mask_name[:100]!r} is not as large as {name[:100]!r}")
            masks[row], _ = place_image(mask, steps, mask=True, fill=ignore)
        if listing.boxes is not None:
            moved = [item | {"bbox": where.boxes(np.array([item["bbox"]]))[0].tolist()} for item in truth.get(name, ())]
            boxes.append(json.dumps(moved))
    labels: Array | None = masks if masks is not None else None
    if listing.boxes is not None:
        labels = np.array(boxes, dtype=str)
    return array, labels, task


def _sounds(archive: zipfile.ZipFile, listing: Listing, steps: AudioSteps, places: Sequence[int]) -> Array:
    from edge_ai.engine.evaluate.sounds import decode_sound, sound_numbers

    length = prod(listing.shape)
    array = np.empty((len(places), *listing.shape), np.float32)
    rates: dict[int, str] = {}
    for row, place in enumerate(places):
        name = listing.files[place]
        sound, rate = decode_sound(read_entry(archive, name), name)
        array[row] = sound_numbers(sound, rate, name, steps, length)
        rates.setdefault(rate, name)
        if len(rates) > 1:
            told = ", ".join(f"{other[:60]!r} {each:,}" for each, other in rates.items())
            raise bad_files(f"The sounds have different sample rates ({told} a second)")
    return array


def read_coco(text: bytes, files: Sequence[str]) -> tuple[dict[str, list[dict[str, Any]]], tuple[int, ...]]:
    """Read annotations in COCO's form.

    Parameters
    ----------
    files
        The samples' names in the archive; COCO's may lack folders.

    Returns
    -------
    tuple
        The boxes of each file, ``{"category_id", "bbox", "iscrowd"}``, and the ids of the categories, rising.

    Raises
    ------
    UserInputError
        ``dataset_unreadable``.
    """
    try:
        content = shallow.loads(text)
        by_name = {str(image["file_name"]): image["id"] for image in content["images"]}
        categories = sorted(int(item["id"]) for item in content.get("categories") or ())
        of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for item in content.get("annotations") or ():
            box = [float(value) for value in item["bbox"]]
            if len(box) != 4 or not np.isfinite(box).all():
                raise ValueError("a box has no four numbers")
            of_image[item["image_id"]].append(
                {"category_id": int(item["category_id"]), "bbox": box, "iscrowd": int(bool(item.get("iscrowd", 0)))}
            )
        found = {}
        for name in files:
            known = next((key for key in (name, name.rpartition("/")[2]) if key in by_name), None)
            known = known or next((key for key in by_name if name.endswith(f"/{key}")), None)
            if known is None:
                raise bad_files(f"{BOXES_FILE} does not tell of the image {name[:100]!r}")
            found[name] = of_image[by_name[known]]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise bad_files(f"{BOXES_FILE} is not in COCO's form ({type(error).__name__}: {str(error)[:100]})") from None
    if not categories:
        categories = sorted({item["category_id"] for items in found.values() for item in items})
    return found, tuple(categories)
