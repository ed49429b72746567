"""The result of an optimization as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_ai.web.wording import speed_ratio

#: What must not be overlooked comes first: the variant may not be what was hoped for.
PROMINENT: Final = ("variant_slower", "ort_slower_here", "variant_not_smaller", "parity_not_checked", "low_parity")
STEPS: Final[Mapping[str, str]] = {
    "deduplicate": "Equal weights joined",
    "prune": "Small weights set to zero",
    "simplify": "Graph simplified",
    "cluster": "Weights clustered",
}


def outcome_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trial that was chosen, how fast it is in words, the warnings in order, and the steps of compression.

    Results of older engines lack some of it, and so does what was not measured.
    """
    trials: Sequence[Mapping[str, Any]] = result.get("trials") or ()
    chosen: Mapping[str, Any] = next((trial for trial in trials if trial.get("chosen")), {})
    return {
        "chosen": chosen,
        "latency_words": _in_two(chosen.get("latency_ratio")),
        "warnings": in_order(result.get("warnings") or ()),
        "compressed": [
            dict(step) | {"title": STEPS.get(str(step.get("step")), str(step.get("step")))}
            for step in result.get("steps") or ()
            if "bytes_after" in step
        ],
    }


def in_order(warnings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return warnings with those first that must not be overlooked."""
    return sorted(
        warnings, key=lambda warning: PROMINENT.index(warning["code"]) if warning.get("code") in PROMINENT else 99
    )


def _in_two(latency_ratio: float | None) -> dict[str, str] | None:
    """Return ``1.50×`` and ``faster``; what is about the same has no figure."""
    if not latency_ratio:
        return None
    first, _, rest = speed_ratio(1.0, latency_ratio).partition(" ")
    return {"first": first, "rest": rest}
