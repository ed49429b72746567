"""Ways of making a variant that are tried side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import EngineError
from edge_ai.engine.evaluate.parity import Parity

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
    """One way that is tried.

    Parameters
    ----------
    path
        Where ``make`` writes the variant, a file or a folder.
    settings
        What the way does, for the trial table and the recipe.
    seconds
        How long making it took.
    size_bytes
        Of the variant as it will be stored, or of what ``make`` wrote.
    latency_ratio
        Measured time of one inference in proportion to the original's; ``None`` where it was not measured.
    latency_ci95
        The 95 % interval of that: low and high.
    failure
        Why it could not be made or run.
    fault
        Why it is not good enough.
    """

    name: str
    path: Path
    settings: Mapping[str, object]
    make: Callable[[Path], object]
    seconds: float = 0.0
    size_bytes: int | None = None
    parity: Parity | None = None
    latency_ratio: float | None = None
    latency_ci95: tuple[float, float] | None = None
    failure: EngineError | None = None
    fault: str | None = None

    @property
    def fair(self) -> bool:
        """It was made, and is close enough to the original."""
        return self.parity is not None and self.failure is None and self.fault is None

    def to_json(self) -> dict[str, Any]:
        """Return what the result says of it."""
        parity = self.parity
        metric = parity.metric if parity else None
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 3),
            "size_bytes": self.size_bytes,
            "sqnr_db": parity.to_json()["sqnr_db"] if parity else None,
            "top1_agreement": parity.to_json()["top1_agreement"] if parity else None,
            "metric_drop": None if metric is None else round(metric.drop, 4),
            "latency_ratio": None if self.latency_ratio is None else round(self.latency_ratio, 4),
            "refused_because": self.failure.message if self.failure else self.fault,
        }


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
