"""Packaging jobs in this process, with a real engine child: what is made, for whom, and what it tells."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.errors import EngineError
from edge_ai.models import AnalysisJob, Artifact, ArtifactType, Job, JobStatus, Model, PackagingJob
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import jobs, models
from edge_ai.services.packaging import PackagingRequest, facts_of, submit_packaging
from edge_ai.worker.babysitter import run_job
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results


@pytest.fixture
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def uploaded(owner: User) -> tuple[Model, Any]:
    """The sample, waiting for its analysis."""
    model = models.upload_model(owner, file=SimpleUploadedFile("digits.onnx", ONNX_MODEL.read_bytes()), name="Digits")
    return model, AnalysisJob.objects.get(model=model).pk


@pytest.mark.usefixtures("_as_worker")
def test_a_bundle_becomes_an_artifact(owner: User, settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACT_DAYS = 3
    model, analysis = uploaded(owner)
    waiting = submit_packaging(owner, request=PackagingRequest(model=model, visibility="workspace"))
    assert waiting.status == JobStatus.PENDING
    run_job("ws_alpha", analysis)
    run_job("ws_alpha", waiting.pk)
    job = PackagingJob.objects.get(pk=waiting.pk)
    assert job.status == JobStatus.COMPLETED, job.error
    result: dict[str, Any] = job.result or {}
    artifact = Artifact.objects.get(pk=result["artifact"])
    assert (artifact.artifact_type, artifact.file_name) == (ArtifactType.BUNDLE, "digits-bundle.zip")
    assert (artifact.owner_id, artifact.visibility, artifact.model_id) == (owner.pk, "workspace", model.pk)
    assert (artifact.size_bytes, artifact.target_language) == (result["size_bytes"], "python")
    assert artifact.expires_at is not None
    assert timedelta(days=2) < artifact.expires_at - artifact.created_at < timedelta(days=4)
    storage.copy_out(artifact.sha256, tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert archive.read("model.onnx") == ONNX_MODEL.read_bytes()
        assert archive.read("README.md").startswith(b"# Digits\n")
        assert json.loads(archive.read("bundle.json"))["sha256"] == model.sha256
        assert sorted(archive.namelist()) == [file["path"] for file in result["files"]]
    again = submit_packaging(owner, request=PackagingRequest(model=model))
    run_job("ws_alpha", again.pk)
    twin = Artifact.objects.exclude(pk=artifact.pk).get(artifact_type=ArtifactType.BUNDLE)
    assert twin.sha256 == artifact.sha256, "the same model gives the same bytes, which are stored once"


def test_a_card_tells_nothing_that_its_reader_may_not_read(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        source = factories.make_model(owner, name="Secret source")
        maker = factories.make_optimization(owner, source, **(results.ENDED | {"result": results.OPTIMIZED}))
        variant = factories.make_model(
            owner, parent=source, producer=maker, visibility="workspace", description="Shared."
        )
        factories.make_benchmark(owner, variant, **(results.ENDED | {"result": results.MEASURED, "p50_ms": 0.06}))
    with inside_as_system(alpha):
        facts, recipe = facts_of(owner, model=variant)
        assert recipe == results.OPTIMIZED["recipe"]
        assert facts["source"] == {"name": "Secret source", "sha256": source.sha256, "size_bytes": source.size_bytes}
        assert facts["made"]["latency_ratio"] == 0.7312
        assert facts["made"]["parity"]["sqnr_db"] == 38.63
        assert (facts["measured"]["runtime"], facts["measured"]["device"]) == ("onnxruntime 1.32.0", "Example CPU")
        assert facts_of(colleague, model=variant) == ({"description": "Shared."}, None)


def test_a_model_goes_with_its_bundles_and_not_under_one(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        submitted = submit_packaging(owner, request=PackagingRequest(model=model))
        with pytest.raises(EngineError) as refusal:
            models.delete_model(owner, model=model)
        assert refusal.value.code == "conflict"
        job = Job.objects.get(pk=submitted.pk)
        jobs.cancel_job(owner, job=job)
        assert jobs.retry_job(owner, job=job).status == JobStatus.QUEUED
        jobs.cancel_job(owner, job=job)
        models.delete_model(owner, model=model)
        assert not Job.objects.filter(pk=job.pk).exists()


def test_a_bundle_of_a_shared_model_is_its_askers_alone(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, visibility="workspace")
    with inside(alpha, colleague):
        theirs = submit_packaging(colleague, request=PackagingRequest(model=model))
        with pytest.raises(EngineError) as refusal:
            jobs.cancel_job(owner, job=Job.objects.get(pk=theirs.pk))
        assert refusal.value.code == "permission_denied"
