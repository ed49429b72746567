"""Webhooks in the browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from standardwebhooks import Webhook

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.conftest import inside
from tests.edge_ai import factories
from tests.receiver import Receiver, answering, receiver

Browser = Callable[[User], Client]
SHOWN_SECRET = re.compile(r'id="webhook-secret">(whsec_[^<]+)<')


@pytest.fixture
def there(settings: Any) -> Iterator[Receiver]:
    """A healthy receiver that may be reached."""
    settings.WEBHOOK_ALLOW_NETWORKS = (ip_network("127.0.0.0/8"),)
    settings.WEBHOOK_SECONDS = 2
    with receiver() as running:
        yield running


def secret_on(text: str) -> str:
    """The secret that a page shows."""
    found = SHOWN_SECRET.search(text)
    assert found is not None
    return found[1].replace("&#x2B;", "+").replace("&#x3D;", "=")


def test_its_whole_life(alpha: Workspace, owner: User, browser_of: Browser, there: Receiver) -> None:
    browser = browser_of(owner)
    text = browser.get(reverse("edge_ai:webhook-list")).content.decode()
    assert "No webhooks yet" in text
    assert reverse("edge_ai:webhook-create") in text
    form = browser.get(reverse("edge_ai:webhook-create")).content.decode()
    assert form.count('type="checkbox"') == form.count(" checked") == len(WebhookEvent)

    response = browser.post(
        reverse("edge_ai:webhook-create"), {"url": there.url, "description": "Chat", "events": ["model.ready"]}
    )
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    secret = secret_on(response.content.decode())
    with inside(alpha, owner):
        endpoint = WebhookEndpoint.objects.get()
    where = reverse("edge_ai:webhook-detail", args=[endpoint.pk])
    assert secret not in browser.get(where).content.decode(), "it is shown once"

    def press(name: str, **values: str) -> str:
        answer = browser.post(reverse(f"edge_ai:{name}", args=[endpoint.pk]), values, follow=True)
        assert answer.status_code == 200
        return answer.content.decode()

    assert "The test arrived: 200" in press("webhook-test")
    Webhook(secret).verify(there.received[0].body, there.received[0].headers)
    there.behave = answering(500, b"<b>broken</b>")
    text = press("webhook-test")
    assert "The test did not arrive" in text
    assert "&lt;b&gt;broken&lt;/b&gt;" in text, "an answer is shown as text"

    fresh = secret_on(press("webhook-rotate", overlap="none"))
    assert fresh != secret
    assert "switched off" in press("webhook-switch", enabled="no")
    with inside(alpha, owner):
        assert WebhookEndpoint.objects.get().disabled_reason == "by_hand"
    assert "switched on" in press("webhook-switch", enabled="yes")
    assert "is changed" in press("webhook-update", url=there.url, description="Other", events="artifact.created")
    with inside(alpha, owner):
        assert WebhookEndpoint.objects.get().events == ["artifact.created"]
        again = WebhookDelivery.objects.filter(status="failed").get()
    answer = browser.post(
        reverse("edge_ai:webhook-delivery-redeliver", args=[endpoint.pk, again.pk]), follow=True
    ).content.decode()
    assert "is sent again" in answer
    assert "0 deliveries are sent again" in press("webhook-redeliver", status="failed", hours="24")
    assert "Choose since when" in press("webhook-redeliver", status="failed", hours="9999999")
    assert "is deleted" in press("webhook-delete")
    assert browser.get(where).status_code == 404


def test_a_bad_address_is_explained_at_its_field(owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    for data, said in (
        ({"url": "http://192.168.0.1/", "events": ["model.ready"]}, "is not public"),
        ({"url": "https://example.com/"}, "Choose at least one."),
        ({"url": "https://example.com/", "events": ["nothing"]}, "Select a valid choice"),
    ):
        response = browser.post(reverse("edge_ai:webhook-create"), data)
        assert response.status_code == 422
        assert said in response.content.decode()


def test_members_are_told_who_manages(alpha: Workspace, colleague: User, browser_of: Browser) -> None:
    browser = browser_of(colleague)
    text = browser.get(reverse("edge_ai:webhook-list")).content.decode()
    assert "Admins and owners" in text
    assert reverse("edge_ai:webhook-create") not in text
    assert browser.get(reverse("edge_ai:webhook-create")).status_code == 403
    with inside(alpha, colleague):
        delivery = factories.make_delivery(factories.make_endpoint(colleague))
    where = reverse("edge_ai:webhook-detail", args=[delivery.endpoint_id])
    assert 'method="post" action="/settings/webhooks' not in browser.get(where).content.decode()
    for name in ("update", "switch", "rotate", "test", "redeliver", "delete"):
        assert browser.post(reverse(f"edge_ai:webhook-{name}", args=[delivery.endpoint_id])).status_code == 403
    again = reverse("edge_ai:webhook-delivery-redeliver", args=[delivery.endpoint_id, delivery.pk])
    assert browser.post(again).status_code == 403


def test_the_log_is_filtered_and_costs_the_same_however_long(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        endpoint = factories.make_endpoint(owner)
        factories.make_attempt(factories.make_delivery(endpoint))
    where = reverse("edge_ai:webhook-detail", args=[endpoint.pk])

    def cost(path: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(path).status_code == 200
        return len(asked)

    cost(where)
    before = cost(where), cost(reverse("edge_ai:webhook-list"))
    with inside(alpha, owner):
        for _ in range(15):
            factories.make_attempt(factories.make_delivery(endpoint))
        factories.make_delivery(
            endpoint,
            event_type="benchmark.failed",
            status="delivered",
            finished_at=timezone.now(),
            next_attempt_at=None,
        )
        factories.make_endpoint(owner)
    assert (cost(where), cost(reverse("edge_ai:webhook-list"))) == before
    text = browser.get(f"{where}?status=delivered").content.decode()
    assert '<span class="num">benchmark.failed</span>' in text
    assert '<span class="num">model.ready</span>' not in text
    assert "No delivery matches" in browser.get(f"{where}?event=model.failed").content.decode()


def test_staff_see_deliveries_and_no_secret(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with acting_as_system():
        User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    owner.refresh_from_db()
    with inside(alpha, owner):
        delivery = factories.make_delivery(factories.make_endpoint(owner))
        factories.make_attempt(delivery)
    browser = browser_of(owner)
    assert "hooks.example.com" in browser.get(reverse("admin:edge_ai_webhookdelivery_changelist")).content.decode()
    page = browser.get(reverse("admin:edge_ai_webhookdelivery_change", args=[delivery.pk])).content.decode()
    assert "out of order" in page
    assert 'name="_save"' not in page
    page = browser.get(reverse("admin:edge_ai_webhookendpoint_change", args=[delivery.endpoint_id])).content.decode()
    assert "hooks.example.com" in page
    assert delivery.endpoint.secret not in page
    assert browser.get(reverse("admin:edge_ai_webhookendpoint_add")).status_code == 403
