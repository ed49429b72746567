"""Throughput: which number of streams, of how many threads each, gives the most inferences a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edge_ai.engine.measure.planned import Planned, at_stage
from edge_ai.engine.progress import Progress

_SECONDS: Final = 1.0
_LEAST_SECONDS: Final = 0.25
_ALL_SECONDS: Final = 6.0

Shape = tuple[int, int]
"""Streams, and threads of each."""


def shapes_for(processors: int, threads: int | None, *, slow: bool = False) -> list[Shape]:
    """Return what is tried: streams × threads within the processors, each a power of two or all that there are.

    Parameters
    ----------
    processors
        How many there are to fill.
    threads
        Of each stream, where that was asked for; then only the number of streams varies.
    slow
        Whether one inference takes so long that only the ends are tried: one stream, and as many as fill the processors.
    """
    if threads is not None:
        most = max(1, processors // threads)
        return sorted({(1, threads), (most, threads)} | ({(n, threads) for n in _powers(most)} if not slow else set()))
    if slow:
        return sorted({(1, processors), (processors, 1)})
    each = [*_powers(processors), processors]
    found = {(streams, of) for of in each for streams in (*_powers(processors // of), processors // of)}
    return sorted(found, key=lambda shape: (shape[1], shape[0]))


def measure_saturation(
    planned: Planned, progress: Progress, *, p50_ms: float, low: float, high: float
) -> dict[str, object]:
    """Find the most inferences a second that the processors give, in runs of their own.

    Every shape of `shapes_for` runs for the same time, and the best counts; ``tried`` has them all. The best of several
    is a little too good on a noisy machine: its time is short. The streams are Python threads: for networks of some ten
    microseconds they get in each other's way, and one alone may be best. Each number of threads has a process of its own,
    since some runtimes can only be told once.

    Parameters
    ----------
    planned
        The benchmark.
    progress
        Told between ``low`` and ``high`` percent.
    p50_ms
        What one inference takes; a slow one is tried in two shapes only.
    """
    asked = planned.spec.threads
    # With one thread each instead of all, an inference may take as many times as long as there are processors.
    slow = p50_ms * planned.processors > _SECONDS * 1e3
    shapes = shapes_for(planned.processors, asked, slow=slow)
    seconds = min(max(_LEAST_SECONDS, min(_SECONDS, _ALL_SECONDS / len(shapes))), planned.spec.max_seconds)
    tried: list[dict[str, Any]] = []
    each = sorted({threads for _, threads in shapes})
    for number, threads in enumerate(each):
        streams = sorted(count for count, of in shapes if of == threads)
        told = f"Measuring throughput: streams {_listed(streams)}, threads each {threads}"
        on_tick = at_stage(progress, "throughput", low + (high - low) * number / len(each), told)
        task = planned.task("throughput", streams=streams, seconds=seconds) | {"threads": threads}
        measured = planned.run(task, on_tick, seconds=seconds)
        tried += [
            {
                "per_s": one["runs_per_s"] * planned.prepared.batch_size,
                "streams": one["streams"],
                "threads": threads,
                "seconds": one["seconds"],
                "runs": one["runs"],
            }
            for one in measured["counted"]
        ]
    return max(tried, key=lambda one: float(one["per_s"])) | {"tried": tried}


def _powers(most: int) -> Iterator[int]:
    power = 1
    while power <= most:
        yield power
        power *= 2


def _listed(numbers: list[int]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))
