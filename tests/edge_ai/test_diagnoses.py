"""Diagnoses in this process, with a real engine child: what is found, what its remedy runs, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import onnx
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from onnx import numpy_helper

from accounts.models import User, Workspace
from edge_ai.engine.errors import EngineError
from edge_ai.fleet.models import BenchmarkSlot
from edge_ai.models import (
    AnalysisJob,
    DiagnosisJob,
    Job,
    JobStatus,
    Model,
    Queue,
    WebhookEvent,
    WebhookMessage,
)
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import jobs, models
from edge_ai.services.diagnoses import DiagnosisRequest, run_fix, submit_diagnosis
from edge_ai.worker.babysitter import benchmark_slot, run_job
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results


@pytest.fixture
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def uploaded(owner: User, content: bytes, name: str) -> tuple[Model, Any]:
    model = models.upload_model(owner, file=SimpleUploadedFile(name, content), name=name)
    return model, AnalysisJob.objects.get(model=model).pk


def ruined() -> bytes:
    """The sample with weights of its first layer that are far too large."""
    model = onnx.load(ONNX_MODEL)
    first = next(tensor for tensor in model.graph.initializer if len(tensor.dims) > 1)
    values = numpy_helper.to_array(first)
    first.CopyFrom(numpy_helper.from_array((values[::-1] * 5).astype(values.dtype), first.name))
    held = io.BytesIO()
    onnx.save(model, held)
    return held.getvalue()


@pytest.mark.usefixtures("_as_worker")
def test_a_wrong_variant_is_told_apart_and_its_remedy_runs(owner: User) -> None:
    factories.make_endpoint(owner, events=["diagnosis.completed"])
    baseline, first = uploaded(owner, ONNX_MODEL.read_bytes(), "digits.onnx")
    variant, second = uploaded(owner, ruined(), "ruined.onnx")
    host = factories.host_device()
    wanted = DiagnosisRequest(model=variant, baseline=baseline, device_profile=host, threads=1, max_seconds=0.5)
    waiting = submit_diagnosis(owner, request=wanted)
    assert (waiting.status, waiting.queue, waiting.waits_for_id) == (JobStatus.PENDING, Queue.BENCHMARK, second)
    run_job("ws_alpha", first)
    run_job("ws_alpha", second)
    run_job("ws_alpha", waiting.pk)
    job = DiagnosisJob.objects.get(pk=waiting.pk)
    assert job.status == JobStatus.COMPLETED, job.error
    result: dict[str, Any] = job.result or {}
    assert result["question"] in {"wrong", "both"}
    assert min(layer["sqnr_db"] for layer in result["layers"] if layer["sqnr_db"] is not None) < 20
    place, finding = next((n, one) for n, one in enumerate(result["findings"]) if one["code"] == "outputs_differ")
    assert finding["fix_job"] | {"name": ""} == {
        "model": str(baseline.pk),
        "device_profile": str(host.pk),
        "dataset": None,
        "target_format": "onnx",
        "precision": "fp16",
        "optimization_level": "balanced",
        "options": {},
        "name": "",
    }
    fix = run_fix(owner, job=job, place=place)
    run_job("ws_alpha", fix.pk)
    fix.refresh_from_db()
    assert fix.status == JobStatus.COMPLETED, fix.error
    assert (fix.result or {})["parity"]["sqnr_db"] > 40
    with pytest.raises(EngineError) as refusal:
        run_fix(owner, job=job, place=99)
    assert refusal.value.code == "conflict"
    told = WebhookMessage.objects.get(event_type=WebhookEvent.DIAGNOSIS_COMPLETED)
    assert '"question":' in told.body and str(baseline.pk) in told.body


def test_it_takes_the_hosts_slot_as_benchmarks_do(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        job = factories.make_diagnosis(owner)
        with benchmark_slot("ws_alpha", factories.make_benchmark(owner).pk) as free:
            assert free and BenchmarkSlot.objects.exists()
            run_job("ws_alpha", job.pk)
        row = Job.objects.get(pk=job.pk)
    assert (row.status, row.attempt) == (JobStatus.QUEUED, 0)


def test_what_cannot_be_told_is_refused(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        alone, other = factories.make_model(owner), factories.make_model(owner)
        variant = factories.make_model(owner, parent=alone)
        host, board = factories.host_device(), factories.make_device(owner)
        shape = {"name": "image", "dtype": "float32", "shape": [64, 3]}
        header = factories.HEADER | {"arrays": [shape], "has_labels": False}
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"model": alone}, "invalid_request", "baseline"),
            ({"model": alone, "baseline": alone}, "invalid_request", "baseline"),
            ({"model": variant, "device_profile": board}, "device_not_here", "device_profile"),
            ({"model": factories.make_model(owner, format="coreml", parent=alone)}, "unsupported_conversion", "model"),
            ({"model": variant, "threads": 0}, "invalid_request", "threads"),
            ({"model": variant, "max_seconds": 1e9}, "invalid_request", "max_seconds"),
            (
                {"model": variant, "dataset": factories.make_dataset(owner, header=header)},
                "dataset_mismatch",
                "dataset",
            ),
        ]
        for fields, code, field in cases:
            with pytest.raises(EngineError) as refusal:
                submit_diagnosis(owner, request=DiagnosisRequest(**({"device_profile": host} | fields)))
            assert (refusal.value.code, refusal.value.field) == (code, field), fields
        made = submit_diagnosis(owner, request=DiagnosisRequest(model=variant, device_profile=host))
        assert (made.baseline_id, made.status, made.name) == (alone.pk, "queued", "Why digits")
        job = Job.objects.get(pk=made.pk)
        assert jobs.cancel_job(owner, job=job).status == JobStatus.CANCELLED
        assert jobs.retry_job(owner, job=job).status == JobStatus.QUEUED
        against = submit_diagnosis(owner, request=DiagnosisRequest(model=variant, baseline=other, device_profile=host))
        models.delete_model(owner, model=other)
    with inside_as_system(alpha):
        run_job("ws_alpha", against.pk)
        gone = Job.objects.get(pk=against.pk)
    assert (gone.status, (gone.error or {})["code"]) == (JobStatus.FAILED, "conflict")


def test_a_variant_is_fed_what_it_was_made_with(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        original, other = factories.make_model(owner), factories.make_model(owner)
        samples, given = factories.make_dataset(owner), factories.make_dataset(owner)
        made_by = factories.make_optimization(owner, original, dataset=samples)
        variant = factories.make_model(owner, parent=original, producer=made_by)
        host = factories.host_device()
        for fields, fed in (({}, samples), ({"dataset": given}, given), ({"baseline": other}, None)):
            request = DiagnosisRequest(model=variant, device_profile=host, **fields)
            assert submit_diagnosis(owner, request=request).dataset == fed, fields


def test_a_remedy_of_what_was_deleted_is_refused(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        baseline = factories.make_model(owner)
        variant = factories.make_model(owner, parent=baseline)
        job = factories.make_diagnosis(
            owner, variant, baseline=baseline, **(results.ENDED | {"result": results.diagnosed(baseline)})
        )
        models.delete_model(owner, model=baseline)
        with pytest.raises(EngineError) as refusal:
            run_fix(owner, job=job, place=0)
        assert "has been deleted" in refusal.value.message
