"""Telling made-up samples from real ones: noise has no neighbours that are alike, and its values follow a formula."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FEWEST_VALUES: Final = 2000
MOST_VALUES: Final = 1 << 18
FEWEST_NEIGHBOURS: Final = 8
ALIKE: Final = 0.05
"""Correlation of neighbours below which there is none; images and sounds have 0.5 and more."""

CLOSE: Final = 0.02
"""Largest distance of two distribution functions (Kolmogorov-Smirnov) that counts as the same."""

_erf = np.vectorize(math.erf, otypes=[np.float64])


def looks_made_up(array: npt.NDArray[Any]) -> str | None:
    """Say why samples look made up, or return ``None``.

    Parameters
    ----------
    array
        Of shape (n, ...). Only real numbers with at least eight along an axis of a sample are judged: neighbours in a table
        of features need not be alike.
    """
    if array.dtype.kind != "f" or array.size < FEWEST_VALUES:
        return None
    low, high = float(array.min()), float(array.max())
    if low == high:
        return f"every value is {low:.4g}"
    long = [axis for axis in range(1, array.ndim) if array.shape[axis] >= FEWEST_NEIGHBOURS]
    if not long:
        return None
    part = array[: max(1, MOST_VALUES * len(array) // array.size)].astype(np.float64)
    if any(abs(neighbours(part, axis)) > ALIKE for axis in long):
        return None
    values = np.sort(part.reshape(-1))
    if distance(values, (values - low) / (high - low)) < CLOSE:
        return f"they are noise, even from {low:.3g} to {high:.3g}"
    mean, std = float(values.mean()), float(values.std())
    if std > 0 and distance(values, (1 + _erf((values - mean) / (std * math.sqrt(2)))) / 2) < CLOSE:
        return f"they are noise, normal around {mean:.3g}"
    return None


def neighbours(array: npt.NDArray[np.float64], axis: int) -> float:
    """Return the correlation of values with the next one along an axis."""
    left = np.take(array, range(array.shape[axis] - 1), axis=axis).reshape(-1)
    right = np.take(array, range(1, array.shape[axis]), axis=axis).reshape(-1)
    left, right = left - left.mean(), right - right.mean()
    size = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / size if size else 1.0


def distance(values: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    """Return the largest difference of the distribution of sorted values from the expected one at each of them."""
    steps = np.arange(1, len(values) + 1) / len(values)
    return float(np.abs(steps - expected).max())
