"""The whole comparison: models measured by turns, their accuracy and sizes beside, and every raw sample kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.evaluate.dataset import load_dataset
from edge_ai.engine.measure.compare_models import Compared, describe, measure_by_turns
from edge_ai.engine.measure.judged import Judged, change_between, judge
from edge_ai.engine.measure.session import explained
from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import ComparisonSpec

SAMPLES_FILE: Final = "samples.npz"
_MAX_ACCURACY_SECONDS: Final = 120.0
_ACCURACY_FROM, _ACCURACY_TO = 88, 99
_NO_DATASET: Final = "no data set was given"
_NO_LABELS: Final = "the data set has no labels"


def run_comparison(spec: ComparisonSpec, workdir: Path, progress: Progress) -> tuple[dict[str, Any], list[OutputFile]]:
    """Compare models on this machine.

    Parameters
    ----------
    spec
        What to compare; its paths are relative to ``workdir``.
    workdir
        A writable folder, where the samples and temporary files are written.
    progress
        Told at each start how far it is.

    Returns
    -------
    tuple
        The comparison result of the API, where a model's name is its place in the order asked for, as text, and the files:
        role "samples", an ``.npz`` that `_store` describes.

    Raises
    ------
    EngineError
        As `measure_by_turns`.
    """
    models = [(workdir / path, format) for path, format in zip(spec.model_paths, spec.formats, strict=True)]
    names = list(spec.names) or [path.name for path, _ in models]
    compared = measure_by_turns(
        models,
        dataset=None if spec.dataset_path is None else workdir / spec.dataset_path,
        threads=spec.threads,
        max_seconds=spec.max_seconds,
        workdir=workdir,
        margin=spec.margin,
        names=names,
        cpus=spec.cpus,
        progress=progress,
    )
    places = [str(place) for place in range(len(models))]
    result = describe(compared, models, places, margin=spec.margin, pinned=spec.cpus is not None)
    judged = _judge(spec, compared, workdir, progress)
    for place, run in enumerate(result["runs"]):
        run |= {"size_bytes": models[place][0].stat().st_size, **judged[place].to_json()}
    # The pairs with the first model are in both lists.
    for pair in result["every_pair"]:
        change = change_between(judged[int(pair["a"])], judged[int(pair["b"])])
        pair["accuracy"] = None if change is None else change.to_json()
    for run in result["runs"]:
        run["delta"] = _delta(run, result["runs"][0], result["pairs"])
    _store(compared, workdir / SAMPLES_FILE)
    samples = OutputFile(
        role="samples", path=SAMPLES_FILE, name=SAMPLES_FILE, format=None, mime_type="application/x-npz"
    )
    return result, [samples]


def _judge(spec: ComparisonSpec, compared: Compared, workdir: Path, progress: Progress) -> list[Judged]:
    """Judge each model on the labels of the data set; what cannot be judged has its reason."""
    if spec.dataset_path is None:
        return [Judged(evaluation=None, reason=_NO_DATASET) for _ in compared.opened]
    dataset = load_dataset(workdir / spec.dataset_path)
    if dataset.labels is None:
        return [Judged(evaluation=None, reason=_NO_LABELS) for _ in compared.opened]
    judged = []
    for place, (path, format) in enumerate(zip(compared.opened, spec.formats, strict=True)):
        percent = _ACCURACY_FROM + (_ACCURACY_TO - _ACCURACY_FROM) * place // len(compared.opened)
        progress.stage("accuracy", percent, f"Judging the answers against the labels: model {place + 1}")
        session = open_model(path, format, threads=compared.threads)
        with explained("run", {"model_path": str(path), "format": str(format)}):
            seconds = _MAX_ACCURACY_SECONDS / len(compared.opened)
            judged.append(judge(session, dataset.matched(session.inputs), max_seconds=seconds))
    return judged


def _delta(
    run: Mapping[str, Any], first: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return what a model has more or less than the first one; ``None`` for the first one itself.

    ``p50`` and ``size`` are relative, ``accuracy`` is the difference of the metric named first.
    """
    if run is first:
        return None
    metric = next(iter(first["accuracy"] or ()), None)
    mine = (run["accuracy"] or {}).get(metric)
    return {
        "p50": pairs[run["place"] - 1]["ratio_p50"] - 1.0,
        "size": run["size_bytes"] / first["size_bytes"] - 1.0,
        "accuracy": None if metric is None or mine is None else mine - first["accuracy"][metric],
        "metric": metric,
    }


def _store(compared: Compared, path: Path) -> None:
    """Write every sample.

    ``latency_ns_<start>_<place>`` holds the latencies of a model in one start, int64 of shape (runs,);
    ``block_ns_<start>`` the medians of its blocks, shape (rounds, 2, models): there and back.
    """
    arrays: dict[str, Any] = {}
    for number, start in enumerate(compared.starts):
        arrays[f"block_ns_{number}"] = start.blocks
        for place, latency_ns in enumerate(start.latency_ns):
            arrays[f"latency_ns_{number}_{place}"] = latency_ns
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
