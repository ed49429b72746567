"""Jobs as their owners and their owners' colleagues know them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from accounts.models import User, Workspace
from edge_ai.engine.errors import EngineError
from edge_ai.models import BenchmarkRun, EventKind, Job, JobEvent, JobStatus, Model, OptimizationJob
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import benchmarks, jobs, models
from edge_ai.services.benchmarks import BenchmarkRequest, submit_benchmark
from edge_ai.services.jobs import record, settle
from edge_ai.services.optimizations import OptimizationRequest, submit_optimization
from edge_ai.worker.babysitter import lease
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories


def being_analysed(owner: User, **fields: Any) -> tuple[Model, Job]:
    """A model whose analysis waits for a worker."""
    model = factories.make_model(owner, status="uploaded", analysis=None, **fields)
    analysis = factories.make_analysis(owner, model, visibility=model.visibility)
    return model, Job.objects.get(pk=analysis.pk)


def messages_for(job: Any) -> list[tuple[str, ...]]:
    """The messages that name a job."""
    found = [SignedPackage.loads(row.payload) for row in OrmQ.objects.all()]
    return [tuple(task["args"]) for task in found if task["args"][1] == str(job.pk)]


def refused(code: str) -> Any:
    """Expect a refusal with a code."""
    return pytest.raises(EngineError, check=lambda error: error.code == code)


def test_a_job_is_sent_to_its_queue_with_its_workspace_and_nothing_else(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        request = BenchmarkRequest(model=factories.make_model(owner), device_profile=factories.host_device())
        run = submit_benchmark(owner, request=request)
        assert messages_for(run) == [(alpha.schema_name, str(run.pk))]
        assert OrmQ.objects.get().key == "benchmark"
        assert run.name == "digits on " + run.device_profile.name


def test_a_waiting_job_is_not_sent_until_its_analysis_is_done(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        model, analysis = being_analysed(owner)
        run = submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=factories.host_device()))
        assert (run.status, run.waits_for_id) == (JobStatus.PENDING, analysis.pk)
        assert messages_for(run) == []
    with inside_as_system(alpha):
        token = Job.objects.claim(analysis.pk, worker="w", lease=lease())
        assert token is not None
        assert Job.objects.complete(analysis.pk, token, result={})
        settle(analysis.pk)
    with inside(alpha, owner):
        run.refresh_from_db()
        assert run.status == JobStatus.QUEUED
        assert len(messages_for(run)) == 1


def test_a_colleagues_job_on_a_shared_model_waits_for_the_owners_analysis(
    owner: User, colleague: User, alpha: Workspace
) -> None:
    with inside(alpha, owner):
        model, analysis = being_analysed(owner)
        models.update_model(owner, model=model, fields={"visibility": "workspace"})
    with inside(alpha, colleague):
        assert not Job.objects.filter(pk=analysis.pk).exists(), "the analysis itself stays private"
        seen = Model.objects.get(pk=model.pk)
        device = factories.host_device()
        run = submit_benchmark(colleague, request=BenchmarkRequest(model=seen, device_profile=device))
        job = submit_optimization(
            colleague, request=OptimizationRequest(model=seen, device_profile=device, precision="fp16")
        )
        assert {run.status, job.status} == {JobStatus.PENDING}
        assert {run.waits_for_id, job.waits_for_id} == {analysis.pk}
        assert not Job.objects.filter(pk=analysis.pk).exists(), "and nobody's rights were widened for good"


def test_cancelling_an_analysis_ends_what_a_colleague_has_waiting(
    owner: User, colleague: User, alpha: Workspace
) -> None:
    with inside(alpha, owner):
        model, analysis = being_analysed(owner, visibility="workspace")
    with inside(alpha, colleague):
        request = BenchmarkRequest(model=Model.objects.get(pk=model.pk), device_profile=factories.host_device())
        run = submit_benchmark(colleague, request=request)
    with inside(alpha, owner):
        jobs.cancel_job(owner, job=analysis)
        assert not BenchmarkRun.objects.filter(pk=run.pk).exists(), "which is still none of the owner's business"
    with inside(alpha, colleague):
        run.refresh_from_db()
        assert run.status == JobStatus.FAILED
        assert run.error is not None and (run.error["code"], run.error["cause"]) == ("dependency_failed", "cancelled")


def test_a_job_run_again_waits_for_an_analysis_that_is_run_again(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        model, analysis = being_analysed(owner)
        device = factories.host_device()
        runs = [submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=device)) for _ in range(2)]
        job = submit_optimization(
            owner, request=OptimizationRequest(model=model, device_profile=device, precision="fp16")
        )
        jobs.cancel_job(owner, job=analysis)
        model.refresh_from_db()
        assert model.status == "failed"
        jobs.retry_job(owner, job=Job.objects.get(pk=analysis.pk))
        model.refresh_from_db()
        assert (model.status, model.error) == ("uploaded", None)
        for waiting in (*runs, job):
            again = jobs.retry_job(owner, job=Job.objects.get(pk=waiting.pk))
            assert (again.status, again.waits_for_id) == (JobStatus.PENDING, analysis.pk)
            assert messages_for(waiting) == []
        assert len(messages_for(analysis)) == 1


def test_a_job_run_again_on_a_ready_model_is_sent_at_once(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        job = Job.objects.get(pk=factories.make_optimization(owner).pk)
        jobs.cancel_job(owner, job=job)
        again = jobs.retry_job(owner, job=job)
        assert (again.status, again.attempt, again.error) == (JobStatus.QUEUED, 0, None)
        assert len(messages_for(job)) == 1


def test_cancelling_what_runs_asks_and_says_so(owner: User, alpha: Workspace) -> None:
    with inside_as_system(alpha):
        job = Job.objects.get(pk=factories.make_optimization(owner).pk)
        assert Job.objects.claim(job.pk, worker="w", lease=lease())
    with inside(alpha, owner):
        after = jobs.cancel_job(owner, job=job)
        assert (after.status, after.cancel_requested) == (JobStatus.RUNNING, True)
        assert JobEvent.objects.filter(job_id=job.pk).latest("id").message == "Cancellation asked for."
        with refused("conflict"):
            jobs.retry_job(owner, job=after)


def test_a_completed_job_is_neither_cancelled_nor_run_again(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        ended: dict[str, Any] = {
            "status": "completed",
            "progress": 100,
            "result": {},
            "finished_at": ClockTimestamp(),
        }
        job = Job.objects.get(pk=factories.make_optimization(owner, **ended).pk)
        with refused("conflict"):
            jobs.cancel_job(owner, job=job)
        with refused("conflict"):
            jobs.retry_job(owner, job=job)


def test_a_baseline_without_a_result_is_refused(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        model, device = factories.make_model(owner), factories.host_device()
        request = BenchmarkRequest(model=model, device_profile=device, baseline=factories.make_benchmark(owner, model))
        with refused("conflict"):
            submit_benchmark(owner, request=request)


@pytest.mark.parametrize(
    "fields",
    [{"threads": 0}, {"batch_size": 0}, {"min_seconds": 5, "max_seconds": 1}, {"max_seconds": 1e9}, {"warmup": -1}],
)
def test_a_budget_out_of_bounds_is_refused_before_anything_is_queued(
    owner: User, alpha: Workspace, fields: dict[str, Any]
) -> None:
    with inside(alpha, owner):
        request = BenchmarkRequest(model=factories.make_model(owner), device_profile=factories.host_device(), **fields)
        with refused("invalid_request"):
            submit_benchmark(owner, request=request)
        assert not BenchmarkRun.objects.exists()


def test_an_archived_model_takes_no_jobs(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, status="archived")
        with refused("conflict"):
            submit_optimization(
                owner,
                request=OptimizationRequest(model=model, device_profile=factories.host_device(), precision="fp16"),
            )
        assert not OptimizationJob.objects.exists()


def test_what_waits_goes_with_its_model_and_what_runs_keeps_it(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        model, analysis = being_analysed(owner)
        waiting = factories.make_benchmark(owner, model, status=JobStatus.PENDING, waits_for_id=analysis.pk)
        with refused("conflict"):
            models.delete_model(owner, model=model)
        Job.objects.filter(pk=analysis.pk).update(status="failed", error={"code": "x"}, finished_at=ClockTimestamp())
        models.delete_model(owner, model=model)
        assert not Job.objects.filter(pk__in=[waiting.pk, analysis.pk]).exists()
        assert not JobEvent.objects.filter(job_id=waiting.pk).exists()


def test_a_log_line_is_kept_whatever_is_in_it(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        job = factories.make_optimization(owner)
        record(job.pk, EventKind.LOG, message="a\0b" + "x" * 2000)
        assert JobEvent.objects.get(job_id=job.pk).message == "ab" + "x" * 998


def test_a_benchmark_waits_for_a_variant_that_is_not_made_yet(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        optimization = factories.make_optimization(owner)
        asked = benchmarks.of_variant(owner, optimization=optimization, device_profile=factories.host_device())
        run = benchmarks.submit_benchmark(owner, request=asked)
        assert (run.status, run.waits_for_id, run.model_id) == ("pending", optimization.pk, optimization.model_id)
    with inside_as_system(alpha), transaction.atomic():
        variant = factories.make_model(owner, parent=optimization.model, producer=optimization)
        token = Job.objects.claim(optimization.pk, worker="w", lease=timedelta(minutes=1))
        assert token is not None
        assert Job.objects.complete(optimization.pk, token, result={"model": str(variant.pk)})
        jobs.settle(optimization.pk)
    with inside(alpha, owner):
        run.refresh_from_db()
        assert (run.status, run.model_id) == ("queued", variant.pk)
        optimization.refresh_from_db()
        now = benchmarks.of_variant(owner, optimization=optimization, device_profile=factories.host_device())
        assert (now.model.pk, now.optimization_job) == (variant.pk, None), "it is there already"


def test_what_waits_for_a_failed_optimization_fails_with_all_behind_it(owner: User, alpha: Workspace) -> None:
    with inside(alpha, owner):
        analysis = factories.make_analysis(owner, factories.make_model(owner, status="uploaded", analysis=None))
        optimization = factories.make_optimization(owner, analysis.model, status="pending", waits_for=analysis)
        asked = benchmarks.of_variant(owner, optimization=optimization, device_profile=factories.host_device())
        run = benchmarks.submit_benchmark(owner, request=asked)
        jobs.cancel_job(owner, job=Job.objects.get(pk=analysis.pk))
        run.refresh_from_db()
        optimization.refresh_from_db()
        assert (optimization.status, run.status) == ("failed", "failed")
        assert run.error is not None
        assert run.error["code"] == "dependency_failed"
        with refused("conflict"):
            jobs.retry_job(owner, job=Job.objects.get(pk=run.pk))
        with refused("conflict"):
            benchmarks.submit_benchmark(owner, request=asked)
