"""Which of several model files is the fastest: measured by turns, over several starts of their processes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.evaluate.dataset import Dataset, load_dataset
from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.evaluate.task import required_batch
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.measure.environment import describe_machine
from edge_ai.engine.measure.inputs import SEED, Feed, dataset_feeds, made_up_feeds
from edge_ai.engine.measure.interleave import Blocks, Candidate, Start, interleave, ratio_of
from edge_ai.engine.measure.noise import NoiseSignals, judge_noise
from edge_ai.engine.measure.statistics import summarize_latency
from edge_ai.engine.progress import Progress
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Tensor
from edge_ai.engine.spec import Format

MAX_MODELS: Final = 8
STARTS: Final = 5
"""How often the processes are started again at most: where memory lies changes a latency, and only a new start shows it."""

MIN_STARTS: Final = 4
_MAX_SECONDS_OF_A_START: Final = 6.0


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

    Parameters
    ----------
    models
        Stored files and their formats, two to `MAX_MODELS`, the one that the others are compared with first.
    dataset
        Samples to feed; every model must take them. Without, input is made up: the same for all where they take the same.
    threads
        Of each inference; ``None`` for as many as there are processors.
    max_seconds
        How long this may take in all; it ends sooner when every verdict is clear after `MIN_STARTS` starts. One start is
        made in any case.
    workdir
        A writable folder.
    margin
        The largest relative difference that does not matter.
    cpus
        The processors to be pinned to.

    Returns
    -------
    dict
        The result of the API's comparison: ``runs`` (one for each model, ``model`` is the file's name), ``pairs`` (each
        other model *b* against the first, *a*), ``environment`` and ``noise``.

    Raises
    ------
    EngineError
        When a model cannot be loaded or run; ``details["candidate"]`` is its place. ``unsupported_conversion`` for a
        format that does not run here.
    """
    end_s = time.monotonic() + max_seconds
    allowed = list(cpus) if cpus else sorted(os.sched_getaffinity(0))
    used_threads = threads or len(allowed)
    candidates, fed = _candidates(models, dataset, workdir)
    starts: list[Start] = []
    longest_s = 0.0
    while not starts or (len(starts) < STARTS and time.monotonic() + longest_s < end_s):
        if progress is not None:
            progress.stage("compare", 5 + 90 * len(starts) // STARTS, f"Measuring by turns: start {len(starts) + 1}")
        begin_s = time.monotonic()
        share_s = (end_s - begin_s) / (STARTS - len(starts))
        starts.append(
            interleave(
                candidates,
                workdir=workdir,
                threads=used_threads,
                max_seconds=max(0.1, min(share_s, _MAX_SECONDS_OF_A_START)),
                enough=lambda blocks: _clear([*(one.blocks for one in starts), blocks], margin),
                cpus=cpus,
            )
        )
        longest_s = max(longest_s, time.monotonic() - begin_s)
        if len(starts) >= MIN_STARTS and _clear([one.blocks for one in starts], margin):
            break
    names = [path.name for path, _ in models]
    return {
        "kind": "measured",
        "runs": [_run(place, names, models, starts) for place in range(len(models))],
        "pairs": [_pair(place, names, starts, margin) for place in range(1, len(models))],
        "environment": describe_machine(allowed)
        | {
            "threads": used_threads,
            "cpus": allowed,
            "pinned": cpus is not None,
            "input": fed,
            "input_samples": len(candidates[0].feeds),
            "seed": SEED,
            "starts": len(starts),
            "order": "A B … B A",
        },
        "noise": judge_noise(_worst([signals for one in starts for signals in one.noise])).to_json(),
    }


def _candidates(
    models: Sequence[tuple[Path, Format]], dataset: Path | None, workdir: Path
) -> tuple[list[Candidate], str]:
    """Unpack the models and prepare what each is fed; also returns where that comes from."""
    samples = None if dataset is None else load_dataset(dataset)
    opened: list[tuple[Path, Format, Sequence[Tensor]]] = []
    for place, (path, format) in enumerate(models):
        if format not in RUNS_HERE:
            raise UnsupportedError(
                f"{path.name} is a model in the format {format}, which cannot be run on this machine.",
                code="unsupported_conversion",
                fix="Compare models in ONNX, TensorFlow Lite, Keras, SavedModel or OpenVINO.",
                details={"candidate": place, "nearest": {"format": str(Format.ONNX)}},
            )
        folder = workdir / f"compared-{place}"
        folder.mkdir(exist_ok=True)
        unpacked = handler_of(format).unpack(path, folder)
        opened.append((unpacked, format, open_model(unpacked, format, threads=1, optimize=False).inputs))
    first = opened[0][2]
    ours = None if samples is not None else made_up_feeds(first, 1)
    candidates = [
        Candidate(path=path, format=format, feeds=_feeds(first, inputs, samples, ours), name=models[place][0].name)
        for place, (path, format, inputs) in enumerate(opened)
    ]
    return candidates, "random" if samples is None else "dataset"


def _feeds(
    first: Sequence[Tensor], inputs: Sequence[Tensor], samples: Dataset | None, ours: Sequence[Feed] | None
) -> Sequence[Feed]:
    """Return what a model is fed: the samples, else what the first model is fed where it takes that."""
    if samples is not None:
        matched = samples.matched(inputs)
        return dataset_feeds(inputs, matched, required_batch(inputs, matched.inputs))
    try:
        names = pair(first, inputs)
    except EngineError:
        return made_up_feeds(inputs, 1)
    feeds = [translate(feed, names, first, inputs) for feed in ours or ()]
    return feeds if feeds and all(_takes(item, feeds[0]) for item in inputs) else made_up_feeds(inputs, 1)


def _takes(item: Tensor, feed: Feed) -> bool:
    array = feed.get(item.name)
    if array is None or item.shape is None:
        return array is not None
    return array.ndim == len(item.shape) and all(
        not isinstance(axis, int) or axis == size for axis, size in zip(item.shape, array.shape, strict=True)
    )


def _clear(starts: Sequence[Blocks], margin: float) -> bool:
    others = range(1, starts[0].shape[2])
    return all(ratio_of(starts, 0, place, margin=margin).verdict is not Verdict.INCONCLUSIVE for place in others)


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


def _pair(place: int, names: Sequence[str], starts: Sequence[Start], margin: float) -> dict[str, Any]:
    found = ratio_of([one.blocks for one in starts], 0, place, margin=margin)
    return {
        "a": names[0],
        "b": names[place],
        "ratio_p50": found.ratio,
        "ci95": list(found.ci95),
        "verdict": str(found.verdict),
    }


def _worst(signals: Sequence[NoiseSignals]) -> NoiseSignals:
    """Return the most disturbed of each kind."""

    def worst(name: str) -> float | None:
        known = [value for value in (getattr(one, name) for one in signals) if value is not None]
        return max(known, key=abs, default=None)

    return NoiseSignals(**{item.name: worst(item.name) for item in fields(NoiseSignals)})  # type: ignore[arg-type]
