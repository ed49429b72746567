"""Several models measured by turns, each loaded in a process of its own, so that a disturbance meets all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.errors import EngineError
from edge_ai.engine.measure.compare import Verdict, judge
from edge_ai.engine.measure.held import HeldModel
from edge_ai.engine.measure.inputs import Feed, store_feeds
from edge_ai.engine.measure.noise import NoiseSignals
from edge_ai.engine.measure.statistics import Z_95
from edge_ai.engine.spec import Format

BETWEEN_PROCESSES_SD: Final = 0.02
"""Relative standard deviation of a model's median latency between two starts of its process: memory lies elsewhere.

Assumed: far less and several times as much were seen for single networks.
"""

BETWEEN_BLOCKS_SD: Final = 0.15
"""The same between two blocks on a busy machine: pairs of one model of 15 µs spread by 0.13 to 0.2 on two shared cores."""

BLOCK_MS: Final = 100.0
MIN_BLOCK_MS: Final = 20.0
MIN_ROUNDS: Final = 6
"""Before these no interval is looked at, unless the time is up."""

STARTS_THAT_SHOW_THEIR_SPREAD: Final = 4
"""With fewer starts, what another one would have changed is assumed."""

TRIMMED: Final = 0.2
"""Which part of the starts is left out at either end: a disturbance may meet one of them wholly."""

_STUDENT_POINTS: Final = {
    0.95: (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179),
    0.99: (9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055),
    0.999: (31.599, 12.924, 8.610, 6.869, 5.959, 5.408, 5.041, 4.781, 4.587, 4.437, 4.318),
}
"""Student's two-sided points by confidence, for 2 degrees of freedom and more; for more than these, the last is enough."""

_MIN_PAIRS: Final = 6
_STUDENT_95: Final = {1: 0.0, 2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""The 97.5 % point of Student's distribution for so many values; a single one has no spread to be multiplied with."""

_RESAMPLES: Final = 2000
_SEED: Final = 0
_WARMUP_SHARE: Final = 0.1
_MAX_WARMUP_SECONDS: Final = 1.0

Blocks = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model to be measured.

    Parameters
    ----------
    path
        What its runtime opens: a file, or a folder for SavedModel.
    feeds
        Inputs under its own names and in its own types, fed in turn; at least one.
    name
        What errors call it.
    """

    path: Path
    format: Format
    feeds: Sequence[Feed]
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What came of one start of all processes.

    Parameters
    ----------
    blocks
        Median latency of each block in ns, shape (rounds, 2, models): each round measures the models in their order and
        then in the opposite one.
    latency_ns
        For each model every recorded latency, int64 of shape (runs,).
    noise
        For each model what disturbed its blocks.
    runtimes
        For each model its ``runtime``, ``runtime_version`` and ``provider``.
    """

    blocks: Blocks
    latency_ns: tuple[npt.NDArray[np.int64], ...]
    noise: tuple[NoiseSignals, ...]
    runtimes: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How long a model takes in proportion to another: the ratio, its 95 % interval and what that amounts to."""

    ratio: float
    ci95: tuple[float, float]
    verdict: Verdict


def interleave(
    candidates: Sequence[Candidate],
    *,
    workdir: Path,
    threads: int,
    max_seconds: float,
    enough: Callable[[Blocks], bool],
    cpus: Sequence[int] | None = None,
) -> Start:
    """Start a process for each model and measure them by turns, in blocks, until that is enough or the time is up.

    Loading is not counted as time. At least one block of each model is measured, however long that takes.

    Parameters
    ----------
    workdir
        For temporary files.
    threads
        Of each model.
    enough
        Told the blocks after each round from `MIN_ROUNDS` on.
    cpus
        The processors to be pinned to.

    Raises
    ------
    EngineError
        When a model cannot be loaded or run; ``details["candidate"]`` is its place.
    """
    with ExitStack() as stack:
        held = [
            stack.enter_context(HeldModel(_task(place, candidate, workdir, threads=threads, cpus=cpus), workdir))
            for place, candidate in enumerate(candidates)
        ]
        for place, model in enumerate(held):
            with _naming(place, candidates):
                model.ready()
        end_s = time.monotonic() + max_seconds
        warm_s = min(_MAX_WARMUP_SECONDS, max_seconds * _WARMUP_SHARE)
        run_s: list[float] = []
        for place, model in enumerate(held):
            with _naming(place, candidates):
                run_s.append(model.warm_up(warm_s) / 1e9)
        left_s = end_s - time.monotonic()
        block_ms = float(np.clip(left_s * 1e3 / (2 * len(held) * MIN_ROUNDS), MIN_BLOCK_MS, BLOCK_MS))
        half_round_s = sum(max(block_ms / 1e3, one) for one in run_s)
        rounds: list[list[list[float]]] = []

        def measure(places: Sequence[int]) -> list[float]:
            medians: dict[int, float] = {}
            for place in places:
                with _naming(place, candidates):
                    medians[place] = held[place].block(block_ms)
            return [medians[place] for place in range(len(held))]

        order = list(range(len(held)))
        while not rounds or time.monotonic() + 2 * half_round_s <= end_s:
            there = measure(order)
            # Models so slow that there is time for one way only are not measured on the way back.
            back = there if not rounds and time.monotonic() + half_round_s > end_s else measure(order[::-1])
            rounds.append([there, back])
            if len(rounds) >= MIN_ROUNDS and enough(np.array(rounds)):
                break
        told = [model.finish() for model in held]
    return Start(
        blocks=np.array(rounds),
        latency_ns=tuple(np.load(workdir / _samples(place), allow_pickle=False) for place in order),
        noise=tuple(NoiseSignals(**one["noise"]) for one in told),
        runtimes=tuple({name: one[name] for name in ("runtime", "runtime_version", "provider")} for one in told),
    )


def ratio_of(starts: Sequence[Blocks], a: int, b: int, *, margin: float, confidence: float = 0.95) -> Ratio:
    """Compare model *b* with model *a*.

    Neighbouring blocks make a pair. Blocks of one start share where memory lies, so however many there are, a start counts
    as one observation: the median of its pairs' log ratios. The ratio is their trimmed mean, and its interval Student's,
    from their winsorized variance. Too few starts do not show what another one would have changed: the interval is then a
    bootstrap over rounds, both of whose pairs stay together, widened by `BETWEEN_PROCESSES_SD`.

    Parameters
    ----------
    starts
        The ``blocks`` of each start, shape (rounds, 2, models).
    a, b
        Places of the models.
    margin
        The largest relative difference that does not matter.
    confidence
        Of the interval that the verdict rests on: 0.95, 0.99 or 0.999.

    References
    ----------
    Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013; Tukey and McLaughlin, "Less vulnerable
    confidence and significance procedures for location based on a single sample", Sankhya A 25, 1963.
    """
    logs = [np.log(blocks[:, :, b] / blocks[:, :, a]) for blocks in starts]
    if len(logs) >= STARTS_THAT_SHOW_THEIR_SPREAD:
        centre, half = _trimmed(np.array([np.median(one) for one in logs]), confidence)
        low, high = centre - half, centre + half
    else:
        pairs = np.concatenate([one.ravel() for one in logs])
        centre = float(np.median(pairs))
        low, high = _interval_of_few_starts(logs, pairs, centre, confidence)
    ci95 = float(np.exp(min(low, centre))), float(np.exp(max(high, centre)))
    return Ratio(ratio=float(np.exp(centre)), ci95=ci95, verdict=judge(ci95, margin))


def _trimmed(values: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the trimmed mean of at least four values, and half of its interval."""
    ordered, count = np.sort(values), len(values)
    cut = int(TRIMMED * count)
    kept = ordered[cut : count - cut]
    points = _STUDENT_POINTS[confidence]
    point = points[min(len(kept) - 3, len(points) - 1)]
    spread = float(np.clip(ordered, kept[0], kept[-1]).std(ddof=1))
    return float(kept.mean()), point * spread / ((1.0 - 2.0 * cut / count) * math.sqrt(count))


def _interval_of_few_starts(
    logs: Sequence[Blocks], pairs: Blocks, centre: float, confidence: float
) -> tuple[float, float]:
    random = np.random.default_rng(_SEED)
    if len(pairs) < _MIN_PAIRS:
        half = _half_width(pairs)
        drawn = random.uniform(centre - half, centre + half, _RESAMPLES)
    else:
        drawn = _medians_of_draws(logs, random)
    drawn = drawn + random.normal(0.0, BETWEEN_PROCESSES_SD * np.sqrt(2.0 / len(logs)), _RESAMPLES)
    low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def _half_width(pairs: Blocks) -> float:
    """Return half the interval of so few pairs that drawing among them says little, as the logarithm of a ratio.

    By Student's distribution, and no less than what pairs on a noisy machine would spread by.
    """
    count = len(pairs)
    spread = float(pairs.std(ddof=1)) if count > 1 else 0.0
    assumed = Z_95 * BETWEEN_BLOCKS_SD * math.sqrt(2.0)
    return max(_STUDENT_95[count] * spread, assumed) / math.sqrt(count)


def _medians_of_draws(logs: Sequence[Blocks], random: np.random.Generator) -> Blocks:
    if len(logs) == 1:
        # All at once: one by one, the draws of a short comparison would take longer than it.
        rounds = logs[0]
        chosen = rounds[random.integers(0, len(rounds), (_RESAMPLES, len(rounds)))]
        return np.asarray(np.median(chosen.reshape(_RESAMPLES, -1), axis=1))
    return np.array([np.median(_resampled(logs, random)) for _ in range(_RESAMPLES)])


def _resampled(logs: Sequence[Blocks], random: np.random.Generator) -> Blocks:
    drawn = (logs[index] for index in random.integers(0, len(logs), len(logs)))
    return np.concatenate([one[random.integers(0, len(one), len(one))].ravel() for one in drawn])


def _task(
    place: int, candidate: Candidate, workdir: Path, *, threads: int, cpus: Sequence[int] | None
) -> dict[str, object]:
    names = list(candidate.feeds[0])
    inputs = f"candidate-{place}.npz"
    store_feeds(candidate.feeds, names, workdir / inputs)
    return {
        "task": "blocks",
        "model_path": str(candidate.path.resolve()),
        "format": str(candidate.format),
        "threads": threads,
        "cpus": list(cpus) if cpus else None,
        "inputs_path": inputs,
        "input_names": names,
        "feed_count": len(candidate.feeds),
        "input": "dataset",
        "samples_path": _samples(place),
    }


def _samples(place: int) -> str:
    return f"latencies-{place}.npy"


@contextmanager
def _naming(place: int, candidates: Sequence[Candidate]) -> Iterator[None]:
    """Name a model in what is raised about it."""
    try:
        yield
    except EngineError as error:
        error.details = {**(error.details or {}), "candidate": place, "name": candidates[place].name}
        raise
