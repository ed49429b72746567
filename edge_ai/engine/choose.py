"""Which of the variants that were tried is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.evaluate.gate import WARNING_DB
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.spec import Format, OptimizationLevel, Precision

DROP_STEP: Final = 0.005
"""Metrics closer than this are taken for equal when variants are ranked; the samples are too few to tell them apart."""

SAME_SPEED: Final = 1.03
"""Variants whose measured times differ by less are taken for equally fast."""

DB_PER_BIT: Final = 6.02
"""What one bit more is worth in dB, which makes closeness comparable with doublings of time and size."""

CLOSENESS_WEIGHT: Final = 0.25
MOST_CLOSENESS_DB: Final = 40.0
"""Beyond it, being closer is worth nothing more."""


def choose_best(
    trials: Sequence[Trial], level: OptimizationLevel, precision: Precision, target: Format = Format.ONNX
) -> Trial:
    """Return the best variant, which is not to say a good one.

    Parameters
    ----------
    level
        ``size``: the smallest; ``speed``: the fastest that was measured; ``balanced``: of those that need no word of
        warning, if there are any, the knee, which loses least in doublings of time and size against the best of each, a
        lack of closeness counting as well.

    Raises
    ------
    EngineError
        When there is none at all.
    """
    made = [trial for trial in trials if trial.parity is not None and trial.failure is None]
    if not made:
        failures = [trial.failure for trial in trials if trial.failure is not None]
        telling = next((error for error in failures if error.code == "nothing_to_quantize"), None)
        if (
            telling is None
            and len({error.code for error in failures}) == 1
            and failures[0].code != "unsupported_operator"
        ):
            telling = failures[0]
        if telling is not None:
            raise telling
        raise UnsupportedError(
            f"No way of making {precision} worked. {failures[0].message if failures else ''}".strip(),
            code="unsupported_operator",
            fix="Choose fp16." if precision is not Precision.FP16 else "Choose another target format.",
            details={
                "trials": [trial.to_json() for trial in trials],
                "nearest": {"target_format": target.value, "precision": Precision.FP16.value},
            },
        )
    fair = [trial for trial in made if trial.fault is None]
    if not fair:
        return max(made, key=rank)
    if level is OptimizationLevel.SIZE:
        return min(fair, key=lambda trial: (trial.size_bytes or 0, trial.latency_ratio or 0.0))
    measured = [trial for trial in fair if trial.latency_ratio is not None]
    if level is OptimizationLevel.SPEED and measured:
        quickest = min(trial.latency_ratio or 0.0 for trial in measured)
        return max((trial for trial in measured if (trial.latency_ratio or 0.0) <= quickest * SAME_SPEED), key=rank)
    close = [trial for trial in fair if _is_close(trial, precision)] or fair
    if len(measured) == len(fair):
        return min(close, key=lambda trial: _loss(trial, close))
    return max(fair, key=rank)


def rank(trial: Trial) -> tuple[int, float]:
    """Order variants by what they lose on the labels, in steps that can be told apart, then by their noise."""
    parity = trial.parity
    if parity is None or not parity.sound:
        return (-10_000, 0.0)
    drop = max(0.0, parity.metric.drop) if parity.metric else 0.0
    closeness = parity.sqnr_db if parity.sqnr_db is not None else 100.0 * (parity.agreement or 0.0)
    return (-round(drop / DROP_STEP), closeness)


def _loss(trial: Trial, fair: Sequence[Trial]) -> float:
    """Return how far a variant is from having the best of everything, in doublings."""
    parity = trial.parity
    closeness = MOST_CLOSENESS_DB if parity is None or parity.sqnr_db is None else parity.sqnr_db
    drop = max(0.0, parity.metric.drop) if parity is not None and parity.metric is not None else 0.0
    # As much as it is slower for certain: what cannot be told apart decides nothing.
    quickest = min(fair, key=lambda other: other.latency_ratio or 1.0)
    return (
        max(0.0, math.log2(_bounds(trial)[0] / _bounds(quickest)[1]))
        + math.log2((trial.size_bytes or 1) / min(other.size_bytes or 1 for other in fair))
        + CLOSENESS_WEIGHT * max(0.0, MOST_CLOSENESS_DB - closeness) / DB_PER_BIT
        + drop / DROP_STEP
    )


def _bounds(trial: Trial) -> tuple[float, float]:
    ratio = trial.latency_ratio or 1.0
    return trial.latency_ci95 or (ratio, ratio)


def _is_close(trial: Trial, precision: Precision) -> bool:
    db = None if trial.parity is None else trial.parity.sqnr_db
    return db is None or db >= WARNING_DB.get(precision, 0.0)
