"""Clustering of numbers on a line: exact Lloyd iterations on sorted values. NumPy only."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]

MAX_ITERATIONS: Final = 300
ENOUGH: Final = 1e-6
"""Iterations end when the error falls by less than this share."""

_MOST_SPANS: Final = 1 << 14
_VALUES_IN_A_SPAN: Final = 8
_MOST_POINTS: Final = 1 << 24


def palette_of(values: Array, size: int) -> Array:
    """Return up to ``size`` numbers by which ``values`` can be replaced with a small squared error.

    Nothing is drawn at random: the same values give the same palette. The values are sorted once; after that an iteration
    costs a binary search for each cluster, however many values there are. It starts twice, from equal steps and from a
    density that follows the cube root of the values' own (which is optimal for many clusters), and keeps the better end. So
    the error is never above that of equal steps.

    Parameters
    ----------
    values
        Finite floats of any shape.
    size
        At least 16.

    Returns
    -------
    array
        Rising, without repetition, of the type of ``values``. It is lossless where there are no more distinct values than
        ``size``. Zero is in it where zeros are at least one in ``size`` of the values, so that pruned weights stay zero; other
        entries are normal numbers, since processors are slow with smaller ones.
    """
    flat = np.sort(values, axis=None)
    distinct = _few_distinct(flat, size)
    if distinct is not None:
        return distinct
    zeros = int(np.searchsorted(flat, 0, side="right") - np.searchsorted(flat, 0, side="left"))
    keep_zero = zeros * size >= flat.size
    if keep_zero:
        flat = flat[flat != 0]
        size -= 1
    # Of very many values, evenly spaced ranks say enough.
    points = flat[:: -(-flat.size // _MOST_POINTS)].astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(points)])
    starts = (np.linspace(points[0], points[-1], size), _by_density(points, size))
    ends = [_lloyd(points, sums, start) for start in starts]
    best = min(ends, key=lambda end: end[1])[0]
    palette = best.astype(values.dtype)
    # fp16 is widened, so that its smallest numbers are normal ones where they are computed with.
    palette[np.abs(palette) < (0 if values.dtype == np.float16 else np.finfo(values.dtype).tiny)] = 0
    if keep_zero:
        palette = np.append(palette, values.dtype.type(0))
    return np.unique(palette)


def nearest(values: Array, palette: Array) -> npt.NDArray[np.uint8]:
    """Return for each value the place of the nearest number of a rising palette of at most 256, in the shape of ``values``."""
    wide = palette.astype(np.float64)
    middles = ((wide[1:] + wide[:-1]) / 2).astype(values.dtype)
    return np.searchsorted(middles, values.ravel(), side="left").astype(np.uint8).reshape(values.shape)


def _few_distinct(rising: Array, size: int) -> Array | None:
    """Return the distinct values if there are no more than ``size``; -0 counts as 0."""
    steps = np.flatnonzero(rising[1:] != rising[:-1])
    if steps.size >= size:
        return None
    found: Array = np.concatenate([rising[:1], rising[1:][steps]]) + rising.dtype.type(0)
    return found


def _by_density(rising: Reals, size: int) -> Reals:
    """Place clusters as densely as the cube root of the values' density asks for.

    Between ranks that lie equally far apart, the density is the inverse of the distance d between the values; so the share of
    clusters that belongs there is d·d^(-1/3).
    """
    spans = max(1, min(_MOST_SPANS, rising.size // _VALUES_IN_A_SPAN))
    edges = rising[np.linspace(0, rising.size - 1, spans + 1).astype(np.int64)]
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(np.diff(edges)) ** 2)])
    wanted = (np.arange(size) + 0.5) / size * share[-1]
    placed: Reals = np.interp(wanted, share, edges)
    return placed


def _lloyd(rising: Reals, sums: Reals, centres: Reals) -> tuple[Reals, float]:
    """Move centres to the means of what is nearest to them until that stops helping; returns them and a measure of error.

    The squared error is Σx² − Σ n·c² for centres c that are means of n values: Σx² is the same for all, and is left out.
    """
    error = np.inf
    energy = float(rising @ rising)
    for _ in range(MAX_ITERATIONS):
        cuts = np.searchsorted(rising, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], cuts, [rising.size]])
        counts = np.diff(bounds)
        totals = sums[bounds[1:]] - sums[bounds[:-1]]
        # An empty cluster stays where it is.
        centres = np.where(counts > 0, totals / np.maximum(counts, 1), centres)
        gained = float(np.sum(counts * centres**2))
        now = max(0.0, energy - gained)
        if not now < error * (1 - ENOUGH):
            break
        error = now
    return centres, error
