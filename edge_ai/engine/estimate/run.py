"""The estimate as a job: has ONNX Runtime say which operators it makes of the model, and estimates those."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from edge_ai.engine.estimate.coefficients import load_fit
from edge_ai.engine.estimate.estimate import estimate
from edge_ai.engine.estimate.machine import Machine, check_estimable
from edge_ai.engine.estimate.trace import trace
from edge_ai.engine.progress import Progress
from edge_ai.engine.spec import EstimateSpec, Format

_PROFILE: Final = "trace"


def run_estimate(spec: EstimateSpec, workdir: Path, progress: Progress) -> dict[str, Any]:
    """Estimate a model on a device that is not here.

    Parameters
    ----------
    spec
        What to estimate; its paths are relative to ``workdir``.
    workdir
        A writable folder for the runtime's profile.
    progress
        Told which step has begun.

    Returns
    -------
    dict
        The benchmark result of the API, kind "estimated".

    Raises
    ------
    EngineError
        ``device_not_here`` where the device's numbers do not carry an estimate, and what loading and running a model raise.
    """
    machine = Machine.from_json(spec.machine)
    check_estimable(spec.format, machine)
    # What runs models is only loaded for what can be estimated.
    from edge_ai.engine.evaluate.dataset import load_dataset
    from edge_ai.engine.measure.inputs import dataset_feeds, made_up_feeds, require_batch
    from edge_ai.engine.runtime import open_model

    progress.stage("trace", 5, "Asking ONNX Runtime which operators it makes of the model")
    model = workdir / spec.model_path
    inputs = open_model(model, spec.format, threads=1, optimize=False).inputs
    require_batch(inputs, spec.batch_size)
    if spec.dataset_path is None:
        feeds = made_up_feeds(inputs, spec.batch_size)
    else:
        feeds = dataset_feeds(inputs, load_dataset(workdir / spec.dataset_path).matched(inputs), spec.batch_size)
    feed = {item.name: feeds[0][item.name] for item in inputs}
    traced = trace(model, ort_format=spec.format is Format.ORT, feeds=[feed], prefix=workdir / _PROFILE)
    progress.stage("estimate", 80, f"Estimating {len(traced)} operators on {machine.name}")
    fit = load_fit()
    estimated = estimate(
        [each.work for each in traced],
        machine,
        fit,
        threads=spec.threads,
        batch_size=spec.batch_size,
        held_bytes=spec.held_bytes,
        format=spec.format,
    )
    return estimated.to_json() | {
        "input": {
            "kind": "random" if spec.dataset_path is None else "dataset",
            "shapes": {name: list(value.shape) for name, value in feed.items()},
        }
    }
