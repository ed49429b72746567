"""An estimate: a type of its own, which no measurement can be taken for. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

NOT_MEASURED: Final = "estimated from published numbers: nothing ran on the device"
#: What a measurement tells and an estimate does not.
UNKNOWN: Final[Mapping[str, str]] = {
    "throughput_per_s": "how inferences share the device's processors is not estimated",
    "load_ms": "loading depends on the device's storage, which its profile does not tell",
    "cpu_percent": NOT_MEASURED,
    "energy_mj": "the power that the device draws is not estimated",
    "accuracy": "judged where a model runs: benchmark it on “This machine”",
    "noise": "there are no samples that could be noisy",
    "comparison": "measured and estimated numbers are not compared",
}
_PERCENTILES: Final = ("mean", "std", "min", "p90", "p95", "p99", "max", "ci95", "samples")


@dataclass(frozen=True, kw_only=True)
class Banded:
    """A number with its error band."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """Something that the estimate rests on, and where that is from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, kw_only=True)
class OperatorEstimate:
    """One operator: what it does in one inference, and how long that is estimated to take.

    Parameters
    ----------
    bound
        What takes the most: ``compute``, ``bandwidth`` or ``dispatch``.
    """

    name: str
    type: str
    count: float
    flops: float
    size_bytes: float
    bound: str
    total_ms: float
    share: float


@dataclass(frozen=True, kw_only=True)
class MemoryFit:
    """Whether a model fits in a device's memory.

    Parameters
    ----------
    needed_mb
        10^6 bytes for the model in ONNX Runtime, without the runtime and the system; ``None`` where shapes do not tell.
    verdict
        ``fits``, ``tight`` (the band straddles what there is), ``does_not_fit``, or ``unknown``.
    """

    needed_mb: Banded | None
    available_mb: float | None
    verdict: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an inference takes on a device that is not here."""

    kind: ClassVar[str] = "estimated"
    latency_ms: Banded
    level: float
    operators: tuple[OperatorEstimate, ...]
    overhead_ms: float
    memory: MemoryFit
    environment: Mapping[str, Any]
    assumptions: tuple[Assumption, ...]
    rests_on: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the benchmark result of the API, kind "estimated": what was not measured is null, with the reason."""
        latency = self.latency_ms
        needed = self.memory.needed_mb
        return {
            "kind": self.kind,
            "latency_ms": {"p50": latency.value, "low": latency.low, "high": latency.high, "level": self.level}
            | dict.fromkeys(_PERCENTILES),
            **dict.fromkeys(UNKNOWN),
            "not_measured": dict(UNKNOWN) | dict.fromkeys(("percentiles", "samples"), NOT_MEASURED),
            "memory_mb": {
                "baseline": None,
                "loaded": None,
                "peak": None if needed is None else needed.value,
                "low": None if needed is None else needed.low,
                "high": None if needed is None else needed.high,
            },
            "memory_fit": {
                "verdict": self.memory.verdict,
                "available_mb": self.memory.available_mb,
                "detail": self.memory.detail,
            },
            "operators": [asdict(operator) for operator in self.operators],
            "overhead_ms": self.overhead_ms,
            "environment": dict(self.environment),
            "assumptions": [asdict(item) for item in self.assumptions],
            "rests_on": dict(self.rests_on),
        }
