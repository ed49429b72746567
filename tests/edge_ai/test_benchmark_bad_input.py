"""Benchmarks that cannot be made, through real workers: each ends with its code, and the next one runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_ai.engine.environments import environment_differences
from edge_ai.sample import ONNX_MODEL
from tests.conftest import ask
from tests.edge_ai.test_worker import API, FINAL, get, submit, upload, wait
from tests.engine.graphs import Axes, endless_loop, model_of, value
from tests.studio import RealStudio

pytestmark = pytest.mark.worker
BRIEFLY: dict[str, Any] = {"threads": 1, "min_seconds": 0.1, "max_seconds": 0.2, "profile_operators": False}


@pytest.fixture(scope="module")
def device(studio: RealStudio) -> str:
    """“This machine”."""
    return str(get(studio, "device-profiles/?page_size=200")["results"][0]["id"])


def send(studio: RealStudio, folder: Path, name: str, model: onnx.ModelProto) -> str:
    """Upload a model and have it analysed."""
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    made = wait(studio, f"models/{upload(studio, 'models/', path, name=name)['id']}/", "ready", "failed")
    assert made["status"] == "ready", made["error"]
    return str(made["id"])


def test_what_cannot_be_measured_ends_with_its_code_and_frees_its_place(
    studio: RealStudio, device: str, tmp_path: Path
) -> None:
    large = helper.make_node("Relu", ["x"], ["y"])
    shape: Axes = ["batch", 3, 16384, 16384]
    models = {
        "endless": send(studio, tmp_path, "endless", endless_loop()),
        "large": send(studio, tmp_path, "large", model_of([large], [value("x", shape)], [value("y", shape)])),
    }
    digits = upload(studio, "models/", ONNX_MODEL, name="digits")["id"]
    wait(studio, f"models/{digits}/", "ready")

    begun = time.monotonic()
    endless = submit(studio, "benchmarks/", model=models["endless"], device_profile=device, **BRIEFLY)
    # Asked for while that one runs: it is in nobody's way but that of the next measurement.
    refused = ask(
        studio,
        "POST",
        f"{API}benchmarks/",
        {"model": digits, "device_profile": device, "min_seconds": 0, "max_seconds": 0},
    )
    assert (refused.status, refused.body["code"]) == (422, "invalid_request")
    np.savez(tmp_path / "other.npz", bytes=np.zeros((3, 8, 8, 1), dtype=np.float32))
    other = upload(studio, "datasets/", tmp_path / "other.npz", name="of another model", kind="evaluation")["id"]
    refused = ask(studio, "POST", f"{API}benchmarks/", {"model": digits, "device_profile": device, "dataset": other})
    assert (refused.status, refused.body["code"]) == (422, "dataset_mismatch")
    large_run = submit(studio, "benchmarks/", model=models["large"], device_profile=device, batch_size=1024, **BRIEFLY)
    first = submit(studio, "benchmarks/", model=digits, device_profile=device, **BRIEFLY)

    ended = wait(studio, f"benchmarks/{endless['id']}/", *FINAL)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "resource_limit"), ended["error"]
    assert "far longer than its time budget" in ended["error"]["detail"]
    # One inference may take 20 s whatever the budget is; an hour is what a job may.
    assert time.monotonic() - begun < 80
    ended = wait(studio, f"benchmarks/{large_run['id']}/", *FINAL)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "resource_limit"), ended["error"]
    assert "batch of 1024" in ended["error"]["detail"]
    ended = wait(studio, f"benchmarks/{first['id']}/", *FINAL)
    assert ended["status"] == "completed", ended["error"]

    environment = ended["result"]["environment"]
    assert environment["sandbox_level"] == ended["sandbox_level"]
    assert environment["studio_version"]
    assert environment["libraries"]["onnxruntime"] == environment["onnxruntime"]
    again = submit(
        studio,
        "benchmarks/",
        model=digits,
        device_profile=device,
        baseline=first["id"],
        **BRIEFLY | {"batch_size": 2},
    )
    ended = wait(studio, f"benchmarks/{again['id']}/", *FINAL)
    comparison = ended["result"]["comparison"]
    assert comparison["against"] == first["id"]
    assert comparison["warnings"] == environment_differences(environment, ended["result"]["environment"])
    assert [each["field"] for each in comparison["warnings"]] == ["batch_size"]
