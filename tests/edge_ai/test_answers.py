"""The same request again: whose answer it gets, and when it runs all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import User, Workspace
from config.database.identity import acting_as_system, acting_as_user
from edge_ai.engine.identity import library_versions
from edge_ai.models import (
    Artifact,
    ArtifactType,
    Job,
    JobEvent,
    JobStatus,
    Model,
    OptimizationJob,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import answers
from edge_ai.services.models import delete_model
from edge_ai.services.optimizations import (
    OptimizationRequest,
    earlier_answer,
    plan_optimization,
    run_afresh,
    submit_optimization,
)
from tests.conftest import inside
from tests.edge_ai import factories


@pytest.fixture(autouse=True)
def _inside(alpha: Workspace, owner: User) -> Iterator[None]:
    with inside(alpha, owner):
        yield


@pytest.fixture
def request_(owner: User) -> OptimizationRequest:
    """What the owner asks for."""
    return OptimizationRequest(
        model=factories.make_model(owner, visibility="workspace"),
        device_profile=factories.host_device(),
        dataset=factories.make_dataset(owner, visibility="workspace"),
        precision="int8",
    )


def complete(job: OptimizationJob) -> Model:
    """Let a queued job have its result, as a worker would."""
    with acting_as_system():
        variant = factories.make_model(job.owner, producer=job, parent=job.model, visibility=job.visibility)
        for kind in (ArtifactType.OPTIMIZED_MODEL, ArtifactType.RECIPE):
            factories.make_artifact(
                job.owner, variant, artifact_type=kind, optimization_job=job, visibility=job.visibility
            )
        result = {"precision": "int8", "model": str(variant.pk), "passes": []}
        Job.objects.filter(pk=job.pk).update(
            status=JobStatus.COMPLETED,
            progress=100,
            started_at=ClockTimestamp(),
            finished_at=ClockTimestamp(),
            attempt=1,
            result=result,
        )
    job.refresh_from_db()
    return variant


@pytest.fixture
def done(owner: User, request_: OptimizationRequest) -> OptimizationJob:
    """The job that did it."""
    job = submit_optimization(owner, request=request_)
    assert job.status == JobStatus.QUEUED and job.cache_key and job.answered_by_id is None
    complete(job)
    return job


def test_the_same_request_is_answered_at_once(
    owner: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    job = submit_optimization(owner, request=replace(request_, name="Again"))
    assert (job.status, job.answered_by_id, job.result) == (JobStatus.COMPLETED, done.pk, done.result)
    assert (job.name, job.progress, job.attempt, job.started_at) == ("Again", 100, 0, None)
    assert job.finished_at is not None and job.cache_key == done.cache_key
    (line,) = JobEvent.objects.filter(job=job.pk)
    assert line.stage == "completed" and line.message.startswith(f"Answered from job {done.pk}")
    assert Model.objects.filter(producer=job.pk).count() == 0, "the variant is that of the job that ran"
    third = submit_optimization(owner, request=request_)
    assert third.answered_by_id == done.pk, "never an answer of an answer"


def test_asked_afresh_it_runs_and_the_latest_answers(
    owner: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    plan = plan_optimization(owner, request=request_)
    assert earlier_answer(owner, request=request_, plan=plan) == done
    fresh = replace(request_, fresh=True)
    assert earlier_answer(owner, request=fresh, plan=plan) is None
    job = submit_optimization(owner, request=fresh)
    assert (job.status, job.answered_by_id) == (JobStatus.QUEUED, None)
    answered = submit_optimization(owner, request=request_)
    assert answered.answered_by_id == done.pk, "what has not ended answers nothing"
    complete(job)
    assert submit_optimization(owner, request=request_).answered_by_id == job.pk
    again = run_afresh(owner, job=answered)
    assert (again.status, again.answered_by_id, again.cache_key) == (JobStatus.QUEUED, None, done.cache_key)


def test_auto_and_what_it_stands_for_are_one_request(
    owner: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    assert submit_optimization(owner, request=replace(request_, precision="auto")).answered_by_id == done.pk
    defaults = replace(request_, options={"seed": 0, "search": True})
    assert submit_optimization(owner, request=defaults).answered_by_id == done.pk


def test_another_request_runs(owner: User, request_: OptimizationRequest, done: OptimizationJob) -> None:
    changes: list[dict[str, Any]] = [
        {"model": factories.make_model(owner)},
        {"model": factories.make_model(owner, blob=request_.model.blob, sha256=request_.model.sha256)},
        {"dataset": factories.make_dataset(owner)},
        {"device_profile": factories.make_device(owner, formats=["onnx"], precisions=["int8"])},
        {"target_format": "ort"},
        {"precision": "fp16"},
        {"optimization_level": "size"},
        {"options": {"seed": 1}},
    ]
    for change in changes:
        assert submit_optimization(owner, request=replace(request_, **change)).answered_by_id is None, change


def test_other_libraries_or_another_engine_give_another_answer(
    owner: User, request_: OptimizationRequest, done: OptimizationJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = library_versions()
    monkeypatch.setattr(answers, "library_versions", lambda: versions | {"onnxruntime": "0.0.1"})
    assert submit_optimization(owner, request=request_).answered_by_id is None
    monkeypatch.setattr(answers, "library_versions", lambda: versions)
    assert submit_optimization(owner, request=request_).answered_by_id == done.pk
    monkeypatch.setattr(answers, "code_sha256", lambda: "0" * 64)
    assert submit_optimization(owner, request=request_).answered_by_id is None


def test_without_its_variant_or_its_files_a_job_answers_nothing(
    owner: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    def answered() -> bool:
        with transaction.atomic():
            found = submit_optimization(owner, request=request_).answered_by_id == done.pk
            transaction.set_rollback(True)
        return found

    assert answered()
    recipe = Artifact.objects.get(optimization_job=done, artifact_type=ArtifactType.RECIPE)
    Artifact.objects.filter(pk=recipe.pk).update(expires_at=ClockTimestamp())
    assert not answered(), "expired"
    Artifact.objects.filter(pk=recipe.pk).update(expires_at=None)
    assert answered()
    Model.objects.filter(producer=done).update(status="archived")
    assert not answered(), "archived"
    Model.objects.filter(producer=done).delete()
    assert not answered(), "deleted"


def test_a_model_that_is_still_analysed_waits(owner: User, request_: OptimizationRequest) -> None:
    model = factories.make_model(owner, status="uploaded", analysis=None)
    factories.make_analysis(owner, model)
    job = submit_optimization(owner, request=replace(request_, model=model))
    assert (job.status, job.cache_key) == (JobStatus.PENDING, "")


def test_a_colleague_s_private_job_answers_nobody_else(
    alpha: Workspace, owner: User, colleague: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    with acting_as_user(colleague.pk):
        job = submit_optimization(colleague, request=request_)
        assert (job.status, job.answered_by_id) == (JobStatus.QUEUED, None)


@pytest.fixture
def shared(owner: User, request_: OptimizationRequest) -> OptimizationJob:
    """A job that the workspace sees, with its variant and files."""
    job = submit_optimization(owner, request=replace(request_, visibility="workspace"))
    complete(job)
    return job


def test_a_shared_job_answers_a_colleague_as_long_as_its_variant_is_shared(
    owner: User, colleague: User, request_: OptimizationRequest, shared: OptimizationJob
) -> None:
    with acting_as_user(colleague.pk):
        job = submit_optimization(colleague, request=request_)
        assert (job.status, job.answered_by_id, job.owner_id) == (JobStatus.COMPLETED, shared.pk, colleague.pk)
    Model.objects.filter(producer=shared).update(visibility="private")
    with acting_as_user(colleague.pk):
        assert submit_optimization(colleague, request=request_).answered_by_id is None


def test_what_others_will_see_is_not_answered_with_what_they_may_not(
    owner: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    job = submit_optimization(owner, request=replace(request_, visibility="workspace"))
    assert (job.status, job.answered_by_id) == (JobStatus.QUEUED, None)


def test_another_workspace_knows_nothing_of_it(
    beta: Workspace, outsider: User, request_: OptimizationRequest, shared: OptimizationJob
) -> None:
    with inside(beta, outsider):
        blob = factories.make_blob()
        request = OptimizationRequest(
            model=factories.make_model(outsider, sha256=request_.model.sha256, blob=blob),
            device_profile=factories.host_device(),
            dataset=factories.make_dataset(outsider, sha256=getattr(request_.dataset, "sha256", "")),
            precision="int8",
        )
        job = submit_optimization(outsider, request=request)
        assert job.answered_by_id is None
        # Not even where the rows had the same ids, which nothing keeps from happening.
        Job.objects.filter(pk=job.pk).update(cache_key=shared.cache_key)
        assert answers.earlier_answer(outsider, shared.cache_key, visibility="private") is None


def test_a_model_goes_with_its_jobs_answered_ones_among_them(
    owner: User, request_: OptimizationRequest, done: OptimizationJob
) -> None:
    job = submit_optimization(owner, request=request_)
    assert job.answered_by_id == done.pk
    delete_model(owner, model=request_.model)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert not Job.objects.filter(pk__in=[job.pk, done.pk]).exists()


@pytest.mark.usefixtures("shared")
def test_a_colleague_s_answered_job_is_a_use_of_the_model_like_any_other(
    colleague: User, owner: User, request_: OptimizationRequest
) -> None:
    with acting_as_user(colleague.pk):
        assert submit_optimization(colleague, request=request_).answered_by_id is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        delete_model(owner, model=request_.model)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
