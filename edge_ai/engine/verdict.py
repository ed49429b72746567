"""How fast the variants are beside the original, measured, and what is said of a slower one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.choose import choose_best
from edge_ai.engine.errors import EngineError
from edge_ai.engine.evaluate.parity import Reference
from edge_ai.engine.lanes.base import LaneContext, ways_of
from edge_ai.engine.latency import feeds_for, quick_ratio
from edge_ai.engine.measure.candidates import Candidate, CandidateLatency, measure_ratios
from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.measure.interleave import Ratio
from edge_ai.engine.original import Original
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize.trial import QUANTIZER_FAILURES, Trial
from edge_ai.engine.routes import RUNS_HERE, Route
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format, OptimizationLevel, Precision

SUSPICIOUS: Final = 1.05
"""A quick ratio above it, whose interval does not decide, is looked into with care."""

CHOICE_SECONDS: Final = 12.0
"""How long candidates are measured where the choice hangs on it."""

DOUBT_SECONDS: Final = 4.0
"""How long one variant is measured of which a quick look left open whether it is slower."""

#: Runtimes whose own start takes longer than what is to be found out.
_HEAVY: Final = frozenset({Format.KERAS, Format.SAVED_MODEL})
_REDUCED: Final = frozenset({Precision.INT8, Precision.INT8_DYNAMIC, Precision.INT16X8, Precision.INT4, Precision.FP8})


@dataclass(kw_only=True)
class Latency:
    """What was found out about the chosen variant's speed.

    Parameters
    ----------
    against
        What it was compared with: ``original``, or ``converted``, the same network in float32 in the target format, where
        the original's own runtime is not what the variant is for.
    method
        ``interleaved processes`` or ``quick, one process``.
    reason
        Why nothing was measured.
    """

    against: str | None = None
    method: str | None = None
    ratios: dict[str, dict[str, Any]] = field(default_factory=dict)
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the result says of it."""
        return {
            "against": self.against,
            "method": self.method,
            "threads": 1,
            "trials": self.ratios,
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class _Baseline:
    path: Path
    format: Format
    against: str


def judge_latency(
    route: Route,
    context: LaneContext,
    reference: Reference,
    original: Original,
    trials: Sequence[Trial],
    *,
    level: OptimizationLevel,
    precision: Precision,
) -> Latency:
    """Measure the variants that are close enough beside the original, on one thread, and note it in the trials.

    A quick comparison within this process is enough where it decides and no choice hangs on it. For ``speed``, and for the
    chosen variant where a quick look leaves open whether it is slower, processes of their own are compared by turns.
    """
    fair = [trial for trial in trials if trial.fair]
    target = route.lane.target
    if target not in RUNS_HERE:
        return Latency(reason=f"No runtime on this machine measures {target} models.")
    if not fair:
        return Latency(reason="No variant is close enough to the original.")
    baseline = _baseline(route, context, original, precision, level)
    if baseline is None:
        return Latency(
            reason="The original runs in TensorFlow, which takes longer to start than this is worth; benchmark both."
        )
    context.progress.stage("measure", 90, "Measuring the variant beside the original")
    found = Latency(against=baseline.against, method="quick, one process")
    try:
        _measure_quickly(found, baseline, target, reference, fair)
        if level is OptimizationLevel.SPEED:
            _measure_carefully(found, baseline, target, reference, fair, CHOICE_SECONDS)
        elif precision is not Precision.FP32:
            best = choose_best(trials, level, precision, target)
            quick = found.ratios.get(best.name, {})
            if quick.get("verdict") == Verdict.INCONCLUSIVE and quick["ratio"] > SUSPICIOUS:
                _measure_carefully(found, baseline, target, reference, [best], DOUBT_SECONDS)
    except (EngineError, *QUANTIZER_FAILURES) as error:
        # The variant was compared and is right; that its speed is not known is no reason to throw it away.
        found.reason = f"Measuring failed: {getattr(error, 'message', error)}"
        return found
    return found


def slower_caution(trial: Trial, found: Latency, context: LaneContext, target: Format) -> list[Caution]:
    """Say that the chosen variant is slower than the original, why, and what to do; nothing where it is not."""
    measured = found.ratios.get(trial.name) or {}
    if measured.get("verdict") != "slower":
        return []
    from edge_ai.engine.measure.why_slow import explain_slower

    against = "the original" if found.against == "original" else "the same network in float32"
    reasons = explain_slower(context.model, context.format, trial.path, target)
    return [
        Caution(
            code="variant_slower",
            detail=f"On this machine the variant takes {measured['ratio']:.2f} times as long as {against} "
            f"(95 % interval {measured['ci95'][0]:.2f} to {measured['ci95'][1]:.2f}, one thread)."
            + "".join(f" {reason['detail']}" for reason in reasons),
            fix=" ".join(dict.fromkeys(reason["fix"] for reason in reasons))
            or "Choose fp16 or int8_dynamic, and benchmark them beside the original.",
        )
    ]


def _baseline(
    route: Route, context: LaneContext, original: Original, precision: Precision, level: OptimizationLevel
) -> _Baseline | None:
    """Return what variants are measured against: the original, or its float32 form in the target's runtime."""
    if original.format in RUNS_HERE - _HEAVY:
        return _Baseline(path=original.path, format=original.format, against="original")
    if context.format in RUNS_HERE - _HEAVY:
        return _Baseline(path=context.model, format=context.format, against="converted")
    if precision not in _REDUCED and level is not OptimizationLevel.SPEED:
        return None
    folder = context.workdir / "baseline"
    folder.mkdir(exist_ok=True)
    plain = replace(context, precision=Precision.FP32, workdir=folder, passes=[], steps=[], cautions=[])
    trial = next(iter(ways_of(route, plain)), None)
    if trial is None:
        return None
    trial.make(trial.path)
    return _Baseline(path=trial.path, format=route.lane.target, against="converted")


def _measure_quickly(
    found: Latency, baseline: _Baseline, target: Format, reference: Reference, fair: Sequence[Trial]
) -> None:
    """Measure in this process."""
    ours = open_model(baseline.path, baseline.format, threads=1)
    feeds = feeds_for(reference, ours)
    for trial in fair:
        theirs = open_model(trial.path, target, threads=1)
        _note(found, trial, quick_ratio(ours, theirs, feeds, feeds_for(reference, theirs)))


def _measure_carefully(
    found: Latency,
    baseline: _Baseline,
    target: Format,
    reference: Reference,
    fair: Sequence[Trial],
    max_seconds: float,
) -> None:
    """Measure in processes of their own, by turns."""
    measured = measure_ratios(
        [
            Candidate(
                path=path,
                format=format,
                feeds=[dict(feed) for feed in feeds_for(reference, open_model(path, format, threads=1))],
            )
            for path, format in [(baseline.path, baseline.format), *((trial.path, target) for trial in fair)]
        ],
        threads=1,
        max_seconds=max_seconds,
    )
    found.method = "interleaved processes"
    for trial, one in zip(fair, measured[1:], strict=True):
        _note(found, trial, one)
        found.ratios[trial.name]["p50_ms"] = one.p50_ms


def _note(found: Latency, trial: Trial, measured: Ratio | CandidateLatency) -> None:
    trial.latency_ratio, trial.latency_ci95 = measured.ratio, measured.ci95
    found.ratios[trial.name] = {
        "ratio": round(measured.ratio, 4),
        "ci95": [round(bound, 4) for bound in measured.ci95],
        "verdict": str(measured.verdict),
    }
