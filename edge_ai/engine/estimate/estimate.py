"""From operators and a machine's published numbers to an estimate. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_ai.engine.estimate.coefficients import Fit
from edge_ai.engine.estimate.machine import INT8_PEAK, NEEDED, Machine, check_estimable, lacks_int8_peak
from edge_ai.engine.estimate.result import Assumption, Banded, Estimate, MemoryFit, OperatorEstimate
from edge_ai.engine.estimate.roofline import Roof, overhead_us, time_of
from edge_ai.engine.estimate.work import INTEGER, OperatorWork
from edge_ai.engine.spec import Format

MAX_OPERATORS: Final = 400
_MIB: Final = 1 << 20
_NO_SOURCE: Final = "the device's profile, which names no source"
_UNITS: Final = {"peak_gflops_fp32": "GFLOPS", "memory_bandwidth_gb_s": "GB/s", INT8_PEAK: "TOPS"}
_TITLES: Final = {
    "peak_gflops_fp32": "Peak in fp32, all cores",
    "memory_bandwidth_gb_s": "Memory bandwidth",
    INT8_PEAK: "Peak in int8, all cores",
}


def estimate(
    works: Sequence[OperatorWork],
    machine: Machine,
    fit: Fit,
    *,
    threads: int | None = None,
    batch_size: int = 1,
    held_bytes: int | None = None,
    format: Format = Format.ONNX,
) -> Estimate:
    """Estimate the time of one inference, and whether the model fits in memory.

    Parameters
    ----------
    works
        The operators, as the runtime made them of the model.
    threads
        How many work on an operator; ``None``: one on each core.
    held_bytes
        Weights and most activations at a time; ``None`` where that is only known when the model runs.

    Raises
    ------
    UnsupportedError
        ``device_not_here`` where the machine's numbers do not carry an estimate.
    """
    check_estimable(format, machine)
    if machine.peak_tops_int8 is None and any(work.operator_class in INTEGER for work in works):
        raise lacks_int8_peak(machine)
    cores = machine.cpu_cores or 1
    used = min(threads or cores, cores)
    roof = roof_of(machine, fit, threads=used)
    times = [time_of(work, roof, fit.coefficients) for work in works]
    overhead = overhead_us(works, roof, fit.coefficients)
    total = sum(work.calls * each.total_us for work, each in zip(works, times, strict=True)) + overhead
    rows = [
        OperatorEstimate(
            name=work.name,
            type=work.type,
            count=work.calls,
            flops=work.flops * work.calls,
            size_bytes=work.size_bytes * work.calls,
            bound=str(each.bound),
            total_ms=work.calls * each.total_us / 1e3,
            share=work.calls * each.total_us / total,
        )
        for work, each in zip(works, times, strict=True)
    ]
    return Estimate(
        latency_ms=Banded(value=total / 1e3, low=total * fit.band.low / 1e3, high=total * fit.band.high / 1e3),
        level=fit.band.level,
        operators=_longest(rows),
        overhead_ms=overhead / 1e3,
        memory=memory_fit(machine, fit, held_bytes),
        environment={
            "device": machine.name,
            "architecture": machine.architecture,
            "runtime": "onnxruntime",
            "threads": used,
            "batch_size": batch_size,
        },
        assumptions=_assumptions(works, machine, fit, used),
        rests_on={
            "machine": {name: fit.machine.get(name) for name in ("cpu_model", "architecture", "cpu_frequency_mhz")},
            "measured_at": fit.measured_at,
            "libraries": dict(fit.libraries),
            "models": list(fit.models),
            "level": fit.band.level,
            "coverage": fit.validation.get("coverage"),
            "median_error": fit.validation.get("median_error"),
        },
    )


def roof_of(machine: Machine, fit: Fit, *, threads: int) -> Roof:
    """Return the roof of a machine whose numbers are known, with so many threads at work."""
    cores = machine.cpu_cores or 1
    int8 = machine.peak_tops_int8
    return Roof(
        flops_per_us=(machine.peak_gflops_fp32 or 0.0) * 1e3 / cores,
        int8_ops_per_us=None if int8 is None else int8 * 1e6 / cores,
        bytes_per_us=(machine.memory_bandwidth_gb_s or 0.0) * 1e3,
        threads=threads,
        slowness=fit.clock_mhz / machine.cpu_frequency_mhz if machine.cpu_frequency_mhz else 1.0,
    )


def memory_fit(machine: Machine, fit: Fit, held_bytes: int | None) -> MemoryFit:
    """Say whether a model that holds so many bytes of weights and activations fits in a machine's memory."""
    available = None if machine.memory_mb is None else machine.memory_mb * _MIB / 1e6
    if held_bytes is None:
        reason = "What the activations take is only known when the model runs: export it with fixed shapes."
        return MemoryFit(needed_mb=None, available_mb=available, verdict="unknown", detail=reason)
    value = (fit.memory.base_bytes + fit.memory.factor * held_bytes) / 1e6
    # Weights and activations themselves are there in any case.
    low = max(value * fit.memory.band.low, held_bytes / 1e6)
    needed = Banded(value=max(value, low), low=low, high=max(value * fit.memory.band.high, low))
    if available is None:
        reason = "The profile does not say how much memory the device has: add memory_mb with its source."
        return MemoryFit(needed_mb=needed, available_mb=None, verdict="unknown", detail=reason)
    if needed.high <= available:
        verdict, detail = "fits", "The upper end of the band is less than the device's memory."
    elif needed.low > available:
        verdict, detail = "does_not_fit", "The lower end of the band is more than the device's memory."
    else:
        verdict, detail = "tight", "The device's memory lies within the band."
    detail += " The runtime and the system take their share besides."
    return MemoryFit(needed_mb=needed, available_mb=available, verdict=verdict, detail=detail)


def _longest(rows: Sequence[OperatorEstimate]) -> tuple[OperatorEstimate, ...]:
    ordered = sorted(rows, key=lambda row: -row.total_ms)
    if len(ordered) <= MAX_OPERATORS:
        return tuple(ordered)
    rest = ordered[MAX_OPERATORS - 1 :]
    together = OperatorEstimate(
        name=f"{len(rest)} shorter operators",
        type="",
        count=sum(row.count for row in rest),
        flops=sum(row.flops for row in rest),
        size_bytes=sum(row.size_bytes for row in rest),
        bound="dispatch",
        total_ms=sum(row.total_ms for row in rest),
        share=sum(row.share for row in rest),
    )
    return (*ordered[: MAX_OPERATORS - 1], together)


def _assumptions(works: Sequence[OperatorWork], machine: Machine, fit: Fit, threads: int) -> tuple[Assumption, ...]:
    integer = any(work.operator_class in INTEGER for work in works)
    measured = f"fitted on {fit.machine['cpu_model']}, {fit.measured_at}, ONNX Runtime {fit.libraries['onnxruntime']}"
    found = [
        Assumption(
            name=_TITLES[name],
            value=f"{getattr(machine, name):g} {_UNITS[name]}",
            source=machine.sources.get(name, _NO_SOURCE),
        )
        for name in (*NEEDED, *([INT8_PEAK] if integer else []))
    ]
    clock = machine.cpu_frequency_mhz
    found += [
        Assumption(
            name="Efficiency and dispatch of each class of operators",
            value="as on the measured machine, in proportion to the peak and the clock of this one",
            source=f"{measured}, {len(fit.models)} networks; benchmarks/fit_estimates.py",
        ),
        Assumption(
            name="Clock, which what a call costs goes by",
            value="not known: as on the measured machine" if clock is None else f"{clock:g} MHz",
            source=machine.sources.get("cpu_frequency_mhz", _NO_SOURCE) if clock else f"{fit.clock_mhz:g} MHz there",
        ),
        Assumption(
            name="Threads",
            value=f"{threads} of {machine.cpu_cores or 1}; {fit.coefficients.parallel:.0%} of computing is shared by them",
            source=f"Amdahl's law, {measured} with one thread and with two; more were not measured",
        ),
        Assumption(
            name="Operators",
            value="those that ONNX Runtime makes of the model on the studio's own machine",
            source="one run here, whose times are not used; on another architecture some operators differ",
        ),
        Assumption(
            name="Processor alone",
            value=(
                f"{', '.join(machine.accelerators)} not used"
                if machine.accelerators
                else "no accelerator is taken to help"
            ),
            source="only processors were measured",
        ),
        Assumption(
            name="Error band",
            value=f"{fit.band.low:.2f} to {fit.band.high:.2f} times the estimate holds {fit.band.level:.0%} of the networks "
            "that were left out of the fit",
            source="measured on one machine: how far another architecture is off besides has not been measured",
        ),
    ]
    return tuple(found)
