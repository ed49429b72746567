"""Benchmarks of devices that are not here, and what a run says of those before it: from the request to the rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.engine.errors import EngineError
from edge_ai.models import (
    AnalysisJob,
    BenchmarkRun,
    DeviceProfile,
    Job,
    JobEvent,
    JobStatus,
    Queue,
    ResultKind,
    WebhookMessage,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import models
from edge_ai.services.benchmarks import BenchmarkRequest, submit_benchmark
from edge_ai.services.history import history_of, lineage_of
from edge_ai.services.packaging import facts_of
from edge_ai.worker import outcomes
from edge_ai.worker.babysitter import benchmark_slot, run_job
from tests.conftest import inside_as_system
from tests.edge_ai import factories


@pytest.fixture
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def board() -> DeviceProfile:
    return DeviceProfile.objects.get(slug="raspberry-pi-5")


def measured(owner: User, model: Any, p50_ms: float, *, days_ago: int, **fields: Any) -> BenchmarkRun:
    """A completed run, as the engine tells it."""
    result = {
        "kind": "measured",
        "latency_ms": {"p50": p50_ms, "ci95": [p50_ms * 0.995, p50_ms * 1.005]},
        "environment": {"threads": 1},
        "noise": {"verdict": "quiet"},
    }
    given: dict[str, Any] = {
        "status": "completed",
        "p50_ms": p50_ms,
        "result": result,
        "finished_at": timezone.now() - timedelta(days=days_ago),
    }
    return factories.make_benchmark(owner, model, **(given | fields))


@pytest.mark.usefixtures("_as_worker")
def test_a_device_that_is_not_here_is_estimated_by_a_job_of_its_own(owner: User, tmp_path: Any) -> None:
    model = models.upload_model(owner, file=SimpleUploadedFile("m.onnx", ONNX_MODEL.read_bytes()))
    run_job("ws_alpha", AnalysisJob.objects.get(model=model).pk)
    model.refresh_from_db()
    run = submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=board(), threads=2))
    assert (run.result_kind, run.queue) == (ResultKind.ESTIMATED, Queue.STUDIO)
    with benchmark_slot("ws_beta", uuid.uuid4()) as free:
        assert free
        run_job("ws_alpha", run.pk)
    run.refresh_from_db()
    assert run.status == JobStatus.COMPLETED, run.error
    result: dict[str, Any] = run.result or {}
    assert result["kind"] == "estimated" and result["latency_ms"]["samples"] is None
    assert run.estimated_ms == result["latency_ms"]["p50"] > 0
    assert (run.p50_ms, run.samples_blob_id) == (None, None)
    assert result["environment"]["threads"] == 2 and result["memory_fit"]["verdict"] == "fits"
    assert any("raspberrypi.com" in each["source"] for each in result["assumptions"]), "the catalogue's own sources"
    assert not history_of(owner, model=model).series, "what was estimated is no history"
    facts, _ = facts_of(owner, model=model)
    assert "measured" not in facts, "nor does a bundle's card call it measured"


@pytest.mark.usefixtures("_as_worker")
def test_numbers_of_the_two_kinds_stay_apart(owner: User) -> None:
    model, here = factories.make_model(owner), factories.host_device()
    estimated = factories.make_benchmark(
        owner, model, device_profile=board(), result_kind="estimated", status="completed", estimated_ms=3.0
    )
    original = measured(owner, model, 10.0, days_ago=1)
    for device, baseline in ((here, estimated), (board(), original), (board(), estimated)):
        with pytest.raises(EngineError) as refused:
            submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=device, baseline=baseline))
        assert (refused.value.code, refused.value.field) == ("kinds_differ", "baseline")
    for wrong in ({"p50_ms": 1.0}, {"baseline": original}):
        with pytest.raises(IntegrityError), transaction.atomic():
            BenchmarkRun.objects.filter(pk=estimated.pk).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        BenchmarkRun.objects.filter(pk=original.pk).update(estimated_ms=1.0)


@pytest.mark.usefixtures("_as_worker")
def test_what_carries_no_estimate_is_refused_with_what_is_missing(owner: User) -> None:
    model = factories.make_model(owner)
    bare = DeviceProfile.objects.get(slug="raspberry-pi-4-model-b")
    with pytest.raises(EngineError) as refused:
        submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=bare))
    assert refused.value.code == "device_not_here"
    assert (refused.value.details or {})["missing"] == ["peak_gflops_fp32", "memory_bandwidth_gb_s"]
    lite = factories.make_model(owner, format="tflite", file_name="m.tflite")
    with pytest.raises(EngineError) as other:
        submit_benchmark(owner, request=BenchmarkRequest(model=lite, device_profile=board()))
    assert other.value.code == "device_not_here" and "ONNX" in other.value.fix


def test_a_lineage_is_the_whole_family_as_far_as_one_sees_it(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside_as_system(alpha):
        root = factories.make_model(owner)
        child = factories.make_model(owner, parent=root)
        grandchild = factories.make_model(owner, parent=child)
        sibling = factories.make_model(owner, parent=root)
        factories.make_model(owner)
        whole = {root.pk, child.pk, grandchild.pk, sibling.pk}
        assert set(lineage_of(grandchild.pk)) == set(lineage_of(root.pk)) == whole
        shared = factories.make_model(owner, parent=root, visibility="workspace")
        measured(owner, shared, 10.0, days_ago=1, visibility="workspace")
        measured(owner, root, 10.0, days_ago=2)
        assert [len(series.runs) for series in history_of(owner, model=shared).series] == [2]
        assert [len(series.runs) for series in history_of(colleague, model=shared).series] == [1]


@pytest.mark.usefixtures("_as_worker")
def test_runs_with_other_settings_are_of_other_series(owner: User) -> None:
    model = factories.make_model(owner)
    small = factories.make_model(owner, parent=model, precision="qdq-int8")
    for each in (10.0, 10.1, 9.9):
        measured(owner, model, each, days_ago=3)
    measured(owner, small, 5.0, days_ago=2)
    measured(owner, model, 40.0, days_ago=1, batch_size=4)
    lengths = {
        (series.settings.precision, series.settings.batch_size): len(series.runs)
        for series in history_of(owner, model=small).series
    }
    assert lengths == {("qdq-int8", 1): 1, ("fp32", 1): 3, ("fp32", 4): 1}
    assert history_of(owner, model=small).series[0].settings.precision == "qdq-int8", "its own first"
    assert not any(series.changes for series in history_of(owner, model=small).series)


@pytest.mark.usefixtures("_as_worker")
def test_a_version_that_is_slower_raises_an_alert_once(owner: User, tmp_path: Any) -> None:
    factories.make_endpoint(owner)
    model = factories.make_model(owner)
    for days, each in ((5, 10.0), (4, 10.1), (3, 9.9)):
        measured(owner, model, each, days_ago=days)
    newer = factories.make_model(owner, parent=model)

    def finish(p50_ms: float) -> BenchmarkRun:
        token = uuid.uuid4()
        run = factories.make_benchmark(
            owner,
            newer,
            status="running",
            lease_token=token,
            lease_expires_at=ClockTimestamp() + timedelta(minutes=1),
        )
        samples = tmp_path / f"{run.pk}.npz"
        np.savez(samples, latency_ns=np.array([p50_ms * 1e6]))
        files = outcomes.collect(
            tmp_path, [{"role": "samples", "path": samples.name, "mime_type": "application/x-npz"}]
        )
        result = {
            "kind": "measured",
            "latency_ms": {"p50": p50_ms, "ci95": [p50_ms * 0.99, p50_ms * 1.01]},
            "environment": {"threads": 1},
            "noise": {"verdict": "quiet"},
            "comparison": None,
        }
        assert outcomes.complete(run.pk, token, result, files)
        run.refresh_from_db()
        return run

    slower = finish(13.0)
    found = (slower.result or {})["regression"]
    assert found["ratio_p50"] == pytest.approx(1.3, rel=0.01) and found["runs"] == 3
    (event,) = JobEvent.objects.filter(job=slower.pk, level="warning")
    assert event.message.startswith("Slower than before: 1.30 ×")
    told = WebhookMessage.objects.get(event_type="benchmark.regressed")
    body = json.loads(told.body)["data"]
    assert body["id"] == str(slower.pk) and body["result"]["regression"]["ratio_p50"] == found["ratio_p50"]
    assert body["result"]["kind"] == "measured"
    again = finish(13.1)
    assert (again.result or {})["regression"] is None, "it bears out what was told"
    assert WebhookMessage.objects.filter(event_type="benchmark.regressed").count() == 1
    (series,) = history_of(owner, model=model).series
    assert [run.judged.level for run in series.runs] == [0, 0, 0, 1, 1]
    assert [run.run_id for run in series.changes] == [slower.pk]
    assert Job.objects.filter(status=JobStatus.COMPLETED).count() == 5
