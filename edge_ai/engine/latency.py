"""Is a variant faster? A quick answer within this process for every job, and a careful one where it matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Final

import numpy as np

from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.evaluate.parity import Reference
from edge_ai.engine.measure.candidates import MARGIN
from edge_ai.engine.measure.interleave import Ratio, ratio_of
from edge_ai.engine.runtime.base import Feed, Session

QUICK_SECONDS: Final = 0.4
"""How long a quick comparison lasts, apart from two inferences of each to warm up."""

FEEDS: Final = 8
_BLOCK_SECONDS: Final = 0.02
_LEAST_ROUNDS: Final = 3


def quick_ratio(baseline: Session, variant: Session, ours: Sequence[Feed], theirs: Sequence[Feed]) -> Ratio:
    """Return how long the variant takes in proportion to the baseline, from blocks in the order A B B A.

    Both run in this process. What another start of the process would have changed is not seen, and so the interval is
    widened by what it usually is.

    Parameters
    ----------
    ours, theirs
        The same samples as the baseline and as the variant take them.
    """
    a, b = _block(baseline, ours), _block(variant, theirs)
    runs_a, runs_b = _runs_in_a_block(a), _runs_in_a_block(b)
    rounds: list[list[list[float]]] = []
    end_s = time.perf_counter() + QUICK_SECONDS
    while len(rounds) < _LEAST_ROUNDS or time.perf_counter() < end_s:
        first, second = a(runs_a), b(runs_b)
        third, fourth = b(runs_b), a(runs_a)
        rounds.append([[first, second], [fourth, third]])
        if time.perf_counter() > end_s + 4 * QUICK_SECONDS:
            break
    return ratio_of([np.array(rounds)], 0, 1, margin=MARGIN)


def feeds_for(reference: Reference, session: Session) -> list[Feed]:
    """Return a few of the reference's samples as a model takes them."""
    names = pair(reference.inputs, session.inputs)
    return [translate(feed, names, reference.inputs, session.inputs) for feed in reference.feeds[:FEEDS]]


def _block(session: Session, feeds: Sequence[Feed]) -> Callable[[int], float]:
    """Return a function that runs some inferences and returns the seconds that one took."""
    following = cycle(feeds).__next__

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            session.run(following())
        return (time.perf_counter() - began) / count

    return run


def _runs_in_a_block(block: Callable[[int], float]) -> int:
    block(1)
    return max(1, int(_BLOCK_SECONDS / max(block(1), 1e-7)))
