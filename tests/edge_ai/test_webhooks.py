"""Telling what happened: to whom, once, signed, again when it fails, and no more when nobody wants to hear it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from standardwebhooks import Webhook, WebhookVerificationError

from accounts.models import Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.models import (
    DeliveryStatus,
    Job,
    Model,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import jobs
from edge_ai.services import webhooks as service
from edge_ai.webhooks import outbox
from edge_ai.webhooks.delivery import KEPT_BYTES, SWITCHED_OFF, attempt
from edge_ai.webhooks.sender import send
from edge_ai.worker.tasks import deliver_webhook
from edge_ai.worker.webhooks import sweep_everywhere
from tests.conftest import inside, inside_as_system, person
from tests.edge_ai import factories
from tests.receiver import Receiver, answering, dripping, receiver, silent

LEASE = timedelta(seconds=30)


@pytest.fixture(autouse=True)
def _receivers_on_this_machine(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_NETWORKS = (ip_network("127.0.0.0/8"),)
    settings.WEBHOOK_SECONDS = 1


@pytest.fixture(autouse=True)
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A receiver, healthy until it is told otherwise."""
    with receiver() as running:
        yield running


def deliveries() -> list[WebhookDelivery]:
    """Every delivery, in order."""
    return list(WebhookDelivery.objects.select_related("endpoint", "message").order_by("created_at", "event_type"))


def hints() -> list[tuple[str, ...]]:
    """The arguments of every message in the webhooks' queue."""
    return [
        tuple(SignedPackage.loads(row.payload)["args"]) for row in OrmQ.objects.filter(key="webhook").order_by("pk")
    ]


def failing_since(endpoint: WebhookEndpoint, ago: timedelta) -> None:
    """Move the beginning of an endpoint's failures into the past."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(first_failure_at=ClockTimestamp() - ago)


def due_now(delivery: WebhookDelivery) -> None:
    """Let the time of the next attempt have come."""
    WebhookDelivery.objects.filter(pk=delivery.pk).update(next_attempt_at=ClockTimestamp())


def end(job: Any, status: str = "completed", **fields: Any) -> Job:
    """Let a job have ended, and what follows follow."""
    ended: dict[str, Any] = {"status": status, "finished_at": ClockTimestamp(), "lease_token": None}
    more: dict[str, dict[str, Any]] = {
        "completed": {"result": {"model": None}, "progress": 100},
        "failed": {"error": {"code": "engine_crashed"}},
        "cancelled": {"error": {"code": "engine_crashed"}, "cancel_requested": True},
    }
    ended |= more[status]
    Job.objects.filter(pk=job.pk).update(**(ended | {"lease_expires_at": None} | fields))
    jobs.settle(job.pk)
    return Job.objects.get(pk=job.pk)


# -- to whom, and what -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("kind", ["optimization_job", "benchmark"])
def test_the_end_of_a_job_is_told(owner: User, kind: str, status: str) -> None:
    endpoint = factories.make_endpoint(owner)
    make = factories.make_optimization if kind == "optimization_job" else factories.make_benchmark
    job = end(make(owner), status)
    (delivery,) = deliveries()
    assert (delivery.event_type, delivery.endpoint_id, delivery.status) == (f"{kind}.{status}", endpoint.pk, "pending")
    told = json.loads(delivery.message.body)
    assert set(told) == {"type", "timestamp", "data"}
    assert told["type"] == f"{kind}.{status}"
    assert told["data"]["id"] == str(job.pk)
    assert told["data"]["status"] == status
    assert told["data"]["error_code"] == (None if status == "completed" else "engine_crashed")
    assert told["data"]["links"]["self"].endswith(f"/{job.pk}/")
    assert hints() == [(connection.schema_name, str(delivery.pk))]  # type: ignore[attr-defined]  # the tenant backend's


def test_a_job_that_has_not_ended_tells_nothing_and_neither_does_an_analysis(owner: User) -> None:
    factories.make_endpoint(owner)
    jobs.settle(factories.make_optimization(owner).pk)
    end(factories.make_analysis(owner, factories.make_model(owner)))
    assert not deliveries()


def test_a_model_that_cannot_be_read_is_told_and_so_are_the_jobs_that_waited_for_it(owner: User) -> None:
    factories.make_endpoint(owner)
    model = factories.make_model(owner, status="analyzing", analysis=None)
    analysis = factories.make_analysis(owner, model)
    waiting = factories.make_optimization(owner, model, status="pending", waits_for_id=analysis.pk)
    end(analysis, "failed")
    assert {each.event_type: each.message.subject_id for each in deliveries()} == {
        "model.failed": model.pk,
        "optimization_job.failed": waiting.pk,
    }
    told = json.loads(WebhookMessage.objects.get(event_type="optimization_job.failed").body)
    assert told["data"]["error_code"] == "dependency_failed"


def test_an_end_is_one_message_however_often_it_is_told(owner: User) -> None:
    factories.make_endpoint(owner)
    job = end(factories.make_optimization(owner))
    for _ in range(9):
        jobs.settle(job.pk)
    assert len(deliveries()) == 1
    assert len(hints()) == 1
    assert WebhookMessage.objects.count() == 1


def test_the_second_end_of_a_job_is_another_message(owner: User) -> None:
    factories.make_endpoint(owner)
    job = end(factories.make_optimization(owner), "failed")
    assert Job.objects.restart(job.pk)
    end(job, "failed")
    first, second = deliveries()
    assert first.message_id != second.message_id


def test_nothing_is_told_of_what_was_rolled_back(owner: User) -> None:
    factories.make_endpoint(owner)
    job = factories.make_optimization(owner)
    with pytest.raises(RuntimeError), transaction.atomic():
        end(job)
        raise RuntimeError
    assert not deliveries()
    assert not hints()


def test_only_chosen_events_are_told_and_only_where_it_is_switched_on(owner: User) -> None:
    wanted = factories.make_endpoint(owner, events=["benchmark.completed", "artifact.created"])
    factories.make_endpoint(owner, events=["benchmark.failed"])
    factories.make_endpoint(owner, enabled=False, disabled_reason="by_hand", disabled_at=timezone.now())
    end(factories.make_benchmark(owner))
    assert [each.endpoint_id for each in deliveries()] == [wanted.pk]


def test_private_things_are_told_to_their_owner_alone(owner: User, colleague: User) -> None:
    mine, theirs = factories.make_endpoint(owner), factories.make_endpoint(colleague)
    end(factories.make_optimization(owner))
    assert [each.endpoint_id for each in deliveries()] == [mine.pk]
    end(factories.make_optimization(owner, visibility="workspace"))
    assert sorted(each.endpoint_id for each in deliveries()) == sorted([mine.pk, mine.pk, theirs.pk])


def test_who_has_left_hears_nothing(alpha: Workspace, owner: User, colleague: User) -> None:
    factories.make_endpoint(colleague)
    Membership.objects.filter(user=colleague).delete()
    end(factories.make_optimization(owner, visibility="workspace"))
    assert not deliveries()


def test_what_was_made_private_meanwhile_is_told_no_more(owner: User, colleague: User, there: Receiver) -> None:
    factories.make_endpoint(colleague, url=there.url)
    artifact = factories.make_artifact(owner, visibility="workspace")
    service.emit(WebhookEvent.ARTIFACT_CREATED, artifact)
    (delivery,) = deliveries()
    type(artifact).objects.filter(pk=artifact.pk).update(visibility="private")
    assert not attempt(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.status, there.received) == ("failed", [])
    assert "not visible" in delivery.error


def test_another_workspace_hears_nothing(alpha: Workspace, beta: Workspace, owner: User, outsider: User) -> None:
    with inside_as_system(beta):
        factories.make_endpoint(outsider)
    with inside_as_system(alpha):
        end(factories.make_optimization(owner, visibility="workspace"))
    with inside_as_system(beta):
        assert not WebhookDelivery.objects.exists()
    connection.set_tenant(alpha)  # type: ignore[attr-defined]  # the tenant backend's


def test_what_is_told_of_an_artifact_leads_to_it_and_holds_nothing_of_it(owner: User, settings: Any) -> None:
    settings.PUBLIC_URL = "https://studio.example.com"
    factories.make_endpoint(owner)
    artifact = factories.make_artifact(owner)
    service.emit(WebhookEvent.ARTIFACT_CREATED, artifact)
    data = json.loads(deliveries()[0].message.body)["data"]
    assert data["links"]["download"] == f"https://studio.example.com/api/edge/v1/artifacts/{artifact.pk}/download/"
    assert (data["id"], data["model"], data["sha256"]) == (str(artifact.pk), str(artifact.model_id), artifact.sha256)


def test_telling_nobody_costs_one_query_and_telling_many_no_more_than_few(owner: User) -> None:
    model = factories.make_model(owner)

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            service.emit(WebhookEvent.MODEL_READY, model, occasion=uuid.uuid4().hex)
        # Without the messages to the workers, of which there is one a delivery.
        return len(
            [query for query in asked if "django_q_ormq" not in query["sql"] and "pg_notify" not in query["sql"]]
        )

    assert cost() == 1
    factories.make_endpoint(owner)
    for_one = cost()
    for _ in range(5):
        factories.make_endpoint(owner)
    assert cost() == for_one <= 6


# -- one delivery ------------------------------------------------------------------------------------------------------
def test_a_delivery_arrives_signed_and_is_kept(owner: User, there: Receiver) -> None:
    there.behave = answering(201, b"thank you\x00" + b"!" * 10_000)
    endpoint = factories.make_endpoint(owner, url=there.url)
    job = end(factories.make_optimization(owner))
    (delivery,) = deliveries()
    for _ in range(10):  # the same hint ten times
        deliver_webhook(connection.schema_name, str(delivery.pk))  # type: ignore[attr-defined]  # the tenant backend's
        connection.set_tenant(Workspace.objects.get(slug="alpha"))  # type: ignore[attr-defined]
    (request,) = there.received
    told = Webhook(factories.WEBHOOK_SECRET).verify(request.body, request.headers)
    assert told["type"] == "optimization_job.completed"
    assert told["data"]["id"] == str(job.pk)
    assert request.headers["webhook-id"] == f"msg_{delivery.message_id.hex}"
    assert request.headers["content-type"] == "application/json"
    with inside_as_system(Workspace.objects.get(slug="alpha")):
        delivery.refresh_from_db()
        assert (delivery.status, delivery.http_status, delivery.attempt, delivery.error) == ("delivered", 201, 1, "")
        kept = WebhookAttempt.objects.get(delivery=delivery)
        assert kept.response_body.startswith("thank you\ufffd!")
        assert len(kept.response_body) <= KEPT_BYTES
        assert kept.request_headers["webhook-id"] == request.headers["webhook-id"]
        assert kept.latency_ms is not None and kept.latency_ms > 0
        assert WebhookEndpoint.objects.get(pk=endpoint.pk).first_failure_at is None


@pytest.mark.parametrize(
    ("behave", "http_status", "error_code"),
    [
        (answering(500, b"broken"), 500, "http_status"),
        (answering(404), 404, "http_status"),
        (answering(302, Location="http://127.0.0.1/"), 302, "redirected"),
        (answering(304), 304, "redirected"),
        (silent(2), None, "timed_out"),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n", seconds=2), None, "timed_out"),
        (lambda handler: handler.connection.close(), None, "bad_answer"),
    ],
    ids=["500", "404", "302", "304", "silent", "dripping", "hangs up"],
)
def test_what_is_no_success_is_tried_again(
    owner: User, there: Receiver, behave: Any, http_status: int | None, error_code: str
) -> None:
    there.behave = behave
    endpoint = factories.make_endpoint(owner, url=there.url)
    delivery = factories.make_delivery(endpoint)
    assert attempt(delivery.pk)
    delivery.refresh_from_db()
    kept = WebhookAttempt.objects.get(delivery=delivery)
    assert (kept.http_status, kept.error_code) == (http_status, error_code)
    assert (delivery.status, delivery.http_status, delivery.error) == ("pending", http_status, kept.error)
    assert delivery.next_attempt_at is not None and delivery.enqueued_at is None
    assert 3 < (delivery.next_attempt_at - timezone.now()).total_seconds() < 6
    assert WebhookEndpoint.objects.get(pk=endpoint.pk).first_failure_at is not None
    assert not attempt(delivery.pk), "its time has not come"

    there.behave = answering(200)
    due_now(delivery)
    assert attempt(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt, delivery.error) == ("delivered", 2, "")
    first, second = there.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"], "the id stays"
    assert first.body == second.body
    assert WebhookEndpoint.objects.get(pk=endpoint.pk).first_failure_at is None


def test_a_receiver_that_is_down_and_one_that_is_internal(owner: User, settings: Any) -> None:
    with receiver() as gone_soon:
        pass
    down = factories.make_delivery(factories.make_endpoint(owner, url=gone_soon.url))
    attempt(down.pk)
    assert WebhookAttempt.objects.get(delivery=down).error_code == "connection_failed"
    settings.WEBHOOK_ALLOW_NETWORKS = ()
    with receiver() as inner:
        blocked = factories.make_delivery(factories.make_endpoint(owner, url=inner.url))
        attempt(blocked.pk)
    assert WebhookAttempt.objects.get(delivery=blocked).error_code == "address_refused"
    assert not inner.received


def test_a_receiver_may_ask_for_patience(owner: User, there: Receiver) -> None:
    there.behave = answering(429, Retry_After="120")
    delivery = factories.make_delivery(factories.make_endpoint(owner, url=there.url))
    attempt(delivery.pk)
    delivery.refresh_from_db()
    assert delivery.next_attempt_at is not None
    assert 115 < (delivery.next_attempt_at - timezone.now()).total_seconds() <= 120


def test_after_the_last_attempt_it_has_failed_and_can_be_sent_again(owner: User, there: Receiver) -> None:
    there.behave = answering(500)
    endpoint = factories.make_endpoint(owner, url=there.url)
    delivery = factories.make_delivery(endpoint)
    for _ in range(10):
        due_now(delivery)
        assert attempt(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt, delivery.next_attempt_at) == ("failed", 10, None)
    assert [each.number for each in delivery.attempts.all()] == list(range(10, 0, -1))

    again = service.redeliver(owner, delivery=delivery)
    assert (again.status, again.schedule_began) == ("pending", 10)
    assert hints()[-1][1] == str(delivery.pk)
    assert attempt(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt) == ("pending", 11), "the schedule begins anew"
    assert len({request.headers["webhook-id"] for request in there.received}) == 1


def test_410_disables_at_once_and_its_owner_is_told(owner: User, there: Receiver) -> None:
    there.behave = answering(410)
    endpoint = factories.make_endpoint(owner, url=there.url)
    delivery, waiting = factories.make_delivery(endpoint), factories.make_delivery(endpoint)
    attempt(delivery.pk)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "gone")
    for each in (delivery, waiting):
        each.refresh_from_db()
        assert each.status == "failed"
    (message,) = mail.outbox
    assert message.to == [owner.email]
    assert there.url in message.body
    assert f"/settings/webhooks/{endpoint.pk}/" in message.body
    end(factories.make_optimization(owner))
    assert len(deliveries()) == 2, "nothing new is written for it"


def test_five_days_of_failure_disable_and_one_success_begins_anew(owner: User, there: Receiver) -> None:
    endpoint = factories.make_endpoint(owner, url=there.url)
    failing_since(endpoint, timedelta(days=6))
    attempt(factories.make_delivery(endpoint).pk)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.first_failure_at) == (True, None)

    there.behave = answering(503)
    failing_since(endpoint, timedelta(days=4, hours=23))
    attempt(factories.make_delivery(endpoint).pk)
    endpoint.refresh_from_db()
    assert endpoint.enabled

    failing_since(endpoint, timedelta(days=5, minutes=1))
    waiting = factories.make_delivery(endpoint)
    for _ in range(2):
        attempt(factories.make_delivery(endpoint).pk)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "failing")
    waiting.refresh_from_db()
    assert (waiting.status, waiting.error) == ("failed", SWITCHED_OFF)
    assert len(mail.outbox) == 1, "told once"

    service.update_endpoint(owner, endpoint=endpoint, fields={"enabled": True})
    assert (endpoint.enabled, endpoint.disabled_reason, endpoint.first_failure_at) == (True, "", None)
    assert service.redeliver_many(owner, endpoint=endpoint, since=timezone.now() - timedelta(hours=1)) == 4


def test_a_mail_server_that_is_away_stops_nothing(owner: User, there: Receiver, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    there.behave = answering(410)
    endpoint = factories.make_endpoint(owner, url=there.url)
    assert attempt(factories.make_delivery(endpoint).pk)
    assert not WebhookEndpoint.objects.get(pk=endpoint.pk).enabled


# -- secrets -----------------------------------------------------------------------------------------------------------
def test_after_a_rotation_both_secrets_hold_for_a_while(owner: User, there: Receiver) -> None:
    endpoint = factories.make_endpoint(owner, url=there.url)
    fresh = service.rotate_secret(owner, endpoint=endpoint, overlap=timedelta(hours=1))
    assert fresh not in endpoint.secret
    attempt(factories.make_delivery(endpoint).pk)
    for secret in (fresh, factories.WEBHOOK_SECRET):
        Webhook(secret).verify(there.received[0].body, there.received[0].headers)

    WebhookEndpoint.objects.update(previous_secret_expires_at=timezone.now() - timedelta(seconds=1))
    attempt(factories.make_delivery(endpoint).pk)
    Webhook(fresh).verify(there.received[1].body, there.received[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(factories.WEBHOOK_SECRET).verify(there.received[1].body, there.received[1].headers)


def test_a_secret_can_be_replaced_at_once(owner: User, there: Receiver) -> None:
    endpoint = factories.make_endpoint(owner, url=there.url)
    service.rotate_secret(owner, endpoint=endpoint, overlap=timedelta(0))
    assert (endpoint.previous_secret, endpoint.previous_secret_expires_at) == ("", None)
    attempt(factories.make_delivery(endpoint).pk)
    with pytest.raises(WebhookVerificationError):
        Webhook(factories.WEBHOOK_SECRET).verify(there.received[0].body, there.received[0].headers)


def test_a_secret_that_cannot_be_read_any_more_is_said(owner: User, there: Receiver) -> None:
    endpoint = factories.make_endpoint(owner, url=there.url, secret="of another key")
    delivery = factories.make_delivery(endpoint)
    attempt(delivery.pk)
    kept = WebhookAttempt.objects.get(delivery=delivery)
    assert (kept.error_code, kept.latency_ms, there.received) == ("secret_lost", None, [])


# -- claims, leases, sweeps --------------------------------------------------------------------------------------------
def test_a_delivery_is_held_by_one_and_given_back_when_its_holder_falls_silent(owner: User) -> None:
    delivery = factories.make_delivery(factories.make_endpoint(owner))
    token = WebhookDelivery.objects.claim(delivery.pk, lease=LEASE)
    assert token is not None
    assert WebhookDelivery.objects.claim(delivery.pk, lease=LEASE) is None
    assert outbox.sweep() == 0
    WebhookDelivery.objects.filter(pk=delivery.pk).update(lease_expires_at=ClockTimestamp() - LEASE)
    assert outbox.sweep() == 1
    second = WebhookDelivery.objects.claim(delivery.pk, lease=LEASE)
    assert second is not None
    assert not WebhookDelivery.objects.finish(delivery.pk, token, status=DeliveryStatus.DELIVERED), "the lease is lost"
    assert WebhookDelivery.objects.finish(delivery.pk, second, status=DeliveryStatus.DELIVERED)
    assert WebhookDelivery.objects.claim(delivery.pk, lease=LEASE) is None


def test_a_delivery_that_kills_its_workers_ends(owner: User) -> None:
    delivery = factories.make_delivery(factories.make_endpoint(owner), attempt=10)
    attempt(delivery.pk)
    delivery.refresh_from_db()
    assert delivery.status == "failed"


def test_an_endpoint_that_is_deleted_while_it_answers_leaves_nothing(
    owner: User, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = factories.make_endpoint(owner, url=there.url)
    made = factories.make_delivery(endpoint)

    def deleting(*arguments: Any, **named: Any) -> Any:
        answer = send(*arguments, **named)
        endpoint.delete()
        return answer

    monkeypatch.setattr("edge_ai.webhooks.delivery.send", deleting)
    assert attempt(made.pk)
    assert len(there.received) == 1
    assert not WebhookAttempt.objects.exists() and not WebhookDelivery.objects.exists()
    connection.check_constraints()


def test_an_endpoint_that_fails_is_given_one_request_at_a_time(owner: User, there: Receiver) -> None:
    endpoint = factories.make_endpoint(owner, url=there.url)
    other = factories.make_endpoint(owner, url=there.url)
    held, waits = factories.make_delivery(endpoint), factories.make_delivery(endpoint)
    assert WebhookDelivery.objects.claim(held.pk, lease=LEASE)
    failing_since(endpoint, timedelta(minutes=1))
    assert not attempt(waits.pk)
    waits.refresh_from_db()
    assert (waits.status, waits.attempt, waits.enqueued_at) == ("pending", 0, None)
    assert attempt(factories.make_delivery(other).pk), "others are not held up"
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(first_failure_at=None)
    due_now(waits)
    assert attempt(waits.pk)


def test_the_sweep_finds_what_no_hint_leads_to_in_every_workspace(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User
) -> None:
    endpoint = factories.make_endpoint(owner)
    factories.make_delivery(endpoint, next_attempt_at=timezone.now() + timedelta(hours=1))
    factories.make_delivery(endpoint, enqueued_at=timezone.now())
    lost = factories.make_delivery(endpoint, enqueued_at=timezone.now() - timedelta(minutes=5))
    never = factories.make_delivery(endpoint)
    with inside_as_system(beta):
        theirs = factories.make_delivery(factories.make_endpoint(outsider))
    sweep_everywhere()
    assert sorted(hints()) == sorted(
        [
            (alpha.schema_name, str(lost.pk)),
            (alpha.schema_name, str(never.pk)),
            (beta.schema_name, str(theirs.pk)),
        ]
    )
    sweep_everywhere()
    assert len(hints()) == 3, "a hint on its way is enough"
    connection.set_tenant(alpha)  # type: ignore[attr-defined]  # the tenant backend's


# -- what people can do ------------------------------------------------------------------------------------------------
def test_a_test_is_sent_at_once_and_counts_for_nothing(alpha: Workspace, owner: User, there: Receiver) -> None:
    there.behave = answering(500)
    with inside(alpha, owner):
        endpoint, secret = service.create_endpoint(owner, url=there.url, events=["model.ready"])
        failed = service.send_test(owner, endpoint=endpoint)
        failed.refresh_from_db()
        assert (failed.status, failed.http_status, failed.event_type) == ("failed", 500, "webhook.test")
        endpoint.refresh_from_db()
        assert endpoint.first_failure_at is None
        there.behave = answering(200)
        arrived = service.send_test(owner, endpoint=endpoint)
        arrived.refresh_from_db()
        assert arrived.status == "delivered"
        Webhook(secret).verify(there.received[1].body, there.received[1].headers)
    assert not hints()


def test_redelivering_a_range(owner: User) -> None:
    endpoint = factories.make_endpoint(owner)
    old = timezone.now() - timedelta(days=2)
    ended = {"status": "failed", "finished_at": timezone.now(), "next_attempt_at": None}
    factories.make_delivery(endpoint, created_at=old, **ended)
    missed = [factories.make_delivery(endpoint, **ended) for _ in range(3)]
    factories.make_delivery(endpoint, event_type="webhook.test", **ended)
    arrived = factories.make_delivery(endpoint, **(ended | {"status": "delivered"}))
    since = timezone.now() - timedelta(days=1)
    assert service.redeliver_many(owner, endpoint=endpoint, since=since, until=since + timedelta(hours=1)) == 0
    assert service.redeliver_many(owner, endpoint=endpoint, since=since) == 3
    assert set(WebhookDelivery.objects.due().values_list("pk", flat=True)) == {each.pk for each in missed}
    assert service.redeliver_many(owner, endpoint=endpoint, since=since, status="delivered") == 1
    arrived.refresh_from_db()
    assert arrived.status == "pending"
    assert outbox.sweep() == 4


def test_what_is_being_sent_or_switched_off_is_not_sent_again(owner: User) -> None:
    endpoint = factories.make_endpoint(owner)
    delivery = factories.make_delivery(endpoint)
    WebhookDelivery.objects.claim(delivery.pk, lease=LEASE)
    with pytest.raises(UserInputError, match="being sent"):
        service.redeliver(owner, delivery=delivery)
    service.update_endpoint(owner, endpoint=endpoint, fields={"enabled": False})
    for again in (
        lambda: service.redeliver(owner, delivery=WebhookDelivery.objects.get(pk=delivery.pk)),
        lambda: service.redeliver_many(owner, endpoint=endpoint, since=timezone.now()),
    ):
        with pytest.raises(UserInputError, match="switched off"):
            again()


def test_deleting_takes_the_log_along_and_nothing_else(alpha: Workspace, owner: User, colleague: User) -> None:
    mine, theirs = factories.make_endpoint(owner), factories.make_endpoint(colleague)
    service.emit(WebhookEvent.MODEL_READY, factories.make_model(owner, visibility="workspace"))
    factories.make_attempt(factories.make_delivery(mine))
    with inside(alpha, owner):
        service.delete_endpoint(owner, endpoint=mine)
    with inside_as_system(alpha):
        assert [each.endpoint_id for each in deliveries()] == [theirs.pk]
        assert WebhookMessage.objects.count() == 1
        assert not WebhookAttempt.objects.exists()


def test_the_log_is_kept_for_so_long_and_what_still_waits_for_longer(owner: User, settings: Any) -> None:
    settings.WEBHOOK_LOG_DAYS = 30
    endpoint = factories.make_endpoint(owner)
    old, ended = timezone.now() - timedelta(days=31), {"status": "failed", "next_attempt_at": None}
    gone = factories.make_delivery(endpoint, created_at=old, finished_at=old, **ended)
    waits = factories.make_delivery(endpoint, created_at=old)
    fresh = factories.make_delivery(endpoint, finished_at=timezone.now(), **ended)
    WebhookMessage.objects.filter(pk__in=[gone.message_id, waits.message_id]).update(created_at=old)
    factories.make_attempt(gone)
    assert outbox.prune() == 1
    assert {each.pk for each in deliveries()} == {waits.pk, fresh.pk}
    assert set(WebhookMessage.objects.values_list("pk", flat=True)) == {waits.message_id, fresh.message_id}
    assert outbox.prune() == 0


def test_one_person_has_so_many_endpoints_and_no_more(alpha: Workspace) -> None:
    someone = person("many@example.com", alpha, Role.ADMIN)
    for _ in range(service.MAX_ENDPOINTS):
        factories.make_endpoint(someone)
    with pytest.raises(UserInputError) as refused:
        service.create_endpoint(someone, url="https://example.com/", events=["model.ready"])
    assert refused.value.code == "quota_exceeded"


def test_models_of_variants_are_told_as_ready(owner: User) -> None:
    with acting_as_system():
        factories.make_endpoint(owner, events=["model.ready"])
        model: Model = factories.make_model(owner)
        assert service.emit(WebhookEvent.MODEL_READY, model) == service.emit(WebhookEvent.MODEL_READY, model)
    assert len(deliveries()) == 1
