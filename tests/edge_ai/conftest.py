"""Rows that other connections see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django_q.models import OrmQ

from accounts.models import User, Workspace
from edge_ai.fleet.models import Ticket, Turn
from edge_ai.models import Artifact, Blob, Dataset, Job, JobTime, Model, WebhookEndpoint, WebhookMessage
from tests.conftest import inside_as_system
from tests.web.large import as_owner


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: Any) -> Iterator[User]:
    """The owner of ``alpha``, inside it and outside of a transaction; what a test leaves there is removed after it."""
    with django_db_blocker.unblock(), inside_as_system(Workspace.objects.get(slug="alpha")):
        try:
            yield User.objects.get(email="alpha-root@example.com")
        finally:
            forget()


def forget() -> None:
    """Remove what a test has committed to the current workspace, and every message."""
    caches["memory"].clear()
    WebhookEndpoint.objects.all().delete()
    WebhookMessage.objects.all().delete()
    Artifact.objects.all().delete()
    Job.objects.update(waits_for=None)
    Model.objects.all().delete()
    for left in (Job, Dataset, Blob, JobTime):
        left.objects.all().delete()
    Ticket.objects.all().delete()
    Turn.objects.all().delete()
    OrmQ.objects.all().delete()
    with as_owner(Workspace.objects.get(slug="alpha")) as connection:  # the studio itself cannot
        connection.execute("DELETE FROM edge_ai_auditevent")
        connection.execute("DELETE FROM edge_ai_usageevent")
