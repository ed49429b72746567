"""Requests that are sent twice, changes to what has changed, limits, other origins, and bodies that are absurd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, User, Workspace
from edge_ai.models import DeviceProfile, KeptAnswer, Model
from edge_ai.services import repeats
from tests.api.support import BASE, MISSING, SAMPLE, Script, fields, problem, sample
from tests.conftest import inside
from tests.edge_ai import factories
from tests.studio import RealStudio

BOARD = {
    "name": "Board",
    "category": "single_board_computer",
    "cpu_architecture": "arm64",
    "formats": ["onnx"],
    "precisions": ["fp32"],
}


def post(client: Client, path: str, body: Any, key: str) -> Any:
    return client.post(BASE + path, body, content_type="application/json", headers={"Idempotency-Key": key})


# -- requests that are sent twice


def test_a_repeated_request_is_answered_again_and_done_once(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    first = post(script, "device-profiles/", BOARD, "k-1")
    again = post(script_of(owner), "device-profiles/", dict(reversed(BOARD.items())), "k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first["Location"] == again["Location"]
    assert again["Content-Type"] == first["Content-Type"] == "application/json"
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    with inside(alpha, owner):
        assert DeviceProfile.objects.owned_by(owner).count() == 1
    problem(post(script, "device-profiles/", BOARD | {"name": "Another"}, "k-1"), 409, "conflict")
    problem(post(script, "benchmarks/", BOARD, "k-1"), 409, "conflict")
    assert post(script, "device-profiles/", BOARD | {"name": "Another"}, "k-2").status_code == 201


def test_a_key_is_its_senders_own_and_lasts_a_day(
    alpha: Workspace, owner: User, colleague: User, script_of: Script
) -> None:
    first = post(script_of(owner), "device-profiles/", BOARD, "k-1").json()
    assert post(script_of(colleague), "device-profiles/", BOARD, "k-1").json()["id"] != first["id"]
    with inside(alpha, owner):
        KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    later = post(script_of(owner), "device-profiles/", BOARD | {"name": "Later"}, "k-1")
    assert (later.status_code, later.json()["name"]) == (201, "Later")
    with inside(alpha, owner):
        KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
        assert (repeats.forget_old(), KeptAnswer.objects.count()) == (1, 0)


def test_a_refusal_is_not_kept(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    problem(post(script, "device-profiles/", {}, "k-1"), 422, "invalid_request")
    assert post(script, "device-profiles/", BOARD, "k-1").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\tbed", "ünïcode"])
def test_a_key_that_is_none(owner: User, script_of: Script, key: str) -> None:
    assert fields(problem(post(script_of(owner), "device-profiles/", BOARD, key), 422, "invalid_request")) == {
        "Idempotency-Key"
    }


def test_files_are_told_apart_by_what_they_hold(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)

    def send(content: bytes) -> Any:
        file = SimpleUploadedFile("digits.onnx", content)
        return script.post(f"{BASE}models/", {"file": file, "name": "digits"}, headers={"Idempotency-Key": "k-1"})

    content = (SAMPLE / "digits.onnx").read_bytes()
    assert send(content).json() == send(content).json()
    problem(send(content + b"more"), 409, "conflict")
    with inside(alpha, owner):
        assert Model.objects.count() == 1


def test_uploads_and_addresses_without_a_body_too(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Idempotency-Key": "k-1"}
    first = script.post(f"{BASE}uploads/", headers=headers, content_type="application/offset+octet-stream")
    again = script.post(f"{BASE}uploads/", headers=headers, content_type="application/offset+octet-stream")
    assert first.status_code == again.status_code == 201
    assert first["Location"] == again["Location"]
    problem(script.post(f"{BASE}uploads/", headers=headers | {"Upload-Length": "8"}), 409, "conflict")
    with inside(alpha, owner):
        job = factories.make_optimization(owner)
    where = f"{BASE}optimization-jobs/{job.pk}/cancel/"
    assert script.post(where, headers={"Idempotency-Key": "c-1"}).json()["status"] == "cancelled"
    assert script.post(where, headers={"Idempotency-Key": "c-1"}).json()["status"] == "cancelled"
    problem(script.post(where, headers={"Idempotency-Key": "c-2"}), 409, "conflict")


def test_a_secret_in_an_answer_is_kept_encrypted(alpha: Workspace, owner: User, script_of: Script) -> None:
    wanted = {"url": "https://example.com/hook", "events": ["model.ready"]}
    script = script_of(owner)
    secret = post(script, "webhooks/", wanted, "k-1").json()["secret"]
    assert post(script, "webhooks/", wanted, "k-1").json()["secret"] == secret
    with inside(alpha, owner):
        kept = KeptAnswer.objects.get()
        assert secret not in kept.body
        assert secret not in json.dumps(kept.headers)
    with override_settings(SECRET_KEY="another" * 8):
        problem(post(script_of(owner), "webhooks/", wanted, "k-1"), 409, "conflict")


def test_whoever_may_no_longer_do_it_is_told_so_and_not_answered_again(owner: User, script_of: Script) -> None:
    assert post(script_of(owner), "device-profiles/", BOARD, "k-1").status_code == 201
    problem(post(script_of(owner, scopes=["read"]), "device-profiles/", BOARD, "k-1"), 403, "permission_denied")
    problem(post(Client(), "device-profiles/", BOARD, "k-1"), 401, "not_authenticated")


def test_of_requests_that_come_at_once_one_is_done(studio: RealStudio) -> None:
    headers = {"Authorization": f"Bearer {studio.api_key}", "Idempotency-Key": str(uuid.uuid4())}
    body = BOARD | {"name": f"At once {uuid.uuid4()}"}

    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{studio.base}{BASE}device-profiles/", json=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    found = httpx.get(f"{studio.base}{BASE}device-profiles/", params={"search": body["name"]}, headers=headers)
    assert len(found.json()["results"]) == 1


# -- changes to what has changed


def of_each(owner: User) -> dict[str, str]:
    """Where one of everything that can be changed or removed is."""
    job = factories.make_optimization(owner)
    return {
        "model": reverse("api:model-detail", args=[factories.make_model(owner).pk]),
        "dataset": reverse("api:dataset-detail", args=[factories.make_dataset(owner).pk]),
        "device": reverse("api:device-profile-detail", args=[factories.make_device(owner).pk]),
        "artifact": reverse("api:artifact-detail", args=[factories.make_artifact(owner).pk]),
        "webhook": reverse("api:webhook-detail", args=[factories.make_endpoint(owner).pk]),
        "optimization": reverse("api:job-detail", args=[job.pk]),
    }


@pytest.mark.parametrize("kind", ["artifact", "dataset", "device", "model", "optimization", "webhook"])
def test_what_is_known_is_not_sent_again(alpha: Workspace, owner: User, script_of: Script, kind: str) -> None:
    with inside(alpha, owner):
        where = of_each(owner)[kind]
    script = script_of(owner)
    answer = script.get(where)
    tag = answer["ETag"]
    assert tag.startswith('"') and tag.endswith('"')
    assert answer["Cache-Control"] == "private, no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = script.get(where, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
        assert "Content-Type" not in again
        assert again["X-Request-ID"]
    assert script.get(where, headers={"If-None-Match": '"other"'}).status_code == 200
    assert script.head(where, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("kind", "change"),
    [("model", {"name": "New"}), ("device", {"memory_mb": 77}), ("webhook", {"description": "New"})],
)
def test_a_change_to_another_version_is_refused(
    alpha: Workspace, owner: User, script_of: Script, kind: str, change: dict[str, Any]
) -> None:
    with inside(alpha, owner):
        where = of_each(owner)[kind]
    script = script_of(owner)

    def patch(tag: str) -> Any:
        return script.patch(where, change, content_type="application/json", headers={"If-Match": tag})

    seen = script.get(where)["ETag"]
    told = problem(patch('"other"'), 412, "precondition_failed")
    assert told["details"] == {"etag": seen}
    assert script.get(where)["ETag"] == seen, "nothing was changed"
    answer = patch(seen)
    assert (answer.status_code, answer["ETag"]) == (200, script.get(where)["ETag"])
    assert answer["ETag"] != seen
    problem(patch(seen), 412, "precondition_failed")
    assert patch("*").status_code == 200
    problem(script.delete(where, headers={"If-Match": seen}), 412, "precondition_failed")
    assert script.delete(where, headers={"If-Match": script.get(where)["ETag"]}).status_code == 204
    problem(script.delete(where, headers={"If-Match": seen}), 404, "not_found")


@pytest.mark.parametrize("kind", ["artifact", "dataset"])
def test_a_removal_of_another_version_is_refused(alpha: Workspace, owner: User, script_of: Script, kind: str) -> None:
    with inside(alpha, owner):
        where = of_each(owner)[kind]
    script = script_of(owner)
    problem(script.delete(where, headers={"If-Match": '"other"'}), 412, "precondition_failed")
    assert script.delete(where, headers={"If-Match": script.get(where)["ETag"]}).status_code == 204


def test_conditions_disclose_nothing(alpha: Workspace, owner: User, outsider: User, script_of: Script) -> None:
    with inside(alpha, owner):
        where = of_each(owner)["model"]
    for headers in ({"If-Match": "*"}, {"If-Match": '"x"'}):
        problem(script_of(outsider).delete(where, headers=headers), 404, "not_found")
        problem(script_of(owner).delete(f"{BASE}models/{MISSING}/", headers=headers), 404, "not_found")


# -- limits


def test_every_answer_tells_how_far_one_is_and_a_key_has_its_own_limit(
    alpha: Workspace, owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    with inside(alpha, owner):
        ApiKey.objects.filter(user=owner).update(rate_per_minute=3)
    for left in (2, 1, 0):
        answer = script.get(f"{BASE}models/{MISSING}/")
        assert answer.status_code == 404
        assert (answer["RateLimit-Limit"], answer["RateLimit-Remaining"]) == ("3", str(left))
        assert 0 < int(answer["RateLimit-Reset"]) <= 60
    refused = script.get(f"{BASE}me/")
    problem(refused, 429, "rate_limited")
    assert refused["Retry-After"] == refused["RateLimit-Reset"]
    assert refused["RateLimit-Remaining"] == "0"
    fresh = script_of(owner).get(f"{BASE}me/")
    assert fresh.status_code == 200, "another key has a count of its own"
    assert fresh.json()["api_key"]["rate_per_minute"] == int(fresh["RateLimit-Limit"]) == 6000
    with inside(alpha, owner):
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("UPDATE studio_api_rate SET began = began - interval '61 seconds'")
    assert script.get(f"{BASE}me/")["RateLimit-Remaining"] == "2", "a minute later"


def test_sessions_are_counted_and_anybody_else_is_not(owner: User, browser_of: Any) -> None:
    browser = browser_of(owner)
    with override_settings(API_RATE_PER_MINUTE=1):
        assert browser.get(f"{BASE}me/").status_code == 200
        problem(browser.get(f"{BASE}me/"), 429, "rate_limited")
        assert browser.get("/models/").status_code == 200, "pages are not the API"
        assert "RateLimit-Limit" not in Client().get("/api/schema/")
    with override_settings(API_RATE_PER_MINUTE=0):
        assert "RateLimit-Limit" not in browser.get(f"{BASE}me/")


def test_nobody_counts_for_another(alpha: Workspace, owner: User, colleague: User, script_of: Script) -> None:
    from django.db import connection

    script_of(owner).get(f"{BASE}me/")
    for user, seen in ((owner, 1), (colleague, 0), (None, 0)):
        with inside(alpha, user), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM studio_api_rate")
            assert len(cursor.fetchall()) == seen


# -- other origins


def test_other_origins_are_not_let_in_unless_they_are_named(db: None) -> None:
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    assert not [name for name in Client().options(f"{BASE}models/", headers=asked).headers if "Access-Control" in name]


def test_named_origins_are_let_in(tmp_path: Path, db: None) -> None:
    script = """
import django; django.setup()
from django.test import Client
ask = lambda origin, **more: Client().options("/api/edge/v1/models/", headers={"Origin": origin, **more})
wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
a = ask("https://app.example.com", **wanted)
assert a.status_code == 200, a.status_code
assert a["Access-Control-Allow-Origin"] == "https://app.example.com"
assert "idempotency-key" in a["Access-Control-Allow-Headers"]
assert "Access-Control-Allow-Credentials" not in a
assert "Access-Control-Allow-Origin" not in ask("https://evil.example.com", **wanted)
b = Client().get("/api/schema/", headers={"Origin": "https://app.example.com"})
assert "ETag" in b["Access-Control-Expose-Headers"]
c = Client().get("/sign-in/", headers={"Origin": "https://app.example.com"})
assert "Access-Control-Allow-Origin" not in c
print("let in")
"""
    environment = os.environ | {
        "CORS_ALLOWED_ORIGINS": "https://app.example.com",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert "let in" in done.stdout, done.stderr[-3000:]


# -- absurd bodies


@pytest.mark.parametrize("opening", ['{"name":', "[", '[{"a":'])
@pytest.mark.parametrize("levels", [33, 500, 20_000])
def test_deep_nesting_is_refused_and_crashes_nothing(owner: User, script_of: Script, opening: str, levels: int) -> None:
    closing = {'{"name":': "}", "[": "]", '[{"a":': "}]"}[opening]
    body = opening * levels + "1" + closing * levels
    for path in ("device-profiles/", "optimization-jobs/", "models/", "webhooks/"):
        answer = script_of(owner).generic("POST", BASE + path, body, content_type="application/json")
        problem(answer, 400, "parse_error")


def test_a_large_document_is_refused(owner: User, script_of: Script) -> None:
    body = json.dumps({"name": "x" * 1_200_000})
    for path in ("device-profiles/", "models/"):
        answer = script_of(owner).generic("POST", BASE + path, body, content_type="application/json")
        problem(answer, 413, "file_too_large")


# -- request ids


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "a b c d e f g h", "evil\nline-in-log", "<script>alert(1)</script>"]
)
def test_a_request_id_that_could_do_harm_is_replaced(owner: User, script_of: Script, given: str) -> None:
    answer = script_of(owner).get(f"{BASE}me/", headers={"X-Request-ID": given})
    assert answer["X-Request-ID"] != given
    assert len(answer["X-Request-ID"]) == 32


def test_the_sample_is_sent_twice_as_the_client_does(owner: User, script_of: Script) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first, again = (
        script_of(owner).post(f"{BASE}datasets/", {"file": sample("digits-eval.npz")}, headers=headers)
        for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]


@pytest.mark.parametrize(
    ("moment", "status"),
    [
        ("0201-02-01T01:58:11.8+22:08", 200),
        ("2026-01-01T00:00:00-23:59", 200),
        ("0001-01-01T00:00:00+14:00", 422),
        ("9999-12-31T23:59:59-14:00", 422),
        ("", 422),
    ],
)
def test_moments_at_the_ends_of_time(owner: User, script_of: Script, moment: str, status: int) -> None:
    for path, name in (
        ("models/", "created_after"),
        ("telemetry/events/", "at_before"),
        ("webhooks/", "created_before"),
    ):
        assert script_of(owner).get(BASE + path, {name: moment}).status_code == status
