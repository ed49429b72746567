"""Artifacts that will go: who is told, when, and what the pages and the API say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core import mail
from django.db.models import F
from django.test import Client
from django.urls import reverse

from accounts.models import Plan, User, Workspace
from edge_ai.models import Artifact, WebhookMessage
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import expiry
from edge_ai.services.expiry import artifact_days
from edge_ai.worker.outcomes import expiry as expiry_of_new
from tests.conftest import inside_as_system
from tests.edge_ai import factories
from tests.studio import free_port


def going(owner: User, name: str, days: float | None, made: float = 25) -> Artifact:
    """Make an artifact that goes in so many days, ``None``: never; and was made so many days ago."""
    artifact: Artifact = factories.make_artifact(owner, file_name=name, visibility="workspace")
    if days is not None:
        Artifact.objects.filter(pk=artifact.pk).update(
            created_at=ClockTimestamp() - timedelta(days=made), expires_at=ClockTimestamp() + timedelta(days=days)
        )
        artifact.refresh_from_db()
    return artifact


def test_owners_are_told_by_one_mail_a_day(alpha: Workspace, owner: User, colleague: User, settings: Any) -> None:
    settings.PUBLIC_URL = "https://studio.example.com"
    with inside_as_system(alpha):
        soon, sooner = going(owner, "soon.onnx", 6), going(owner, "sooner.onnx", 1)
        going(owner, "late.onnx", 20)
        going(owner, "kept.onnx", None)
        going(colleague, "theirs.onnx", 3)
        assert expiry.warn() == 3
        assert {each.to[0]: each.subject for each in mail.outbox} == {
            owner.email: "2 files will soon be removed",
            colleague.email: "1 file will soon be removed",
        }
        text = next(str(each.body) for each in mail.outbox if each.to == [owner.email])
        assert text.index("sooner.onnx") < text.index("soon.onnx, on ")
        assert "late.onnx" not in text and "theirs.onnx" not in text
        assert f"https://studio.example.com{reverse('edge_ai:artifact-detail', args=[soon.pk])}" in text
        # The same day, neither of the same nor of others.
        assert expiry.warn() == 0
        going(owner, "another.onnx", 2)
        assert expiry.warn() == 0
        Artifact.objects.filter(pk__in=[soon.pk, sooner.pk]).update(warned_at=F("warned_at") - timedelta(days=1))
        assert expiry.warn() == 1
        assert "another.onnx" in str(mail.outbox[-1].body) and "sooner.onnx" not in str(mail.outbox[-1].body)


def test_who_asked_for_it_is_told_of_each_by_webhook(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        factories.make_endpoint(owner, events=["artifact.expiring"])
        artifact = going(owner, "soon.onnx", 1)
        assert expiry.warn() == 1
        message = json.loads(WebhookMessage.objects.get(event_type="artifact.expiring").body)
    assert message["data"]["id"] == str(artifact.pk)
    assert message["data"]["expires_at"].startswith(f"{artifact.expires_at:%Y-%m-%dT%H:%M}")


def test_a_mail_server_that_is_away_is_tried_again(alpha: Workspace, owner: User, settings: Any) -> None:
    with inside_as_system(alpha):
        artifact = going(owner, "soon.onnx", 1)
        locmem, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
        assert expiry.warn() == 0
        artifact.refresh_from_db()
        assert artifact.warned_at is None
        settings.EMAIL_BACKEND = locmem
        assert expiry.warn() == 1


def test_nobody_is_told_at_once_or_where_nobody_wants_to_be(alpha: Workspace, owner: User, settings: Any) -> None:
    with inside_as_system(alpha):
        young = going(owner, "young.onnx", 2, made=1)
        assert (expiry.warn(), young.goes_soon) == (0, False), "it is in the first half of its time"
        old = going(owner, "old.onnx", 1, made=2)
        settings.ARTIFACT_WARNING_DAYS = 0
        assert (expiry.warn(), old.goes_soon) == (0, False)
        settings.ARTIFACT_WARNING_DAYS = 7
        assert (expiry.warn(), old.goes_soon) == (1, True)


def test_a_workspace_or_its_plan_says_how_long_artifacts_are_kept(
    alpha: Workspace, beta: Workspace, settings: Any
) -> None:
    settings.ARTIFACT_DAYS = 30
    with inside_as_system(alpha):
        assert artifact_days() == 30
        Plan.objects.filter(is_default=True).update(artifact_days=10)
        assert artifact_days() == 10
        Workspace.objects.filter(pk=alpha.pk).update(artifact_days=0)
        assert (artifact_days(), expiry_of_new()) == (0, None)
    with inside_as_system(beta):
        assert artifact_days() == 10


def test_pages_and_api_say_what_goes_soon(
    alpha: Workspace, owner: User, browser_of: Callable[[User], Client], script_of: Callable[..., Client]
) -> None:
    with inside_as_system(alpha):
        soon, late = going(owner, "soon.onnx", 1), going(owner, "late.onnx", 20)
        going(owner, "kept.onnx", None)
    browser = browser_of(owner)
    for wanted, shown in (("soon", {"soon.onnx"}), ("some_day", {"soon.onnx", "late.onnx"}), ("never", {"kept.onnx"})):
        page = browser.get(reverse("edge_ai:artifact-list"), {"expires": wanted}).content.decode()
        assert {name for name in ("soon.onnx", "late.onnx", "kept.onnx") if f">{name}</a>" in page} == shown
    warned = "download what you still need"
    assert warned in browser.get(reverse("edge_ai:artifact-detail", args=[soon.pk])).content.decode()
    assert warned not in browser.get(reverse("edge_ai:artifact-detail", args=[late.pk])).content.decode()
    listed = script_of(owner).get(
        "/api/edge/v1/artifacts/", {"expires_before": (late.expires_at or late.created_at).isoformat()}
    )
    assert [each["file_name"] for each in listed.json()["results"]] == ["soon.onnx"]
