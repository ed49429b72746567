"""Many optimizations at once: every combination, all or nothing, and the same request only once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.fleet.models import Ticket
from edge_ai.models import Job, JobEvent, Model, OptimizationBatch, OptimizationJob
from edge_ai.services import batches as service
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results


@pytest.fixture(autouse=True)
def _inside(alpha: Workspace, owner: User) -> Iterator[None]:
    with inside(alpha, owner):
        yield


def wanted(owner: User, count: int = 2, **fields: Any) -> service.BatchRequest:
    """Models in two precisions on this machine, of which int4 cannot work."""
    usual: dict[str, Any] = {
        "models": [factories.make_model(owner, name=f"net {place}") for place in range(count)],
        "device_profiles": [factories.host_device()],
        "precisions": ["fp16", "fp32"],
    }
    return service.BatchRequest(**(usual | fields))


def test_every_combination_that_works_is_a_job_and_the_others_are_told(owner: User) -> None:
    request = wanted(owner, name="Nightly", optimization_level="size", priority=2)
    made = service.submit_batch(owner, request=request)
    assert made.now
    jobs = list(OptimizationJob.objects.filter(batch=made.batch).order_by("created_at"))
    assert [(job.model, job.precision, job.status) for job in jobs] == [
        (request.models[0], "fp16", "queued"),
        (request.models[1], "fp16", "queued"),
    ]
    assert {(job.optimization_level, job.priority) for job in jobs} == {("size", 2)}
    assert jobs[0].name == "Nightly: net 0 → onnx fp16 for This machine"
    with acting_as_system():
        assert Ticket.objects.filter(job_id__in=[job.pk for job in jobs]).count() == 2
    assert [(each["model_name"], each["precision"], each["code"]) for each in made.batch.refused] == [
        ("net 0", "fp32", "unsupported_precision"),
        ("net 1", "fp32", "unsupported_precision"),
    ]
    assert made.batch.refused[0]["nearest"] == {"target_format": "onnx", "precision": "fp16"}


def test_each_model_keeps_its_own_format_unless_one_is_named(owner: User) -> None:
    lite = factories.make_model(owner, format="tflite")
    both = [factories.make_model(owner), lite]
    device = factories.host_device()
    plan = service.plan_batch(
        owner, request=service.BatchRequest(models=both, device_profiles=[device], precisions=["fp16"])
    )
    targets = [one.target_format for one, _ in plan.planned] + [each.target_format for each in plan.refused]
    assert sorted(targets) == ["onnx", "tflite"]


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"precisions": ["fp32"]}, "batch_refused", "None of the combinations can work."),
        ({"strict": True}, "batch_refused", "2 of the 4 combinations cannot work."),
        ({"precisions": []}, "invalid_request", "nothing to combine"),
        ({"options": {"cluster": 7}}, "invalid_request", "options.cluster"),
    ],
)
def test_what_can_never_work_as_a_whole_is_refused_and_nothing_is_left(
    fields: dict[str, Any], code: str, said: str, owner: User
) -> None:
    with pytest.raises(UserInputError) as refused:
        service.submit_batch(owner, request=wanted(owner, **fields))
    assert refused.value.code == code
    assert said in refused.value.message
    if code == "batch_refused":
        assert len(refused.value.details["refused"]) == 2  # type: ignore[index]  # it has them
    assert not OptimizationBatch.objects.exists()
    assert not OptimizationJob.objects.exists()


def test_more_than_a_hundred_are_too_many(owner: User) -> None:
    with pytest.raises(UserInputError) as refused:
        service.plan_batch(owner, request=wanted(owner, 51))
    assert "102 combinations; at most 100" in refused.value.message


def test_a_fault_in_the_middle_leaves_nothing(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    request = wanted(owner)

    def fails(jobs: list[Job], **_: Any) -> None:
        assert Job.objects.filter(pk__in=[job.pk for job in jobs]).count() == len(jobs) == 2
        raise RuntimeError("the machine is switched off")

    monkeypatch.setattr("edge_ai.services.queue.submit_all", fails)
    with pytest.raises(RuntimeError):
        service.submit_batch(owner, request=request)
    assert not OptimizationBatch.objects.exists()
    assert not Job.objects.filter(kind="optimization").exists()
    assert not JobEvent.objects.exists()


def test_the_same_request_within_a_day_is_the_same_batch(owner: User, colleague: User, alpha: Workspace) -> None:
    request = wanted(owner)
    first = service.submit_batch(owner, request=request)
    again = service.submit_batch(owner, request=request)
    assert (again.batch, again.now) == (first.batch, False)
    assert OptimizationJob.objects.count() == 2
    other = service.submit_batch(owner, request=wanted(owner, models=request.models, name="Other"))
    assert other.now
    service.cancel_batch(owner, batch=first.batch)
    assert service.submit_batch(owner, request=request).now, "what was cancelled is made anew"
    with inside_as_system(alpha):
        OptimizationBatch.objects.update(created_at=timezone.now() - timedelta(hours=25))
    with inside(alpha, owner):
        assert service.submit_batch(owner, request=request).now, "a day later it is another wish"
    with inside(alpha, owner):
        Model.objects.update(visibility="workspace")
    with inside(alpha, colleague):
        assert service.submit_batch(colleague, request=request).now, "each person for herself"


def test_a_key_is_one_request_for_a_day(owner: User, alpha: Workspace) -> None:
    request = wanted(owner)
    first = service.submit_batch(owner, request=request, idempotency_key="k1")
    assert service.submit_batch(owner, request=request, idempotency_key="k1").batch == first.batch
    assert service.submit_batch(owner, request=request, idempotency_key="k2").now, "asked for deliberately"
    with pytest.raises(UserInputError) as refused:
        service.submit_batch(owner, request=wanted(owner), idempotency_key="k1")
    assert refused.value.code == "conflict"
    with inside_as_system(alpha):
        OptimizationBatch.objects.update(created_at=timezone.now() - timedelta(hours=25))
    with inside(alpha, owner):
        assert service.submit_batch(owner, request=wanted(owner), idempotency_key="k1").now


def test_cancelling_and_running_again_are_for_all_of_them(owner: User, colleague: User, alpha: Workspace) -> None:
    batch = service.submit_batch(owner, request=wanted(owner, visibility="workspace")).batch
    with pytest.raises(UserInputError) as refused:
        service.retry_batch(owner, batch=batch)
    assert refused.value.code == "conflict"
    assert service.cancel_batch(owner, batch=batch) == 2
    batch.refresh_from_db()
    assert batch.cancelled_at is not None
    found = service.batches_of(owner).get(pk=batch.pk)
    assert service.standing_of(service.counts_of(found)) == "cancelled"
    with pytest.raises(UserInputError) as refused:
        service.cancel_batch(owner, batch=batch)
    assert refused.value.code == "conflict"
    assert service.retry_batch(owner, batch=batch) == 2
    batch.refresh_from_db()
    assert batch.cancelled_at is None
    assert set(OptimizationJob.objects.values_list("status", flat=True)) == {"queued"}
    with inside(alpha, colleague):
        seen = service.batches_of(colleague).get(pk=batch.pk)
        for act in (service.cancel_batch, service.retry_batch):
            with pytest.raises(UserInputError) as refused:
                act(colleague, batch=seen)
            assert refused.value.code == "permission_denied"


def test_a_batch_is_as_far_as_its_jobs(owner: User) -> None:
    batch = service.submit_batch(owner, request=wanted(owner)).batch

    def told() -> tuple[str, int]:
        found: Any = service.batches_of(owner).get(pk=batch.pk)
        return service.standing_of(service.counts_of(found)), service.percent_of(found)

    assert told() == ("queued", 0)
    first, second = OptimizationJob.objects.order_by("created_at")
    ended = results.ENDED | {"result": results.OPTIMIZED}
    OptimizationJob.objects.filter(pk=first.pk).update(**ended)
    assert told() == ("running", 50)
    OptimizationJob.objects.filter(pk=second.pk).update(**results.FAILED)
    assert told() == ("failed", 100)
    OptimizationJob.objects.filter(pk=second.pk).update(**(ended | {"error": None}))
    assert told() == ("completed", 100)
    [one, _] = service.jobs_of(owner, batch=batch)
    assert (one.made_bytes, one.made_precision, one.sqnr_db) == (1500, "int8", 38.63)  # type: ignore[attr-defined]


def test_nobody_else_sees_a_private_batch_even_without_a_filter(
    owner: User, colleague: User, outsider: User, alpha: Workspace, beta: Workspace
) -> None:
    mine = service.submit_batch(owner, request=wanted(owner)).batch
    shared = service.submit_batch(owner, request=wanted(owner, visibility="workspace")).batch
    with inside(alpha, colleague):
        assert list(OptimizationBatch.objects.all()) == [shared]
        assert OptimizationBatch.objects.filter(pk=shared.pk).update(name="mine now") == 0
        assert list(service.batches_of(colleague)) == [shared]
    with inside(alpha, None):
        assert not OptimizationBatch.objects.exists()
    with inside(beta, outsider):
        assert not OptimizationBatch.objects.filter(pk__in=[mine.pk, shared.pk]).exists()


def test_a_hundred_combinations_are_planned_without_a_query(owner: User) -> None:
    request = wanted(owner, 50)
    with CaptureQueriesContext(connection) as asked:
        plan = service.plan_batch(owner, request=request)
    assert (len(plan.planned), len(plan.refused), len(asked)) == (50, 50, 0)
