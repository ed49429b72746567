"""How far the answers of two models lie apart, output by output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_SQNR_DB: Final = 200.0
"""Of outputs that are equal to the last bit, for which the ratio is infinite: float32 cannot show more than about 150."""

LEAST_PROBABILITY: Final = 1e-7
"""Where the logarithm of a probability is cut off: below it, float32 softmax says nothing about the score."""


@dataclass(frozen=True, kw_only=True)
class OutputParity:
    """One output of the variant against the same output of its source, over all samples.

    Parameters
    ----------
    sqnr_db
        Signal to quantization noise, 10·log10(Σx² / Σ(x−y)²), between -200 and 200 dB; ``None`` for an output that is not a
        float.
    cosine
        Of the angle between all the numbers of x and of y.
    max_abs_error
        The largest |x−y|.
    agreement
        The share of equal elements, for an output of whole numbers; ``None`` for floats.
    top1_agreement
        How often the largest of the scores is in the same place, where they look like those of classes.
    logits_sqnr_db
        On the scores before a Softmax, recovered as centred logarithms; ``None`` where there is none.
    """

    name: str
    sqnr_db: float | None
    cosine: float | None
    max_abs_error: float | None
    agreement: float | None = None
    top1_agreement: float | None = None
    logits_sqnr_db: float | None = None
    finite: bool = True
    same_shape: bool = True


def compare_output(
    name: str, pairs: Sequence[tuple[Array, Array]], *, classes: bool = False, softmax_axis: int | None = None
) -> OutputParity:
    """Compare one output over all samples.

    Parameters
    ----------
    pairs
        What the source and the variant answered, sample by sample.
    classes
        The last axis holds the scores of classes.
    softmax_axis
        The axis over which the output's values add up to 1.
    """
    if any(x.shape != y.shape for x, y in pairs):
        return OutputParity(name=name, sqnr_db=None, cosine=None, max_abs_error=None, same_shape=False)
    if pairs[0][0].dtype.kind != "f":
        size = sum(x.size for x, _ in pairs)
        equal = sum(int(np.count_nonzero(x == y)) for x, y in pairs)
        share = equal / size if size else 1.0
        return OutputParity(name=name, sqnr_db=None, cosine=None, max_abs_error=None, agreement=share)
    sums = _Sums()
    logits = _Sums()
    finite = True
    rows = alike = 0
    for x, y in pairs:
        usable = np.isfinite(x)
        finite = finite and bool(np.isfinite(y[usable]).all())
        sums.add(np.where(usable, x, 0.0), np.where(usable & np.isfinite(y), y, 0.0))
        if softmax_axis is not None and -x.ndim <= softmax_axis < x.ndim:
            logits.add(_centred_logits(x, softmax_axis), _centred_logits(y, softmax_axis))
        if classes and x.ndim > 0 and x.shape[-1] > 1:
            rows += x.size // x.shape[-1]
            alike += int(np.count_nonzero(x.argmax(axis=-1) == y.argmax(axis=-1)))
    return OutputParity(
        name=name,
        sqnr_db=sums.sqnr_db(),
        cosine=sums.cosine(),
        max_abs_error=sums.max_abs_error,
        top1_agreement=alike / rows if rows else None,
        logits_sqnr_db=logits.sqnr_db() if logits.size else None,
        finite=finite,
    )


@dataclass(kw_only=True)
class _Sums:
    """What the figures are made of, added up in float64 so that no output has to be kept."""

    size: int = 0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    noise: float = 0.0
    max_abs_error: float = 0.0

    def add(self, x: Array, y: Array) -> None:
        """Add one pair of arrays of the same shape."""
        a, b = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
        if not a.size:
            return
        error = a - b
        self.size += a.size
        self.xx += float(a @ a)
        self.yy += float(b @ b)
        self.xy += float(a @ b)
        self.noise += float(error @ error)
        self.max_abs_error = max(self.max_abs_error, float(np.abs(error).max()))

    def sqnr_db(self) -> float:
        """Signal to noise in dB, within ±200."""
        if self.noise == 0.0:
            return MAX_SQNR_DB
        if self.xx == 0.0:
            return -MAX_SQNR_DB
        return max(-MAX_SQNR_DB, min(MAX_SQNR_DB, 10.0 * math.log10(self.xx / self.noise)))

    def cosine(self) -> float:
        """Cosine of the angle; 1 for two zeros, 0 for one."""
        if self.xx == 0.0 or self.yy == 0.0:
            return 1.0 if self.xx == self.yy else 0.0
        return max(-1.0, min(1.0, self.xy / (math.sqrt(self.xx) * math.sqrt(self.yy))))


def _centred_logits(probabilities: Array, axis: int) -> Array:
    """Recover the scores before a Softmax, up to the constant that it cancels."""
    logs = np.log(np.maximum(np.nan_to_num(probabilities.astype(np.float64)), LEAST_PROBABILITY))
    centred: Array = logs - logs.mean(axis=axis, keepdims=True)
    return centred
