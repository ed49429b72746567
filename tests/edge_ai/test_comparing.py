"""Comparisons in this process, with a real engine child: what is measured, what is waited for, and what it tells."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.errors import EngineError
from edge_ai.fleet.models import BenchmarkSlot
from edge_ai.models import AnalysisJob, ComparisonJob, Job, JobStatus, Model, WebhookDelivery
from edge_ai.models.base import ClockTimestamp
from edge_ai.sample import ONNX_MODEL, TFLITE_MODEL
from edge_ai.services import jobs, models
from edge_ai.services.comparisons import ComparisonRequest, submit_comparison
from edge_ai.worker.babysitter import benchmark_slot, run_job
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories


@pytest.fixture
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def uploaded(owner: User, path: Path) -> tuple[Model, Any]:
    """A model of the sample, waiting for its analysis."""
    model = models.upload_model(owner, file=SimpleUploadedFile(path.name, path.read_bytes()), name=path.name)
    return model, AnalysisJob.objects.get(model=model).pk


def request_of(*compared: Model, **fields: Any) -> ComparisonRequest:
    defaults: dict[str, Any] = {"device_profile": factories.host_device(), "threads": 1, "max_seconds": 2.0}
    return ComparisonRequest(models=compared, **(defaults | fields))


@pytest.mark.usefixtures("_as_worker")
def test_two_formats_are_compared_once_both_are_analysed(owner: User) -> None:
    factories.make_endpoint(owner, events=["comparison.completed"])
    (first, one), (second, two) = uploaded(owner, ONNX_MODEL), uploaded(owner, TFLITE_MODEL)
    job = submit_comparison(owner, request=request_of(first, second))
    assert (job.status, job.waits_for_id) == (JobStatus.PENDING, one)
    run_job("ws_alpha", one)
    job.refresh_from_db()
    assert (job.status, job.waits_for_id) == (JobStatus.PENDING, two), "the other is waited for as well"
    run_job("ws_alpha", two)
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED
    with benchmark_slot("ws_alpha", second.pk) as free:
        assert free
        run_job("ws_alpha", job.pk)
        job.refresh_from_db()
        assert job.status == JobStatus.QUEUED, "only one measures at a time"
    Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
    run_job("ws_alpha", job.pk)
    job = ComparisonJob.objects.get(pk=job.pk)
    assert job.status == JobStatus.COMPLETED, job.error
    assert not BenchmarkSlot.objects.exclude(holder="").exists()
    result: dict[str, Any] = job.result or {}
    assert [(run["model"], run["name"]) for run in result["runs"]] == [
        (str(first.pk), "digits.onnx"),
        (str(second.pk), "digits.tflite"),
    ]
    (pair,) = result["pairs"]
    assert (pair["a"], pair["b"]) == (str(first.pk), str(second.pk))
    assert result["every_pair"] == [pair]
    assert job.samples_blob_id is not None
    with (
        storage.backend().open(storage.blob_name("ws_alpha", job.samples_blob_id)) as file,
        np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays,
    ):
        assert arrays["block_ns_0"].shape[1:] == (2, 2)
    (delivery,) = WebhookDelivery.objects.filter(event_type="comparison.completed").select_related("message")
    assert str(second.pk) in delivery.message.body


def test_a_comparison_fails_with_the_analysis_it_waits_for(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        ready = factories.make_model(owner)
        model, analysis = uploaded(owner, ONNX_MODEL)
        job = submit_comparison(owner, request=request_of(ready, model))
        assert job.waits_for_id == analysis
        jobs.cancel_job(owner, job=Job.objects.get(pk=analysis))
        job.refresh_from_db()
        assert (job.status, (job.error or {}).get("code")) == (JobStatus.FAILED, "dependency_failed")
        with pytest.raises(EngineError):
            submit_comparison(owner, request=request_of(ready, Model.objects.get(pk=model.pk)))


def test_a_model_goes_with_its_comparisons_and_not_under_one(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        first, second = factories.make_model(owner), factories.make_model(owner)
        job = submit_comparison(owner, request=request_of(first, second))
        with pytest.raises(EngineError) as refusal:
            models.delete_model(owner, model=second)
        assert refusal.value.code == "conflict"
        jobs.cancel_job(owner, job=Job.objects.get(pk=job.pk))
        assert jobs.retry_job(owner, job=Job.objects.get(pk=job.pk)).status == JobStatus.QUEUED
        jobs.cancel_job(owner, job=Job.objects.get(pk=job.pk))
        models.delete_model(owner, model=second)
        assert not Job.objects.filter(pk=job.pk).exists()
        assert Model.objects.filter(pk=first.pk).exists()
