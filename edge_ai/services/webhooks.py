"""What can be done with webhooks, and telling what happened.

:func:`emit` is called where an event becomes true, in the same transaction: the message exists when, and only when, the
change does.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, prefetch_related_objects
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from accounts.models import Membership, User
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.fleet.broker import Packer, waking
from edge_ai.models import (
    TEST_EVENT,
    Artifact,
    AuditAction,
    BenchmarkRun,
    ComparisonJob,
    DeliveryStatus,
    DiagnosisJob,
    DisabledReason,
    Event,
    Job,
    JobKind,
    Model,
    OptimizationJob,
    Visibility,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.outbound import addresses
from edge_ai.services.audit import event_of, fields_of, note
from edge_ai.services.erasing import erase
from edge_ai.services.rows import Statement, insert_together, insertion_unless_there, run_together
from edge_ai.services.telemetry import track
from edge_ai.webhooks import delivery, outbox, signing, vault

log = logging.getLogger(__name__)
NAMESPACE = uuid.UUID("6f1d1c1e-8f0a-5c53-9d53-3f2a54f7a9b0")
#: What the events of a kind of job are called.
JOB_EVENTS = {
    JobKind.OPTIMIZATION: "optimization_job",
    JobKind.BENCHMARK: "benchmark",
    JobKind.COMPARISON: "comparison",
    JobKind.DIAGNOSIS: "diagnosis",
}
#: What a message tells of each pair of a comparison.
PAIR = ("a", "b", "ratio_p50", "ci95", "verdict")
#: What the audit trail keeps of an endpoint.
NOTED = ("url", "events", "description", "enabled")
MAX_ENDPOINTS = 20
MAX_REDELIVERED = 10_000
OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=7)


# -- telling -----------------------------------------------------------------------------------------------------------
def emit(event: WebhookEvent, subject: Job | Model | Artifact, *, occasion: str = "") -> uuid.UUID | None:
    """Tell every endpoint that wants to know and may: write the message and its deliveries, in the caller's transaction.

    Parameters
    ----------
    occasion
        What tells this time from another one when the same can happen to the subject again, such as the moment a job
        ended. The message's id is made of event, subject and occasion: told ten times, it is still one message.

    Returns
    -------
    uuid.UUID | None
        The message, or ``None`` when nobody is told.
    """
    made = emit_all(event, [(subject, occasion)])
    return made[0] if made else None


def emit_all(event: WebhookEvent, subjects: Sequence[tuple[Job | Model | Artifact, str]]) -> list[uuid.UUID]:
    """Tell the same of several subjects with their occasions, as :func:`emit`; returns the messages.

    All are of one owner, and seen by the same people.
    """
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    with acting_as_system():
        endpoints = _listening(event, subjects[0][0], schema_name)
        if not endpoints:
            return []
        messages = [
            WebhookMessage(
                id=uuid.uuid5(NAMESPACE, f"{schema_name}:{event.value}:{subject.pk}:{occasion}"),
                event_type=event,
                subject_id=subject.pk,
                body=_body(event, _described(subject)),
            )
            for subject, occasion in subjects
        ]
        made = [
            WebhookDelivery(
                endpoint_id=endpoint, message=message, event_type=message.event_type, enqueued_at=timezone.now()
            )
            for message in messages
            for endpoint in endpoints
        ]
        # Somebody may have told the same: what is there already stays, and has its hint.
        inserted = map(insertion_unless_there, (*messages, *made))
        run_together([*inserted, *(_hint_where_it_is(each.pk) for each in made), waking(outbox.QUEUE)])
    return [message.pk for message in messages]


def _packed_hint(delivery_id: uuid.UUID) -> OrmQ:
    packer = Packer(outbox.QUEUE)
    outbox.hint(delivery_id, broker=packer)
    return packer.row()


def _hint_where_it_is(delivery_id: uuid.UUID) -> Statement:
    """Return the statement that tells the workers of a delivery which was inserted just now, if it was."""
    hint, table = _packed_hint(delivery_id), WebhookDelivery._meta.db_table
    return (
        f"INSERT INTO {OrmQ._meta.db_table} (key, payload, lock) SELECT %s, %s, clock_timestamp()"  # noqa: S608 - names of our own
        f" WHERE EXISTS (SELECT FROM {table} WHERE id = %s)",
        [hint.key, hint.payload, delivery_id],
    )


def emit_ends(jobs: Sequence[Job]) -> None:
    """Tell how jobs of one kind, owner and visibility ended alike; a kind that has no events of its own is passed over."""
    ended = [(job, job.finished_at.isoformat()) for job in jobs if job.finished_at is not None]
    name = JOB_EVENTS.get(JobKind(jobs[0].kind))
    if name is not None and ended:
        emit_all(WebhookEvent(f"{name}.{jobs[0].status}"), ended)


def _listening(event: WebhookEvent, subject: Job | Model | Artifact, schema_name: str) -> list[uuid.UUID]:
    """Endpoints that are to hear of an event: of people who belong here and may see its subject."""
    may_see = Q() if subject.visibility == Visibility.WORKSPACE else Q(owner_id=subject.owner_id)
    members = Membership.objects.filter(user__is_active=True, workspace__schema_name=schema_name).values("user_id")
    subscribed = WebhookEndpoint.objects.filter(
        may_see, enabled=True, events__contains=[event.value], owner_id__in=members
    )
    return list(subscribed.values_list("pk", flat=True))


def _body(event_type: str, data: dict[str, Any]) -> str:
    told = {"type": event_type, "timestamp": timezone.now().isoformat().replace("+00:00", "Z"), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _described(subject: Job | Model | Artifact) -> dict[str, Any]:
    """Return what is told of a subject: ids, states and links, and nothing of what a model or a result holds."""
    facts: dict[str, Any] = {"id": str(subject.pk), "owner": str(subject.owner_id)}
    match subject:
        case Model():
            facts |= {
                "name": subject.name,
                "format": subject.format,
                "status": subject.status,
                "error_code": _code(subject.error),
                "parent": _id(subject.parent_id),
                "producer": _id(subject.producer_id),
                "links": _links("api:model-detail", "edge_ai:model-detail", subject.pk),
            }
        case Artifact():
            facts |= {
                "artifact_type": subject.artifact_type,
                "file_name": subject.file_name,
                "size_bytes": subject.size_bytes,
                "sha256": subject.sha256,
                "model": _id(subject.model_id),
                "optimization_job": _id(subject.optimization_job_id),
                "benchmark": _id(subject.benchmark_id),
                "expires_at": _time(subject.expires_at),
                "links": {
                    "self": _link("api:artifact-detail", subject.pk),
                    "download": _link("api:artifact-download", subject.pk),
                },
            }
        case Job():
            facts |= _described_job(subject)
    return facts


def _described_job(job: Job) -> dict[str, Any]:
    facts = {
        "name": job.name,
        "status": job.status,
        "error_code": _code(job.error),
        "attempt": job.attempt,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
    }
    if job.kind == JobKind.OPTIMIZATION:
        whole = job if isinstance(job, OptimizationJob) else OptimizationJob.objects.get(pk=job.pk)
        return facts | {
            "model": str(whole.model_id),
            "device_profile": str(whole.device_profile_id),
            "target_format": whole.target_format,
            "precision": whole.precision,
            "result": {"model": (job.result or {}).get("model")} if job.result else None,
            "links": _links("api:job-detail", "edge_ai:job-detail", job.pk),
        }
    if job.kind == JobKind.COMPARISON:
        comparison = job if isinstance(job, ComparisonJob) else ComparisonJob.objects.get(pk=job.pk)
        prefetch_related_objects([comparison], "compared")  # whoever shows the job afterwards has them as well
        pairs = (job.result or {}).get("pairs") or []
        return facts | {
            "models": [str(each.model_id) for each in comparison.compared.all()],
            "device_profile": str(comparison.device_profile_id),
            "result": {"pairs": [{name: pair[name] for name in PAIR} for pair in pairs]} if job.result else None,
            "links": _links("api:comparison-detail", "edge_ai:comparison-detail", job.pk),
        }
    if job.kind == JobKind.DIAGNOSIS:
        asked = job if isinstance(job, DiagnosisJob) else DiagnosisJob.objects.get(pk=job.pk)
        return facts | {
            "model": str(asked.model_id),
            "baseline": _id(asked.baseline_id),
            "device_profile": str(asked.device_profile_id),
            "result": {"question": (job.result or {}).get("question")} if job.result else None,
            "links": _links("api:diagnosis-detail", "edge_ai:diagnosis-detail", job.pk),
        }
    run = job if isinstance(job, BenchmarkRun) else BenchmarkRun.objects.get(pk=job.pk)
    return facts | {
        "model": str(run.model_id),
        "device_profile": str(run.device_profile_id),
        "result": {
            "kind": run.result_kind,
            "p50_ms": run.p50_ms,
            "estimated_ms": run.estimated_ms,
            "regression": job.result.get("regression"),
        }
        if job.result
        else None,
        "links": _links("api:benchmark-detail", "edge_ai:benchmark-detail", job.pk),
    }


def _code(error: Any) -> str | None:
    return str(error["code"]) if error and "code" in error else None


def _id(value: uuid.UUID | None) -> str | None:
    return None if value is None else str(value)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _link(name: str, row_id: uuid.UUID) -> str:
    return str(settings.PUBLIC_URL) + reverse(name, args=[row_id])


def _links(in_api: str, page: str, row_id: uuid.UUID) -> dict[str, str]:
    return {"self": _link(in_api, row_id), "page": _link(page, row_id)}


# -- endpoints ---------------------------------------------------------------------------------------------------------
def create_endpoint(
    user: User, *, url: str, events: Collection[str], description: str = "", enabled: bool = True
) -> tuple[WebhookEndpoint, str]:
    """Register an address; returns the row and the only readable copy of its secret.

    Raises
    ------
    UserInputError
        ``address_refused``; ``quota_exceeded`` when one person has too many.
    """
    _check(url)
    if WebhookEndpoint.objects.visible_to(user).count() >= MAX_ENDPOINTS:
        raise UserInputError(
            f"You have {MAX_ENDPOINTS} webhooks, which is all that one person may have.",
            code="quota_exceeded",
            fix="Delete one that is not needed any more.",
        )
    secret = signing.new_secret()
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.create(
            owner=user,
            url=url,
            events=_ordered(events),
            description=description,
            secret=vault.close(secret),
            **_switched(enabled),
        )
        note(AuditAction.WEBHOOK_CREATED, endpoint, after=fields_of(endpoint, NOTED))
        track(Event.WEBHOOK_CREATED)
    endpoint.refresh_from_db()
    return endpoint, secret


def update_endpoint(user: User, *, endpoint: WebhookEndpoint, fields: dict[str, Any]) -> WebhookEndpoint:
    """Change address, events or description, or switch on or off. What waits for an endpoint that is switched off fails.

    Raises
    ------
    UserInputError
        ``address_refused``.
    """
    changes = {name: value for name, value in fields.items() if name in {"url", "description"}}
    if "url" in changes:
        _check(changes["url"])
    if "events" in fields:
        changes["events"] = _ordered(fields["events"])
    enabled = fields.get("enabled")
    with transaction.atomic():
        mine = WebhookEndpoint.objects.visible_to(user).filter(pk=endpoint.pk)
        was = mine.select_for_update().get()
        if changes:
            mine.update(**changes)
        if enabled is True:
            mine.filter(enabled=False).update(**_switched(True), first_failure_at=None)
        elif enabled is False and WebhookEndpoint.objects.disable(
            Q(pk=endpoint.pk, owner_id=user.pk), reason=DisabledReason.BY_HAND
        ):
            WebhookDelivery.objects.give_up(endpoint.pk, error=delivery.SWITCHED_OFF)
        note(AuditAction.WEBHOOK_CHANGED, was, before=fields_of(was, NOTED), after=fields_of(mine.get(), NOTED))
    endpoint.refresh_from_db()
    return endpoint


def delete_endpoint(user: User, *, endpoint: WebhookEndpoint) -> None:
    """Remove an endpoint with its log."""
    with transaction.atomic(), acting_as_system():  # the log is the studio's to write and to remove
        rows = WebhookEndpoint.objects.visible_to(user).filter(pk=endpoint.pk)
        # Whoever is writing down what came of one of them is waited for, and in its order: the delivery, then the endpoint.
        list(WebhookDelivery.objects.select_for_update().filter(endpoint__in=rows).values_list("pk"))
        mine = list(rows.select_for_update())
        for each in mine:
            note(AuditAction.WEBHOOK_DELETED, each, before=fields_of(each, NOTED))
        others = WebhookDelivery.objects.filter(message=OuterRef("pk")).exclude(endpoint__in=mine)
        told = WebhookMessage.objects.filter(~Exists(others), deliveries__endpoint__in=mine).distinct()
        messages = list(told.values_list("pk", flat=True))
        erase({WebhookEndpoint: [each.pk for each in mine], WebhookMessage: messages})


def rotate_secret(user: User, *, endpoint: WebhookEndpoint, overlap: timedelta = OVERLAP) -> str:
    """Give an endpoint a new secret, and return it; for ``overlap`` messages are signed with the former one as well."""
    secret = signing.new_secret()
    with transaction.atomic():
        now = WebhookEndpoint.objects.select_for_update().visible_to(user).get(pk=endpoint.pk)
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
            secret=vault.close(secret),
            previous_secret=now.secret if overlap else "",
            previous_secret_expires_at=timezone.now() + overlap if overlap else None,
        )
        note(AuditAction.WEBHOOK_SECRET_ROTATED, now)
    endpoint.refresh_from_db()
    return secret


def send_test(user: User, *, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send a test event at once, whether the endpoint is switched on or not; the row, read again, has what came of it."""
    message = WebhookMessage(
        id=uuid.uuid4(),
        event_type=TEST_EVENT,
        body=_body(TEST_EVENT, {"endpoint": str(endpoint.pk), "message": "This is a test of your webhook."}),
    )
    # Without a hint, and for a moment without a worker's interest: it is sent here and now.
    made = WebhookDelivery(endpoint=endpoint, message=message, event_type=TEST_EVENT, enqueued_at=timezone.now())
    with acting_as_system():
        with transaction.atomic():
            insert_together(filter(None, [message, made, event_of(AuditAction.WEBHOOK_TESTED, endpoint)]))
        delivery.attempt(made.pk)
    return made


def redeliver(user: User, *, delivery: WebhookDelivery) -> WebhookDelivery:
    """Send a delivery again, with the same id and the whole schedule before it.

    Raises
    ------
    UserInputError
        ``conflict`` while it is being sent, and for an endpoint that is switched off.
    """
    _require_enabled(delivery.endpoint)
    with transaction.atomic():
        mine = WebhookDelivery.objects.visible_to(user).filter(pk=delivery.pk)
        if not WebhookDelivery.objects.filter(pk__in=mine).start_again():
            raise UserInputError("It is being sent just now.", code="conflict", fix="Wait for what comes of it.")
        WebhookDelivery.objects.filter(pk=delivery.pk).update(enqueued_at=ClockTimestamp())
        noted = event_of(AuditAction.WEBHOOK_REDELIVERED, delivery.endpoint, after={"deliveries": 1})
        with acting_as_system():  # the trail is the studio's
            insert_together(
                [*filter(None, [noted]), _packed_hint(delivery.pk)],
                then=[waking(outbox.QUEUE)],
            )
    delivery.refresh_from_db()
    return delivery


def redeliver_many(
    user: User,
    *,
    endpoint: WebhookEndpoint,
    since: datetime,
    until: datetime | None = None,
    status: str = DeliveryStatus.FAILED,
) -> int:
    """Send again what an endpoint missed between two moments; returns how many. The workers begin within seconds.

    Raises
    ------
    UserInputError
        ``conflict`` for an endpoint that is switched off.
    """
    _require_enabled(endpoint)
    chosen = WebhookDelivery.objects.visible_to(user).filter(
        endpoint_id=endpoint.pk, created_at__gte=since, status=status
    )
    if until is not None:
        chosen = chosen.filter(created_at__lt=until)
    ids = list(
        chosen.exclude(event_type=TEST_EVENT).order_by("created_at").values_list("pk", flat=True)[:MAX_REDELIVERED]
    )
    with transaction.atomic():
        count = int(WebhookDelivery.objects.filter(pk__in=ids).start_again())
        note(AuditAction.WEBHOOK_REDELIVERED, endpoint, after={"deliveries": count})
    return count


def _check(url: str) -> None:
    addresses.check(url, networks=settings.WEBHOOK_ALLOW_NETWORKS)


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if not endpoint.enabled:
        raise UserInputError("The webhook is switched off.", code="conflict", fix="Switch it on first.")


def _switched(enabled: bool) -> dict[str, Any]:
    if enabled:
        return {"enabled": True, "disabled_reason": "", "disabled_at": None}
    return {"enabled": False, "disabled_reason": DisabledReason.BY_HAND, "disabled_at": timezone.now()}


def _ordered(events: Collection[str]) -> list[str]:
    return [event for event in WebhookEvent.values if event in events]
