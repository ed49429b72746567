"""What can be done, without a browser or an API in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django_q.models import OrmQ

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.engine.errors import EngineError
from edge_ai.models import AnalysisJob, Blob, Dataset, DeviceProfile, Job, JobStatus, Model, OptimizationJob
from edge_ai.sample import CALIBRATION_DATA, ONNX_MODEL
from edge_ai.services import datasets, devices, jobs, models
from edge_ai.services.benchmarks import BenchmarkRequest, submit_benchmark
from edge_ai.services.optimizations import OptimizationRequest, plan_optimization, submit_optimization
from edge_ai.worker.tasks import sync_templates
from tests.conftest import inside
from tests.edge_ai import factories


@pytest.fixture(autouse=True)
def _as_owner(alpha: Workspace, owner: User) -> Iterator[None]:
    with inside(alpha, owner):
        yield


def sent(path: Path) -> SimpleUploadedFile:
    """A file as a form brings it."""
    return SimpleUploadedFile(path.name, path.read_bytes())


def uploads() -> list[Path]:
    """What lies in the upload folder."""
    return [path for path in settings.UPLOAD_DIR.iterdir() if path.is_file()]


def test_an_uploaded_model_is_stored_and_its_analysis_queued_in_one_go(owner: User) -> None:
    before = OrmQ.objects.filter(key="studio").count()
    model = models.upload_model(owner, file=sent(ONNX_MODEL), name=" my digits ", tags=["a"])
    assert (model.name, model.format, model.status) == ("my digits", "onnx", "uploaded")
    assert model.size_bytes == ONNX_MODEL.stat().st_size
    assert AnalysisJob.objects.get(model=model).status == JobStatus.QUEUED
    assert OrmQ.objects.filter(key="studio").count() == before + 1
    assert uploads() == []


@pytest.mark.parametrize(
    ("name", "content", "code", "found"),
    [
        ("model.onnx", b"just some text, line after line\n" * 50, "model_unreadable", "plain text"),
        ("model.onnx", b"\x89PNG\r\n\x1a\n" + bytes(600), "model_unreadable", "PNG"),
        ("model.pt", b"\x80\x04\x95" + bytes(600), "model_unsafe", "pickle"),
        ("model.onnx", b"", "invalid_request", "empty"),
    ],
)
def test_nothing_is_left_of_a_file_that_is_refused(
    owner: User, name: str, content: bytes, code: str, found: str
) -> None:
    rows = (Model.objects.count(), Blob.objects.count(), Job.objects.count())
    with pytest.raises(EngineError) as refused:
        models.upload_model(owner, file=SimpleUploadedFile(name, content))
    assert refused.value.code == code
    assert found in str(refused.value)
    assert (Model.objects.count(), Blob.objects.count(), Job.objects.count()) == rows
    assert uploads() == []


def test_a_data_set_is_described_from_its_directory(owner: User) -> None:
    dataset = datasets.upload_dataset(owner, file=sent(CALIBRATION_DATA), kind="calibration")
    assert dataset.sample_count == 200
    assert "image" in {array["name"] for array in dataset.header["arrays"]}
    with pytest.raises(EngineError) as refused:
        datasets.upload_dataset(owner, file=sent(ONNX_MODEL))
    assert refused.value.code == "dataset_unreadable"
    assert Dataset.objects.count() == 1


def test_an_optimization_of_a_ready_model_is_queued(owner: User) -> None:
    request = OptimizationRequest(
        model=factories.make_model(owner), device_profile=factories.host_device(), dataset=factories.make_dataset(owner)
    )
    plan = plan_optimization(owner, request=request)
    assert plan is not None and plan.route == ("onnx", "onnx")
    job = submit_optimization(owner, request=request)
    assert (job.status, job.precision, job.waits_for_id) == ("queued", "int8", None)


def test_jobs_of_a_model_that_is_being_analysed_wait(owner: User) -> None:
    model = models.upload_model(owner, file=sent(ONNX_MODEL))
    analysis = AnalysisJob.objects.get(model=model)
    device = factories.host_device()
    job = submit_optimization(owner, request=OptimizationRequest(model=model, device_profile=device, precision="fp16"))
    run = submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=device))
    assert (job.status, job.waits_for_id) == ("pending", analysis.pk)
    assert (run.status, run.waits_for_id) == ("pending", analysis.pk)


def test_what_can_never_work_is_refused_with_the_nearest_that_does(owner: User) -> None:
    model, device = factories.make_model(owner), factories.host_device()
    stranger = factories.make_dataset(
        owner,
        header={
            "arrays": [{"name": "bytes", "dtype": "int32", "shape": [60, 2048]}],
            "samples": 60,
            "has_labels": False,
        },
    )
    cases = [
        ({"precision": "int8"}, "dataset_required"),
        ({"precision": "int8", "dataset": stranger}, "dataset_mismatch"),
        ({"precision": "int16x8"}, "unsupported_precision"),
        ({"target_format": "gguf"}, "unsupported_conversion"),
        ({"target_format": "coreml"}, "unsupported_conversion"),
    ]
    for fields, code in cases:
        with pytest.raises(EngineError) as refused:
            submit_optimization(owner, request=OptimizationRequest(model=model, device_profile=device, **fields))  # type: ignore[arg-type]
        assert refused.value.code == code
        assert refused.value.fix
        assert refused.value.details, "the nearest, or what is expected"
    assert not OptimizationJob.objects.exists()
    board = DeviceProfile.objects.get(slug="raspberry-pi-4-model-b")
    with pytest.raises(EngineError) as elsewhere:
        submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=board))
    assert elsewhere.value.code == "device_not_here"


def test_a_model_that_could_not_be_read_is_refused_with_its_own_code(owner: User) -> None:
    error = {"code": "external_data_missing", "detail": "The weights are missing.", "fix": "Save them inside."}
    model = factories.make_model(owner, status="failed", analysis=None, error=error)
    with pytest.raises(EngineError) as refused:
        submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=factories.host_device()))
    assert refused.value.code == "external_data_missing"


def test_a_job_is_cancelled_and_run_again_by_its_owner_only(owner: User, colleague: User) -> None:
    job = Job.objects.get(pk=factories.make_optimization(owner, visibility="workspace").pk)
    with pytest.raises(EngineError) as refused:
        jobs.cancel_job(colleague, job=job)
    assert refused.value.code == "permission_denied"
    assert jobs.cancel_job(owner, job=job).status == JobStatus.CANCELLED
    with pytest.raises(EngineError) as ended:
        jobs.cancel_job(owner, job=job)
    assert ended.value.code == "conflict"
    assert jobs.retry_job(owner, job=job).status == JobStatus.QUEUED
    with pytest.raises(EngineError) as again:
        jobs.retry_job(owner, job=job)
    assert again.value.code == "conflict"


def test_a_model_takes_its_jobs_along_and_leaves_its_variants(owner: User) -> None:
    model = factories.make_model(owner)
    job = factories.make_optimization(owner, model)
    variant = factories.make_model(owner, parent=model, producer=job)
    with pytest.raises(EngineError) as busy:
        models.delete_model(owner, model=model)
    assert busy.value.code == "conflict"
    jobs.cancel_job(owner, job=Job.objects.get(pk=job.pk))
    models.delete_model(owner, model=model)
    assert not Job.objects.filter(pk=job.pk).exists()
    variant.refresh_from_db()
    assert (variant.parent_id, variant.producer_id) == (None, None)


def test_a_template_is_changed_by_staff_and_reaches_every_workspace(
    owner: User, alpha: Workspace, beta: Workspace, outsider: User
) -> None:
    assert devices.sync_templates() == 0, "nothing has changed since the workspaces were made"
    board = DeviceProfile.objects.get(slug="raspberry-pi-5")
    with pytest.raises(EngineError) as refused:
        devices.update_profile(owner, profile=board, fields={"name": "mine"})
    assert refused.value.code == "permission_denied"
    with acting_as_system():
        DeviceTemplate.objects.filter(slug="raspberry-pi-5").update(description="Edited by staff.", edited=True)
    sync_templates()
    for workspace, user in ((alpha, owner), (beta, outsider)):
        with inside(workspace, user):
            assert DeviceProfile.objects.get(slug="raspberry-pi-5").description == "Edited by staff."
    with acting_as_system():
        assert DeviceTemplate.objects.get(slug="raspberry-pi-5").description == "Edited by staff.", (
            "the file does not win"
        )


def test_a_profile_of_ones_own(owner: User) -> None:
    profile = devices.create_profile(
        owner, fields={"name": "My board", "category": "single_board_computer", "is_host": True}
    )
    assert (profile.owner_id, profile.is_template, profile.is_host) == (owner.pk, False, False)
    assert devices.update_profile(owner, profile=profile, fields={"memory_mb": 512}).memory_mb == 512
    factories.make_benchmark(owner, device_profile=profile)
    with pytest.raises(EngineError) as used:
        devices.delete_profile(owner, profile=profile)
    assert used.value.code == "conflict"
