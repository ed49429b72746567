"""What an original answered, and how close a variant is, as files and plain values that give the same objects back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.evaluate.accuracy import Labels
from edge_ai.engine.evaluate.distance import OutputParity
from edge_ai.engine.evaluate.parity import MetricChange, Parity, Reference
from edge_ai.engine.evaluate.significance import PairedChange
from edge_ai.engine.runtime.base import Feed, Tensor

ANSWERS: Final = "answers.npz"


def tensors_to_json(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return inputs or outputs as plain values."""
    return [
        {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": None if tensor.shape is None else list(tensor.shape),
            "scale": None if tensor.scale is None else float(tensor.scale),
            "zero_point": None if tensor.zero_point is None else int(tensor.zero_point),
        }
        for tensor in tensors
    ]


def tensors_from_json(values: Iterable[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    """Return the inputs or outputs again."""
    return tuple(
        Tensor(**(dict(value) | {"shape": None if value["shape"] is None else tuple(value["shape"])}))
        for value in values
    )


def parity_to_json(parity: Parity) -> dict[str, Any]:
    """Return all that a comparison found as plain values, nothing rounded."""
    return {
        "outputs": [asdict(output) for output in parity.outputs],
        "samples": parity.samples,
        "data": parity.data,
        "metric": None if parity.metric is None else asdict(parity.metric),
        "notes": list(parity.notes),
        "informative": parity.informative,
    }


def parity_from_json(value: Mapping[str, Any]) -> Parity:
    """Return what a comparison found again."""
    metric = value["metric"]
    return Parity(
        outputs=tuple(OutputParity(**output) for output in value["outputs"]),
        samples=value["samples"],
        data=value["data"],
        metric=None if metric is None else _metric_from_json(metric),
        notes=tuple(value["notes"]),
        informative=value["informative"],
    )


def _metric_from_json(value: Mapping[str, Any]) -> MetricChange:
    change = value["change"]
    paired = None if change is None else PairedChange(**{**change, "ci95": tuple(change["ci95"])})
    return MetricChange(**{**value, "change": paired})


def save_reference(reference: Reference, path: Path) -> dict[str, Any] | None:
    """Write the answers of an original to ``path``, and return the rest as plain values.

    Neither the feeds nor the labels are among them: they follow from the data set.

    Returns
    -------
    dict or None
        ``None`` where the answers are no arrays of numbers, or differ in shape from sample to sample: nothing is written.
    """
    columns = list(zip(*reference.answers, strict=True))
    if not columns or not all(_alike(column) for column in columns):
        return None
    np.savez(path, *(np.stack(column) for column in columns))
    return {
        "inputs": tensors_to_json(reference.inputs),
        "outputs": tensors_to_json(reference.outputs),
        "class_outputs": sorted(reference.class_outputs),
        "softmax_outputs": dict(reference.softmax_outputs),
        "data": reference.data,
        "batch": reference.batch,
        "notes": list(reference.notes),
    }


def load_reference(value: Mapping[str, Any], path: Path, feeds: Iterable[Feed], labels: Labels | None) -> Reference:
    """Return the answers of an original again.

    Parameters
    ----------
    feeds
        What it was fed, in the same order; as many are drawn as there are answers.
    labels
        One a sample.
    """
    with np.load(path, allow_pickle=False) as held:
        columns = [held[f"arr_{place}"] for place in range(len(value["outputs"]))]
    count = len(columns[0])
    batch = int(value["batch"])
    return Reference(
        inputs=tensors_from_json(value["inputs"]),
        outputs=tensors_from_json(value["outputs"]),
        class_outputs=frozenset(value["class_outputs"]),
        softmax_outputs=dict(value["softmax_outputs"]),
        data=value["data"],
        batch=batch,
        labels=None if labels is None else labels[: count * batch],
        feeds=list(islice(feeds, count)),
        # With the ellipsis, what has no axes stays an array.
        answers=[[column[place, ...] for column in columns] for place in range(count)],
        notes=tuple(value["notes"]),
    )


def _alike(column: tuple[Any, ...]) -> bool:
    """Whether the answers of one output can be stacked and taken apart without a difference."""
    return all(
        isinstance(answer, np.ndarray)
        and answer.dtype.kind in "fiub"
        and answer.flags.c_contiguous
        and (answer.dtype, answer.shape) == (column[0].dtype, column[0].shape)
        for answer in column
    )
