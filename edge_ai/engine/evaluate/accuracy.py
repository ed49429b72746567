"""Task accuracy of classifiers: top-1 and top-5 against labels, with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.metrics.intervals import wilson_interval as wilson_interval

_MIN_CLASSES_FOR_TOP5: Final = 10

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How often a classifier was right.

    ``top1`` and ``top5`` are fractions of the ``samples``; the intervals are 95 % Wilson intervals. ``top5`` is None
    for fewer than ten classes, where it says little, and for a model that answers the class itself. ``correct`` says for
    each sample whether its first class was the right one.
    """

    samples: int
    classes: int | None
    top1: float
    top1_ci95: tuple[float, float]
    top5: float | None = None
    top5_ci95: tuple[float, float] | None = None
    correct: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_), repr=False, compare=False)

    def metrics(self) -> dict[str, float]:
        """Return metric by name, as the API shows it under ``accuracy``."""
        return {"top1": self.top1} | ({} if self.top5 is None else {"top5": self.top5})

    def intervals(self) -> dict[str, list[float]]:
        """Return the interval of each metric, as the API shows it under ``accuracy_ci95``."""
        found = {"top1": list(self.top1_ci95)}
        if self.top5_ci95 is not None:
            found["top5"] = list(self.top5_ci95)
        return found


def evaluate_classification(outputs: npt.NDArray[Any], labels: Labels) -> Accuracy:
    """Measure top-1 and top-5 accuracy.

    Parameters
    ----------
    outputs
        Scores of shape (n, ..., classes) whose middle dimensions are all 1: logits, probabilities or quantized scores,
        a larger one meaning a likelier class. Or the classes themselves, integers of shape (n,).
    labels
        The right classes, integers of shape (n,), n at least 1.

    Returns
    -------
    Accuracy
        Equal scores are ranked by class number, as argmax does. A row with a NaN in it is wrong.

    Raises
    ------
    ValueError
        When the shapes do not belong together.
    """
    count = len(labels)
    if count == 0 or labels.ndim != 1 or len(outputs) != count:
        raise ValueError(f"outputs of shape {outputs.shape} do not belong to labels of shape {labels.shape}")
    if outputs.ndim == 1:
        hits = np.asarray(outputs == labels, dtype=np.bool_)
        right = int(np.count_nonzero(hits))
        return Accuracy(
            samples=count, classes=None, top1=right / count, top1_ci95=wilson_interval(right, count), correct=hits
        )
    classes = outputs.shape[-1]
    if outputs.size != count * classes:
        raise ValueError(f"outputs of shape {outputs.shape} are not one row of scores a sample")
    ranks = _label_ranks(outputs.reshape(count, classes), labels)
    right, near = int(np.count_nonzero(ranks < 1)), int(np.count_nonzero(ranks < 5))
    with_top5 = classes >= _MIN_CLASSES_FOR_TOP5
    return Accuracy(
        samples=count,
        classes=classes,
        top1=right / count,
        top1_ci95=wilson_interval(right, count),
        top5=near / count if with_top5 else None,
        top5_ci95=wilson_interval(near, count) if with_top5 else None,
        correct=ranks < 1,
    )


def class_labels(labels: npt.NDArray[Any] | None) -> Labels | None:
    """Return labels as integers of shape (n,) when that is what they are, and None when they are something else."""
    if labels is None or labels.size == 0 or labels.size != len(labels):
        return None
    if not np.issubdtype(labels.dtype, np.integer) or int(labels.min()) < 0:
        return None
    return labels.reshape(-1).astype(np.int64)


def classifying_output(outputs: Sequence[object], *, samples: int, highest_label: int) -> int | None:
    """Say which of a model's outputs looks like classes.

    That is the numeric one with one row a sample, a last dimension of more than one with room for every label and
    nothing but ones in between; of several the one with the fewest classes, since the others are features. Failing
    that the first one with an integer a sample: scikit-learn's exporters answer the class beside a list of maps.

    Parameters
    ----------
    outputs
        What the model answered for one feed.
    samples
        How many samples that feed had.
    highest_label
        The largest label of the whole dataset.

    Returns
    -------
    int or None
        The place of the output; None when none fits.
    """
    arrays = [(index, value) for index, value in enumerate(outputs) if isinstance(value, np.ndarray)]
    scores = [
        (value.shape[-1], index)
        for index, value in arrays
        if np.issubdtype(value.dtype, np.integer) or np.issubdtype(value.dtype, np.floating)
        if value.ndim >= 2 and len(value) == samples and value.size == samples * value.shape[-1]
        if value.shape[-1] > max(1, highest_label)
    ]
    if scores:
        return min(scores)[1]
    for index, value in arrays:
        if np.issubdtype(value.dtype, np.integer) and value.shape in ((samples,), (samples, 1)):
            return index
    return None


def _label_ranks(scores: npt.NDArray[Any], labels: Labels) -> npt.NDArray[np.int64]:
    """Return for each row how many classes are ranked before the right one; past the last class when it is broken."""
    rows, classes = scores.shape
    inside = (labels >= 0) & (labels < classes)
    places = np.where(inside, labels, 0)
    own = scores[np.arange(rows), places][:, np.newaxis]
    before = np.arange(classes)[np.newaxis, :] < places[:, np.newaxis]
    ranks = np.count_nonzero((scores > own) | ((scores == own) & before), axis=1)
    broken = ~inside | np.isnan(scores.astype(np.float64)).any(axis=1)
    return np.asarray(np.where(broken, classes + 5, ranks), dtype=np.int64)
