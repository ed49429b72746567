"""The time of operators on a machine from its peaks: max(work / peak, bytes / bandwidth) + dispatch. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_ai.engine.estimate.coefficients import Coefficients
from edge_ai.engine.estimate.work import INTEGER, OperatorWork


class Bound(StrEnum):
    """What takes most of an operator's time."""

    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"
    DISPATCH = "dispatch"


@dataclass(frozen=True, kw_only=True)
class Roof:
    """A machine with so many threads at work.

    Parameters
    ----------
    flops_per_us, int8_ops_per_us
        What one thread can do at most; ``None``: nobody published it.
    bytes_per_us
        What the memory gives to all threads together.
    threads
        How many share an operator's work.
    slowness
        What dispatch costs in proportion to the machine that it was measured on.
    """

    flops_per_us: float
    int8_ops_per_us: float | None
    bytes_per_us: float
    threads: int = 1
    slowness: float = 1.0


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """How long one call of an operator takes, in microseconds: by computing, by moving bytes, and by being called."""

    compute_us: float
    bandwidth_us: float
    dispatch_us: float

    @property
    def total_us(self) -> float:
        """All of it: computing and moving go on at once."""
        return max(self.compute_us, self.bandwidth_us) + self.dispatch_us

    @property
    def bound(self) -> Bound:
        """What takes the most."""
        if self.dispatch_us >= max(self.compute_us, self.bandwidth_us):
            return Bound.DISPATCH
        return Bound.COMPUTE if self.compute_us >= self.bandwidth_us else Bound.BANDWIDTH


def time_of(work: OperatorWork, roof: Roof, coefficients: Coefficients) -> OperatorTime:
    """Return the time of one call.

    Raises
    ------
    ValueError
        The operator computes in int8, and the roof does not say how fast that is.
    """
    fitted = coefficients.of(work.operator_class)
    peak: float | None = roof.flops_per_us
    if work.operator_class in INTEGER:
        peak = roof.int8_ops_per_us
    if peak is None:
        raise ValueError(f"no int8 peak for {work.type}")
    compute = bandwidth = 0.0
    if fitted.compute_efficiency is not None:
        shared = (1 - coefficients.parallel) + coefficients.parallel / roof.threads
        compute = work.flops / (peak * fitted.compute_efficiency * work.fill) * shared
    if fitted.bandwidth_factor is not None:
        bandwidth = work.size_bytes / (roof.bytes_per_us * fitted.bandwidth_factor)
    return OperatorTime(compute_us=compute, bandwidth_us=bandwidth, dispatch_us=fitted.dispatch_us * roof.slowness)


def run_us(works: Sequence[OperatorWork], roof: Roof, coefficients: Coefficients) -> float:
    """Return the time of a whole inference in microseconds."""
    operators = sum(work.calls * time_of(work, roof, coefficients).total_us for work in works)
    return operators + overhead_us(works, roof, coefficients)


def overhead_us(works: Sequence[OperatorWork], roof: Roof, coefficients: Coefficients) -> float:
    """Return what an inference costs besides its operators, in microseconds."""
    calls = sum(work.calls for work in works)
    return (coefficients.run_us + coefficients.call_us * calls) * roof.slowness
