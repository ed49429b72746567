"""Webhooks by API: who manages them, secrets shown once, tests, the log, and sending again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from standardwebhooks import Webhook

from accounts.models import Role, User, Workspace
from edge_ai.models import WebhookDelivery, WebhookEndpoint
from tests.api.support import BASE, MISSING, Script, fields, problem, send_json
from tests.conftest import inside, inside_as_system, person
from tests.edge_ai import factories
from tests.receiver import Receiver, answering, receiver

HOOKS = f"{BASE}webhooks/"
WANTED = {"url": "https://example.com/hook", "events": ["model.ready", "artifact.created"]}


@pytest.fixture(autouse=True)
def _receivers_on_this_machine(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_NETWORKS = (ip_network("127.0.0.0/8"),)
    settings.WEBHOOK_SECONDS = 2


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A healthy receiver."""
    with receiver() as running:
        yield running


@pytest.fixture
def endpoint(alpha: Workspace, owner: User) -> WebhookEndpoint:
    """The owner's endpoint."""
    with inside(alpha, owner):
        return factories.make_endpoint(owner)


def test_its_whole_life(alpha: Workspace, owner: User, script_of: Script, there: Receiver) -> None:
    script = script_of(owner)
    answer = send_json(script, "post", "webhooks/", WANTED | {"url": there.url, "description": "build server"})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    where = answer["Location"]
    assert script.get(where).json() == made, "the secret is shown once"
    assert (made["owner"], made["enabled"], made["failing_since"]) == (str(owner.pk), True, None)
    with inside(alpha, owner):
        assert secret not in WebhookEndpoint.objects.get(pk=made["id"]).secret

    tried = send_json(script, "post", f"{where}test/", {}).json()
    assert (tried["status"], tried["event"], tried["http_status"], tried["attempt"]) == (
        "delivered",
        "webhook.test",
        200,
        1,
    )
    assert tried["attempts"][0]["response_body"] == "ok"
    told = Webhook(secret).verify(there.received[0].body, there.received[0].headers)
    assert told == json.loads(tried["request_body"])
    assert there.received[0].headers["webhook-id"] == tried["message_id"]

    rotated = send_json(script, "post", f"{where}rotate-secret/", {"overlap_seconds": 600}).json()
    assert rotated["secret"] != secret
    assert rotated["previous_secret_expires_at"] is not None
    script.post(f"{where}test/")
    for key in (secret, rotated["secret"]):
        Webhook(key).verify(there.received[1].body, there.received[1].headers)

    changed = send_json(script, "patch", where, {"events": ["benchmark.failed"], "enabled": False}).json()
    assert (changed["events"], changed["enabled"], changed["disabled_reason"]) == (
        ["benchmark.failed"],
        False,
        "by_hand",
    )
    problem(send_json(script, "post", f"{where}redeliver/", {"since": "2026-01-01T00:00:00Z"}), 409, "conflict")
    assert send_json(script, "patch", where, {"enabled": True}).json()["disabled_at"] is None

    log = script.get(f"{where}deliveries/").json()["results"]
    assert [row["event"] for row in log] == ["webhook.test", "webhook.test"]
    assert script.delete(where).status_code == 204
    problem(script.get(where), 404, "not_found")
    with inside_as_system(alpha):
        assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"url": "http://10.0.0.1/"}, "address_refused", "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "address_refused", "url"),
        ({"url": "http://[::1]/"}, "address_refused", "url"),
        ({"url": "http://0x7f000001/"}, "address_refused", "url"),
        ({"url": "ftp://example.com/"}, "address_refused", "url"),
        ({"url": "https://user:word@example.com/"}, "address_refused", "url"),
        ({"url": ""}, "invalid_request", "url"),
        ({"url": "https://example.com/" + "a" * 2000}, "invalid_request", "url"),
        ({"events": []}, "invalid_request", "events"),
        ({"events": ["model.exploded"]}, "invalid_request", "events.0"),
        ({"events": ["webhook.test"]}, "invalid_request", "events.0"),
        ({"events": "model.ready"}, "invalid_request", "events"),
        ({"secret": "whsec_mine"}, "invalid_request", "secret"),
        ({"description": "a" * 201}, "invalid_request", "description"),
    ],
)
def test_what_cannot_be_is_refused(
    owner: User, script_of: Script, endpoint: WebhookEndpoint, change: dict[str, Any], code: str, field: str
) -> None:
    script = script_of(owner)
    for verb, path in (("post", HOOKS), ("patch", f"{HOOKS}{endpoint.pk}/")):
        found = fields(problem(send_json(script, verb, path, WANTED | change), 422, code))
        assert {name.removesuffix(".0") for name in found} == {field.removesuffix(".0")}


def test_members_look_and_admins_manage(alpha: Workspace, colleague: User, script_of: Script) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    assert send_json(script_of(admin), "post", "webhooks/", WANTED).status_code == 201
    refused = problem(send_json(script_of(colleague), "post", "webhooks/", WANTED), 403, "permission_denied")
    assert "admin" in refused["detail"]
    with inside(alpha, colleague):
        former = factories.make_endpoint(colleague)  # of the time when the member was an admin
        delivery = factories.make_delivery(former)
    script = script_of(colleague)
    assert script.get(f"{HOOKS}{former.pk}/").status_code == 200
    for verb, path in (
        ("patch", ""),
        ("delete", ""),
        ("post", "test/"),
        ("post", "rotate-secret/"),
        ("post", "redeliver/"),
        ("post", f"deliveries/{delivery.pk}/redeliver/"),
    ):
        problem(send_json(script, verb, f"{HOOKS}{former.pk}/{path}", {}), 403, "permission_denied")


def test_a_key_needs_the_scope_of_an_admin(owner: User, script_of: Script, endpoint: WebhookEndpoint) -> None:
    script = script_of(owner, scopes=["write"])
    assert script.get(HOOKS).status_code == 200
    problem(send_json(script, "post", HOOKS, WANTED), 403, "permission_denied")
    problem(script.delete(f"{HOOKS}{endpoint.pk}/"), 403, "permission_denied")


def test_a_delivery_is_found_under_its_own_webhook_alone(
    alpha: Workspace, owner: User, colleague: User, script_of: Script, endpoint: WebhookEndpoint
) -> None:
    with inside(alpha, owner):
        other = factories.make_endpoint(owner)
        mine = factories.make_delivery(endpoint)
    with inside(alpha, colleague):
        theirs = factories.make_delivery(factories.make_endpoint(colleague))
    script = script_of(owner)
    assert script.get(f"{HOOKS}{endpoint.pk}/deliveries/{mine.pk}/").status_code == 200
    for path in (
        f"{other.pk}/deliveries/{mine.pk}/",
        f"{endpoint.pk}/deliveries/{theirs.pk}/",
        f"{theirs.endpoint_id}/deliveries/{theirs.pk}/",
        f"{endpoint.pk}/deliveries/{MISSING}/",
    ):
        problem(script.get(HOOKS + path), 404, "not_found")
        problem(script.post(f"{HOOKS}{path}redeliver/"), 404, "not_found")


def test_the_log_is_filtered_and_paged(
    alpha: Workspace, owner: User, script_of: Script, endpoint: WebhookEndpoint
) -> None:
    ended = {"finished_at": timezone.now(), "next_attempt_at": None}
    with inside(alpha, owner):
        for _ in range(3):
            factories.make_delivery(endpoint, status="failed", **ended)
        factories.make_delivery(endpoint, event_type="benchmark.failed", status="delivered", **ended)
        factories.make_delivery(factories.make_endpoint(owner))
    script = script_of(owner)
    log = f"{HOOKS}{endpoint.pk}/deliveries/"

    def count(query: str) -> int:
        answer = script.get(log + query)
        assert answer.status_code == 200, answer.content
        return len(answer.json()["results"])

    assert count("") == 4
    assert (count("?status=failed"), count("?status=delivered"), count("?status=failed&status=delivered")) == (3, 1, 4)
    assert (count("?event=benchmark.failed"), count("?event=model.ready&status=delivered")) == (1, 0)
    page = script.get(f"{log}?page_size=3").json()
    assert len(page["results"]) == 3
    assert len(script.get(page["next"]).json()["results"]) == 1
    assert fields(problem(script.get(f"{log}?status=lost"), 422, "invalid_request")) == {"status"}
    assert fields(problem(script.get(f"{log}?format=xml"), 422, "invalid_request")) == {"format"}


def test_the_log_costs_the_same_however_long_it_is(
    alpha: Workspace, owner: User, script_of: Script, endpoint: WebhookEndpoint
) -> None:
    script = script_of(owner)

    def cost(path: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert script.get(path).status_code == 200
        return len(asked)

    with inside(alpha, owner):
        delivery = factories.make_delivery(endpoint)
        factories.make_attempt(delivery)
    log, detail = f"{HOOKS}{endpoint.pk}/deliveries/", f"{HOOKS}{endpoint.pk}/deliveries/{delivery.pk}/"
    cost(log)
    before = cost(log), cost(detail)
    with inside(alpha, owner):
        for number in range(2, 12):
            factories.make_attempt(factories.make_delivery(endpoint))
            factories.make_attempt(delivery, number=number)
    assert (cost(log), cost(detail)) == before
    assert max(before) <= 7
    attempts = script.get(detail).json()["attempts"]
    assert [each["number"] for each in attempts] == list(range(11, 0, -1))


def test_sending_again(alpha: Workspace, owner: User, script_of: Script, there: Receiver) -> None:
    there.behave = answering(500)
    ended = {"status": "failed", "finished_at": timezone.now(), "next_attempt_at": None, "attempt": 10}
    with inside(alpha, owner):
        endpoint = factories.make_endpoint(owner, url=there.url)
        one = factories.make_delivery(endpoint, **ended)
        for _ in range(2):
            factories.make_delivery(endpoint, **ended)
    script = script_of(owner)
    again = script.post(f"{HOOKS}{endpoint.pk}/deliveries/{one.pk}/redeliver/")
    assert (again.status_code, again.json()["status"], again.json()["attempt"]) == (202, "pending", 10)
    since = (timezone.now() - timedelta(hours=1)).isoformat()
    ranged = f"{HOOKS}{endpoint.pk}/redeliver/"
    assert send_json(script, "post", ranged, {"since": since}).json() == {"count": 2}
    assert send_json(script, "post", ranged, {"since": since}).json() == {"count": 0}
    assert send_json(script, "post", ranged, {"since": since, "status": "pending"}).json() == {"count": 3}
    assert fields(problem(send_json(script, "post", ranged, {}), 422, "invalid_request")) == {"since"}
    assert not there.received, "the workers send, not the request"


def test_a_test_says_what_went_wrong(alpha: Workspace, owner: User, script_of: Script, there: Receiver) -> None:
    there.behave = answering(302, Location="http://127.0.0.1:1/")
    with inside(alpha, owner):
        endpoint = factories.make_endpoint(owner, url=there.url)
    tried = script_of(owner).post(f"{HOOKS}{endpoint.pk}/test/").json()
    assert (tried["status"], tried["http_status"]) == ("failed", 302)
    assert tried["attempts"][0]["error_code"] == "redirected"
    assert "redirect" in tried["error"]
