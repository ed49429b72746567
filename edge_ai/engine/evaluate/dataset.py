"""Data sets: reading them, holding them against a model, dividing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.archives import ARCHIVE_DAMAGE
from edge_ai.engine.dataset_header import ARRAYS
from edge_ai.engine.dataset_task import TASK_FILE, TaskSpec, read_task
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.evaluate.dataset_files import read_files
from edge_ai.engine.evaluate.pairing import to_input
from edge_ai.engine.fit import array_names, check_dataset
from edge_ai.engine.runtime.base import Tensor
from edge_ai.engine.sniff import LABELS, ArraySpec, DatasetHeader, read_dataset_header

Array = npt.NDArray[Any]

#: To calibrate with; beyond it more samples hardly move the ranges.
ENOUGH_SAMPLES = 100


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples of what a model will see.

    Parameters
    ----------
    inputs
        One array for each input, by its name; the first axis counts samples.
    labels
        What is right, one entry a sample, or ``None``.
    task
        What the labels mean, where the data set tells.
    content
        What its file holds: "arrays", "images" or "audio".
    notes
        What else there is to know, such as that a part of it was read.
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    task: TaskSpec | None = None
    content: str = ARRAYS
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(next(iter(self.inputs.values())))

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height of the images among the inputs, ``None`` without any: channels are 1, 3 or 4, first or last."""
        for array in self.inputs.values():
            shape = array.shape[-3:] if array.ndim in (4, 5) else ()
            if len(shape) == 3 and shape[2] in (1, 3, 4):
                return shape[1], shape[0]
            if len(shape) == 3 and shape[0] in (1, 3, 4):
                return shape[2], shape[1]
        return None

    def header(self) -> DatasetHeader:
        """Return the description that :func:`~edge_ai.engine.sniff.read_dataset_header` gives of the file."""
        arrays = tuple(
            ArraySpec(name=name, dtype=_dtype_name(array), shape=array.shape) for name, array in self.inputs.items()
        )
        return DatasetHeader(
            arrays=arrays,
            samples=self.samples,
            has_labels=self.labels is not None,
            content=self.content,
            task=None if self.task is None else self.task.task,
        )

    def matched(self, inputs: Sequence[Tensor]) -> Dataset:
        """Return the arrays that a model takes, under its names and in its types.

        Real numbers are quantized for an input of integers that stand for them.

        Raises
        ------
        UserInputError
            ``dataset_mismatch`` naming what is expected and what is given.
        """
        described = [item.to_json() for item in inputs]
        check_dataset({"inputs": described}, self.header())
        names = array_names(described, list(self.inputs))
        arrays: dict[str, Array] = {}
        for item in inputs:
            array = self.inputs[names[item.name]]
            arrays[item.name] = array.astype(str) if item.dtype == "string" else to_input(array, item)
        return replace(self, inputs=arrays)

    def subset(self, places: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Dataset:
        """Return the samples at ``places``, in that order."""
        rows = np.asarray(places, dtype=np.int64)
        return replace(
            self,
            inputs={name: array[rows] for name, array in self.inputs.items()},
            labels=None if self.labels is None else self.labels[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Division:
    """A data set divided for calibration and judgement; ``overlap`` tells that some samples serve both.

    The places say which samples of the data set they are.
    """

    calibration: Dataset
    judgement: Dataset
    overlap: bool
    calibration_places: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    judgement_places: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def load_dataset(path: Path) -> Dataset:
    """Read an ``.npz``, or a ``.zip`` of images or sounds. Pickled objects are never read.

    Raises
    ------
    UserInputError
        ``dataset_unreadable``, ``preprocess_invalid``, ``task_invalid``.
    """
    header = read_dataset_header(path)
    arrays: dict[str, Array] = {}
    task = None
    try:
        if header.content != ARRAYS:
            read = read_files(path)
            return Dataset(
                inputs={read.input: read.array},
                labels=read.labels,
                task=read.task,
                content=header.content,
                notes=read.notes,
            )
        with np.load(path, allow_pickle=False) as stored:
            for item in header.arrays:
                arrays[item.name] = stored[item.name]
            if header.task is not None:
                task = read_task(str(stored[TASK_FILE]))
    except ARCHIVE_DAMAGE as error:
        raise UserInputError(
            f"The data set is damaged: {error}.",
            code="dataset_unreadable",
            fix="Save it again: arrays with numpy.savez_compressed(path, input_name=array, labels=labels), files with zip.",
            field="dataset",
        ) from error
    labels = arrays.pop(LABELS, None)
    return Dataset(inputs=arrays, labels=labels, task=task)


def divide(dataset: Dataset, *, calibration_samples: int, judgement_samples: int, seed: int) -> Division:
    """Draw samples to calibrate with and, as far as there are enough, others to judge the outcome by.

    Parameters
    ----------
    calibration_samples, judgement_samples
        How many are wanted at most.
    seed
        Of the draw; the same seed gives the same samples.

    Notes
    -----
    A small set serves both ends whole: ranges measured on too few samples cost more than a somewhat kind judgement, and
    ``overlap`` says so.
    """
    order = np.random.default_rng(seed).permutation(dataset.samples)
    share = min(calibration_samples, dataset.samples // 2)
    overlap = share < min(calibration_samples, ENOUGH_SAMPLES)
    calibrate, rest = (order, order) if overlap else (order[:share], order[share:])
    calibrate, rest = calibrate[:calibration_samples], rest[:judgement_samples]
    return Division(
        calibration=dataset.subset(calibrate),
        judgement=dataset.subset(rest),
        overlap=overlap,
        calibration_places=calibrate,
        judgement_places=rest,
    )


def _dtype_name(array: Array) -> str:
    return {"U": "string", "S": "bytes"}.get(array.dtype.kind, array.dtype.name)
