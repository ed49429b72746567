"""Which of several variants is the fastest beside the original: a careful answer in a few seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.measure.interleave import Blocks, interleave, ratio_of
from edge_ai.engine.measure.interleave import Candidate as Candidate

MARGIN: Final = 0.02
"""The largest relative difference that does not matter."""


@dataclass(frozen=True, kw_only=True)
class CandidateLatency:
    """How fast a model is beside the first one.

    Parameters
    ----------
    p50_ms
        Median of all its latencies, in ms.
    ratio
        Its time in proportion to the first one's; 1 for the first one.
    ci95
        The interval of the ratio: low and high.
    verdict
        ``faster``, ``slower``, ``same`` or ``inconclusive``.
    samples
        How many inferences were recorded.
    blocks
        How many blocks they came in.
    """

    p50_ms: float
    ratio: float
    ci95: tuple[float, float]
    verdict: str
    samples: int
    blocks: int

    def to_json(self) -> dict[str, Any]:
        """Return it with the names of the API."""
        return {
            "p50_ms": self.p50_ms,
            "ratio": round(self.ratio, 4),
            "ci95": [round(bound, 4) for bound in self.ci95],
            "verdict": self.verdict,
            "samples": self.samples,
            "blocks": self.blocks,
        }


def measure_ratios(
    candidates: Sequence[Candidate], *, threads: int, max_seconds: float, margin: float = MARGIN
) -> list[CandidateLatency]:
    """Measure models by turns, each in a process of its own.

    Parameters
    ----------
    candidates
        The original first. They may be in different formats.
    threads
        Of each inference.
    max_seconds
        How long to measure at most, not counting the start of the processes; it ends sooner when every verdict is clear.
        A model so slow that one inference of each takes longer is measured once all the same.
    margin
        The largest relative difference that does not matter.

    Returns
    -------
    list of CandidateLatency
        In the order of the candidates.

    Raises
    ------
    EngineError
        When a model cannot be loaded or run; ``details["candidate"]`` is its place.
    """
    others = range(1, len(candidates))

    def clear(blocks: Blocks) -> bool:
        return all(ratio_of([blocks], 0, place, margin=margin).verdict is not Verdict.INCONCLUSIVE for place in others)

    with tempfile.TemporaryDirectory() as folder:
        start = interleave(candidates, workdir=Path(folder), threads=threads, max_seconds=max_seconds, enough=clear)
    measured: list[CandidateLatency] = []
    for place, latency_ns in enumerate(start.latency_ns):
        found = ratio_of([start.blocks], 0, place, margin=margin)
        measured.append(
            CandidateLatency(
                p50_ms=float(np.median(latency_ns)) / 1e6,
                ratio=found.ratio,
                ci95=found.ci95 if place else (1.0, 1.0),
                verdict=str(found.verdict if place else Verdict.SAME),
                samples=len(latency_ns),
                blocks=2 * len(start.blocks),
            )
        )
    return measured
