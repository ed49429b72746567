"""Task accuracy of classifiers: top-1 and top-5 against labels, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_Z_95: Final = 1.959963984540054
_MIN_CLASSES_FOR_TOP5: Final = 10

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How often a classifier was right.

    ``top1`` and ``top5`` are fractions of the ``samples``; the intervals are 95 % Wilson intervals. ``top5`` is None
    for fewer than ten classes, where it says little, and for a model that answers the class itself.
    """

    samples: int
    classes: int | None
    top1: float
    top1_ci95: tuple[float, float]
    top5: float | None = None
    top5_ci95: tuple[float, float] | None = None

    def metrics(self) -> dict[str, float]:
        """Return metric by name, as the API shows it under ``accuracy``."""
        return {"top1": self.top1} | ({} if self.top5 is None else {"top5": self.top5})

    def intervals(self) -> dict[str, list[float]]:
        """Return the interval of each metric, as the API shows it under ``accuracy_ci95``."""
        found = {"top1": list(self.top1_ci95)}
        if self.top5_ci95 is not None:
            found["top5"] = list(self.top5_ci95)
        return found


def wilson_interval(right: int, samples: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion.

    Unlike the normal approximation it stays within [0, 1] and keeps its width when everything was right.

    Parameters
    ----------
    right
        How many of the samples were right, 0 to ``samples``.
    samples
        At least 1.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    z2 = _Z_95 * _Z_95
    share = right / samples
    centre = (share + z2 / (2 * samples)) / (1 + z2 / samples)
    half = _Z_95 / (1 + z2 / samples) * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples * samples))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


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
        right = int(np.count_nonzero(outputs == labels))
        return Accuracy(samples=count, classes=None, top1=right / count, top1_ci95=wilson_interval(right, count))
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
    )


def classifying_output(outputs: Sequence[object], labels: Labels) -> int | None:
    """Say which of a model's outputs looks like classes, given the outputs for the samples of these labels.

    That is the first numeric one with one row a sample, a last dimension of more than one with room for every label,
    and nothing but ones in between; failing that the first one with an integer a sample (scikit-learn's exporters
    answer the class beside a list of maps). None when no output fits.
    """
    count = len(labels)
    arrays = [(index, value) for index, value in enumerate(outputs) if isinstance(value, np.ndarray)]
    for index, value in arrays:
        numeric = np.issubdtype(value.dtype, np.number) and not np.issubdtype(value.dtype, np.complexfloating)
        if numeric and value.ndim >= 2 and len(value) == count and value.size == count * value.shape[-1]:
            classes = value.shape[-1]
            if classes > 1 and int(labels.max()) < classes and int(labels.min()) >= 0:
                return index
    for index, value in arrays:
        if np.issubdtype(value.dtype, np.integer) and value.shape in ((count,), (count, 1)):
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
    return np.where(broken, classes + 5, ranks).astype(np.int64)
