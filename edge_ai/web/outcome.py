"""The result of an optimization as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_ai.web.measured import gain_words
from edge_ai.web.wording import significant, speed_ratio

#: What must not be overlooked comes first: the variant may not be what was hoped for.
PROMINENT: Final = ("variant_slower", "ort_slower_here", "variant_not_smaller", "parity_not_checked", "low_parity")
DOUBTS: Final = frozenset({"variant_slower", "ort_slower_here", "low_parity", "low_agreement"})
STEPS: Final[Mapping[str, str]] = {
    "deduplicate": "Equal weights joined",
    "prune": "Small weights set to zero",
    "simplify": "Graph simplified",
    "cluster": "Weights clustered",
}


def outcome_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trials with what was measured, the chosen one, its speed in words, the warnings in order, and compression.

    Results of older engines lack some of it, and so does what was not measured.
    """
    measured: Mapping[str, Any] = (result.get("latency") or {}).get("trials") or {}
    trials: Sequence[Mapping[str, Any]] = [
        {**trial, "measured": measured.get(str(trial.get("name")))} for trial in result.get("trials") or ()
    ]
    chosen: Mapping[str, Any] = next((trial for trial in trials if trial.get("chosen")), {})
    return {
        "trials": trials,
        "chosen": chosen,
        "latency_words": _in_two(chosen.get("latency_ratio"), chosen.get("measured")),
        "warnings": in_order(result.get("warnings") or ()),
        "compressed": [
            dict(step) | {"title": STEPS.get(str(step.get("step")), str(step.get("step")))}
            for step in result.get("steps") or ()
            if "bytes_after" in step
        ],
    }


def is_doubtful(result: Mapping[str, Any]) -> bool:
    """Tell whether a variant was seen to be slower than the original, or far from it, so that one may ask why."""
    return any(warning.get("code") in DOUBTS for warning in result.get("warnings") or ())


def in_order(warnings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return warnings with those first that must not be overlooked."""
    return sorted(
        warnings, key=lambda warning: PROMINENT.index(warning["code"]) if warning.get("code") in PROMINENT else 99
    )


def _in_two(latency_ratio: float | None, measured: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Return ``1.50×`` and ``faster``, and the interval; what is the same, or cannot be told, has no figure.

    Parameters
    ----------
    measured
        Ratio, interval and verdict of the trial; ``None`` in results of engines that kept the ratio alone.
    """
    if not latency_ratio:
        return None
    if measured is None:
        first, _, rest = speed_ratio(1.0, latency_ratio).partition(" ")
        return {"first": first, "rest": rest, "interval": ""}
    words = gain_words({"verdict": measured["verdict"], "ratio_p50": measured["ratio"]})
    first, _, rest = (words[0].upper() + words[1:]).partition(" ")
    low, high = (significant(bound) for bound in measured["ci95"])
    return {"first": first, "rest": rest, "interval": f"{low} to {high}×"}
