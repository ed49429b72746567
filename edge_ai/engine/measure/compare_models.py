"""Which of several model files is the fastest: measured by turns, over several starts of their processes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError
from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.measure.compared_input import candidates_of
from edge_ai.engine.measure.environment import describe_machine
from edge_ai.engine.measure.inputs import SEED
from edge_ai.engine.measure.interleave import (
    STARTS_THAT_SHOW_THEIR_SPREAD,
    Blocks,
    Candidate,
    Start,
    interleave,
    ratio_of,
)
from edge_ai.engine.measure.noise import NoiseSignals, judge_noise
from edge_ai.engine.measure.statistics import summarize_latency
from edge_ai.engine.progress import Progress
from edge_ai.engine.spec import MAX_COMPARED, Format

MAX_MODELS: Final = MAX_COMPARED
MAX_STARTS: Final = 20
"""How often the processes are started again at most: where memory lies changes a latency, and only a new start shows it."""

MIN_STARTS: Final = 6
"""Before so many starts nothing is called clear, unless the time is up."""

_AIMED_AT_LEAST: Final = 8
_LEAST_SECONDS_OF_A_START: Final = 0.3
_MAX_SECONDS_OF_A_START: Final = 6.0
_SECONDS_OF_A_MODEL: Final = 0.25
"""In each of the first starts, where that is not less than loading takes."""

_SURE: Final = 0.99
"""Confidence of verdicts: on a busy machine, one of twenty 95 % intervals of a model against itself lies beyond any margin."""

_SURE_SO_EARLY: Final = 0.999
"""Confidence for ending early: who asks after each start asks often."""

_OVERDRAFT: Final = 2.0
"""How many times as long as it may take it does take at most, for as many starts as a verdict needs."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came of models that were measured by turns.

    Parameters
    ----------
    opened
        What each model's runtime opens.
    starts
        One for each start of the processes, with the models in the order asked for.
    fed, samples
        Where the input comes from, ``dataset`` or ``random``, and how many different ones were fed in turn.
    threads, cpus
        Threads of each inference, and the processors that were allowed.
    stop
        Why it ended: ``clear``, ``starts`` (there are as many as are made at most) or ``time``.
    seconds
        How long it took in all.
    """

    opened: tuple[Path, ...]
    starts: tuple[Start, ...]
    fed: str
    samples: int
    threads: int
    cpus: tuple[int, ...]
    stop: str
    seconds: float

    @property
    def blocks(self) -> list[Blocks]:
        """Median latencies of the blocks of each start, in ns."""
        return [start.blocks for start in self.starts]


def measure_by_turns(
    models: Sequence[tuple[Path, Format]],
    *,
    dataset: Path | None,
    threads: int | None,
    max_seconds: float,
    workdir: Path,
    margin: float,
    names: Sequence[str] = (),
    cpus: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Compared:
    """Measure models by turns over several starts of their processes.

    Each start loads the models in the opposite order of the one before, so that being first favours none.

    Parameters
    ----------
    models
        Stored files and their formats, the one that the others are compared with first.
    dataset
        Samples to feed; every model must take them. Without, input is made up, the same for all.
    threads
        Of each inference; ``None`` for as many as there are processors.
    max_seconds
        How long this may take in all; it ends sooner when every verdict is clear after `MIN_STARTS` starts, and takes up to
        twice as long where that is needed for four starts, below which there are no verdicts. One is made in any case.
    workdir
        A writable folder.
    margin
        The largest relative difference that does not matter.
    names
        What errors call the models; without, their files' names.
    cpus
        The processors to be pinned to.

    Raises
    ------
    EngineError
        When a model cannot be loaded or run; ``details["candidate"]`` is its place. ``unsupported_conversion`` for a
        format that does not run here; ``not_comparable`` for models that do not take the same input.
    """
    begin_s = time.monotonic()
    end_s = begin_s + max_seconds
    allowed = tuple(cpus) if cpus else tuple(sorted(os.sched_getaffinity(0)))
    candidates, fed = candidates_of(models, dataset, workdir, names)
    starts: list[Start] = []
    share_s, longest_s, loading_s, stop = max_seconds / (2 * _AIMED_AT_LEAST), 0.0, 0.0, "time"
    while _goes_on(len(starts), left_s=end_s - time.monotonic(), longest_s=longest_s, max_seconds=max_seconds):
        began_s = time.monotonic()
        if progress is not None:
            percent = 2 + 86 * (began_s - begin_s) / max_seconds
            progress.stage("compare", min(88, round(percent)), f"Measuring by turns: start {len(starts) + 1}")
        if len(starts) < MIN_STARTS:
            # What is clear anyway is clear soon.
            share_s = min(share_s, max(_SECONDS_OF_A_MODEL * len(models), loading_s))
        measured_s = float(np.clip(share_s, _LEAST_SECONDS_OF_A_START, _MAX_SECONDS_OF_A_START))
        starts.append(
            _start(candidates, backwards=len(starts) % 2 == 1, workdir=workdir, threads=threads or len(allowed),
                   max_seconds=measured_s, cpus=cpus)
        )  # fmt: skip
        took_s = time.monotonic() - began_s
        longest_s = max(longest_s, took_s)
        loading_s = max(0.0, took_s - measured_s)
        blocks = [one.blocks for one in starts]
        if len(starts) >= MIN_STARTS and _clear(blocks, margin):
            stop = "clear"
            break
        if len(starts) == MAX_STARTS:
            stop = "starts"
            break
        left_s = end_s - time.monotonic()
        # Half of the time goes into measuring where loading is quick, and there are many starts rather than long ones.
        aimed = np.clip(left_s / (2 * max(loading_s, _LEAST_SECONDS_OF_A_START)), 1, MAX_STARTS - len(starts))
        share_s = left_s / float(max(aimed, _AIMED_AT_LEAST - len(starts))) - loading_s
    return Compared(
        opened=tuple(candidate.path for candidate in candidates),
        starts=tuple(starts),
        fed=fed,
        samples=len(candidates[0].feeds),
        threads=threads or len(allowed),
        cpus=allowed,
        stop=stop,
        seconds=time.monotonic() - begin_s,
    )


def _goes_on(starts: int, *, left_s: float, longest_s: float, max_seconds: float) -> bool:
    """Tell whether another start is made."""
    if starts == 0 or longest_s < left_s:
        return True
    return starts < STARTS_THAT_SHOW_THEIR_SPREAD and longest_s < left_s + (_OVERDRAFT - 1.0) * max_seconds


def compare_models(
    models: Sequence[tuple[Path, Format]],
    *,
    dataset: Path | None,
    threads: int | None,
    max_seconds: float,
    workdir: Path,
    margin: float = 0.02,
    cpus: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure models by turns, and say how each stands against the first.

    Parameters are those of `measure_by_turns`, which also says what is raised.

    Returns
    -------
    dict
        As `describe`; ``model`` is the file's name.
    """
    compared = measure_by_turns(
        models, dataset=dataset, threads=threads, max_seconds=max_seconds, workdir=workdir, margin=margin, cpus=cpus,
        progress=progress,
    )  # fmt: skip
    return describe(compared, models, [path.name for path, _ in models], margin=margin, pinned=cpus is not None)


def describe(
    compared: Compared, models: Sequence[tuple[Path, Format]], names: Sequence[str], *, margin: float, pinned: bool
) -> dict[str, Any]:
    """Return the result of the API's comparison, without accuracy.

    Returns
    -------
    dict
        ``runs`` (one for each model), ``pairs`` (each other model *b* against the first, *a*), ``every_pair``,
        ``environment``, ``noise``, ``starts``, ``rounds``, ``margin`` and ``stop``.
    """
    count = len(models)
    every = [pair_of(a, b, names, compared, margin) for a in range(count) for b in range(a + 1, count)]
    return {
        "kind": "measured",
        "runs": [_run(place, names, models, compared.starts) for place in range(count)],
        "pairs": every[: count - 1],
        "every_pair": every,
        "starts": len(compared.starts),
        "rounds": sum(len(blocks) for blocks in compared.blocks),
        "margin": margin,
        "stop": {"reason": compared.stop, "seconds": round(compared.seconds, 3)},
        "environment": describe_machine(compared.cpus)
        | {
            "threads": compared.threads,
            "cpus": list(compared.cpus),
            "pinned": pinned,
            "input": compared.fed,
            "input_samples": compared.samples,
            "seed": SEED,
            "starts": len(compared.starts),
            "order": "A B … B A",
        },
        "noise": judge_noise(_worst([signals for one in compared.starts for signals in one.noise])).to_json(),
    }


def _start(
    candidates: Sequence[Candidate],
    *,
    backwards: bool,
    workdir: Path,
    threads: int,
    max_seconds: float,
    cpus: Sequence[int] | None,
) -> Start:
    """Make one start, the processes in this order or in the opposite one; its result is in this order."""
    step = -1 if backwards else 1
    try:
        made = interleave(
            candidates[::step],
            workdir=workdir,
            threads=threads,
            max_seconds=max_seconds,
            enough=lambda blocks: False,
            cpus=cpus,
        )
    except EngineError as error:
        if backwards and error.details is not None and "candidate" in error.details:
            error.details["candidate"] = len(candidates) - 1 - error.details["candidate"]
        raise
    return Start(
        blocks=made.blocks[:, :, ::step],
        latency_ns=made.latency_ns[::step],
        noise=made.noise[::step],
        runtimes=made.runtimes[::step],
    )


def _clear(starts: Sequence[Blocks], margin: float) -> bool:
    others = range(1, starts[0].shape[2])
    return all(
        ratio_of(starts, 0, place, margin=margin, confidence=_SURE_SO_EARLY).verdict is not Verdict.INCONCLUSIVE
        for place in others
    )


def _run(
    place: int, names: Sequence[str], models: Sequence[tuple[Path, Format]], starts: Sequence[Start]
) -> dict[str, Any]:
    latency_ns = np.concatenate([one.latency_ns[place] for one in starts])
    return {
        "model": names[place],
        "place": place,
        "format": str(models[place][1]),
        **starts[0].runtimes[place],
        "latency_ms": summarize_latency(latency_ns).to_json(),
    }


def pair_of(a: int, b: int, names: Sequence[str], compared: Compared, margin: float) -> dict[str, Any]:
    """Return the API's pair of the models at two places: how *b* stands against *a*."""
    found = ratio_of(compared.blocks, a, b, margin=margin)
    sure = ratio_of(compared.blocks, a, b, margin=margin, confidence=_SURE)
    # What a single start shows may be the machine's doing wholly, be it ever so much.
    enough = len(compared.starts) >= STARTS_THAT_SHOW_THEIR_SPREAD
    return {
        "a": names[a],
        "b": names[b],
        "ratio_p50": found.ratio,
        "ci95": list(found.ci95),
        "ci99": list(sure.ci95),
        "verdict": str(sure.verdict if enough else Verdict.INCONCLUSIVE),
        "ratios_of_starts": [
            round(float(np.exp(np.median(np.log(blocks[:, :, b] / blocks[:, :, a])))), 5) for blocks in compared.blocks
        ],
    }


def _worst(signals: Sequence[NoiseSignals]) -> NoiseSignals:
    """Return the most disturbed of each kind."""

    def worst(name: str) -> float | None:
        known = [value for value in (getattr(one, name) for one in signals) if value is not None]
        return max(known, key=abs, default=None)

    return NoiseSignals(**{item.name: worst(item.name) for item in fields(NoiseSignals)})  # type: ignore[arg-type]
