"""Ways of quantizing that are tried side by side, and the choice among what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.evaluate.parity import Parity
from edge_ai.engine.spec import Format, OptimizationLevel, Precision

DROP_STEP: Final = 0.005
"""Metrics closer than this are taken for equal when variants are ranked; the samples are too few to tell them apart."""

# The quantizers raise whatever they like at a graph they cannot take; one way that fails is no reason to give up others.
QUANTIZER_FAILURES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(kw_only=True)
class Trial:
    """One way that is tried."""

    name: str
    path: Path
    settings: Mapping[str, object]
    make: Callable[[Path], object]
    seconds: float = 0.0
    parity: Parity | None = None
    failure: EngineError | None = None
    fault: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the result says of it."""
        parity = self.parity
        metric = parity.metric if parity else None
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 3),
            "size_bytes": self.path.stat().st_size if self.path.exists() else None,
            "sqnr_db": parity.to_json()["sqnr_db"] if parity else None,
            "top1_agreement": parity.to_json()["top1_agreement"] if parity else None,
            "metric_drop": None if metric is None else round(metric.drop, 4),
            "refused_because": self.failure.message if self.failure else self.fault,
        }


def choose_best(trials: Sequence[Trial], level: OptimizationLevel, precision: Precision) -> Trial:
    """Return the best variant, which is not to say a good one.

    Raises
    ------
    EngineError
        When there is none at all.
    """
    made = [trial for trial in trials if trial.parity is not None]
    if not made:
        failures = [trial.failure for trial in trials if trial.failure is not None]
        nothing = next((error for error in failures if error.code == "nothing_to_quantize"), None)
        if nothing is not None:
            raise nothing
        raise UnsupportedError(
            f"No way of making {precision} worked. {failures[0].message if failures else ''}".strip(),
            code="unsupported_operator",
            fix="Choose fp16.",
            details={
                "trials": [trial.to_json() for trial in trials],
                "nearest": {"target_format": Format.ONNX.value, "precision": Precision.FP16.value},
            },
        )
    fair = [trial for trial in made if trial.fault is None]
    if fair and level is OptimizationLevel.SIZE:
        return min(fair, key=lambda trial: trial.path.stat().st_size)
    return max(fair or made, key=rank)


def rank(trial: Trial) -> tuple[int, float]:
    """Order variants by what they lose on the labels, in steps that can be told apart, then by their noise."""
    parity = trial.parity
    if parity is None or not parity.sound:
        return (-10_000, 0.0)
    drop = max(0.0, parity.metric.drop) if parity.metric else 0.0
    closeness = parity.sqnr_db if parity.sqnr_db is not None else 100.0 * (parity.agreement or 0.0)
    return (-round(drop / DROP_STEP), closeness)


def in_words(parity: Parity) -> str:
    """Say in a line how close a variant is."""
    metric = parity.metric
    parts = [] if parity.sqnr_db is None else [f"{parity.sqnr_db:.1f} dB on {parity.samples} samples"]
    if metric is not None:
        parts.append(f"{metric.name} {metric.reference:.4f} → {metric.variant:.4f}")
    return ", ".join(parts) or "compared"


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says."""
    return (str(error).strip().splitlines() or [""])[0][:200]
