"""The log: readable by programs, about somebody, without secrets; one id from what people see to what it says."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from accounts.models import ApiKey, User, Workspace
from config.database.identity import acting_as_system
from config.logs import FactsFilter, JsonFormatter, TextFormatter, about, scrub
from config.middleware import set_request_id
from tests.conftest import ROOT

KEY = "eas_abcdefgh_" + "Zz9-" * 10 + "abc"


def written(message: str, *args: Any, formatter: logging.Formatter | None = None, **more: Any) -> str:
    record = logging.LogRecord("studio", logging.ERROR, __file__, 1, message, args, more.get("exc_info"))
    FactsFilter().filter(record)
    return (formatter or JsonFormatter()).format(record)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} was used", "Zz9-Zz9-"),
        (f"Authorization: Bearer {KEY}", "Zz9-Zz9-"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'Authorization': 'Bearer abcdef123456'}", "abcdef123456"),
        ("password=hunter22&name=x", "hunter22"),
        ('{"password": "hunter 22", "name": "x"}', "hunter 22"),
        ("{'new_password1': 'hunter22'}", "hunter22"),
        ("password='hunter 22'", "hunter 22"),
        ("Cookie: sessionid=abc123def; csrftoken=fed321", "fed321"),
        ("Set-Cookie: sessionid=abc123def; Path=/", "abc123def"),
        ("sessionid=abc123def", "abc123def"),
        ("csrfmiddlewaretoken=abc123def&x=1", "abc123def"),
        ("https://s3/x?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0a1b2c3d&X-Amz-Date=1", "0a1b2c3d"),
        ("https://s3/x?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0a1b2c3d&X-Amz-Date=1", "AKIA"),
        ("https://gcs/x?X-Goog-Expires=300&X-Goog-Signature=0a1b2c3d", "0a1b2c3d"),
        ("https://azure/x?se=2026&sr=b&sig=0a1b2c3d%3D", "0a1b2c3d"),
        ("GET /files/eyJhIjoxfQ:1abc:sig-nature/model.onnx", "sig-nature"),
        ("GET /graph/model/eyJhIjoxfQ:1abc:sig-nature/model.onnx", "sig-nature"),
        ("GET /shared/AbCdEf123456/", "AbCdEf123456"),
        ("GET /invitations/AbCdEf123456/", "AbCdEf123456"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "K5oZfzN95Z9UVu"),
        ("postgres://studio_web:s3cr3t@db/studio", "s3cr3t"),
        ("SECRET_KEY='django-insecure-abc'", "django-insecure-abc"),
        ("secret_access_key=abcd/efgh+1", "abcd/efgh"),
        ("cannot read b'\\x08\\x07\\x12\\x07pytorch the weights themselves'", "weights themselves"),
    ],
)
@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_secrets_are_not_written(text: str, secret: str, formatter: logging.Formatter) -> None:
    assert secret in text
    assert secret not in written("%s", text, formatter=formatter)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        assert secret not in written("it failed", formatter=formatter, exc_info=sys.exc_info())


@pytest.mark.parametrize(
    "text",
    [
        "The token of the cursor belongs to another order.",
        "Attempt 2 began on host:123. The password must have 10 letters.",
        f"{ROOT}/edge_ai/api/views/base.py line 3",
        "GET /api/edge/v1/models/0b6ac3f2-52a7-4a2c-9a0b-3f2f6c1f8e11/ 200",
    ],
)
def test_what_is_no_secret_is_written(text: str) -> None:
    assert scrub(text) == text


def test_an_entry_says_what_it_is_about() -> None:
    with about(workspace="alpha", user="u1"), about(job="j1"):
        set_request_id("request-0001")
        try:
            entry = json.loads(written("It\nis %s", "odd"))
        finally:
            set_request_id("-")
    assert entry["message"] == "It\nis odd"
    facts = ("request_id", "workspace", "user", "job", "level", "logger")
    assert [entry[name] for name in facts] == ["request-0001", "alpha", "u1", "j1", "error", "studio"]
    assert entry["time"].endswith("+00:00")
    assert not {"workspace", "request_id"} & set(json.loads(written("later")))


BREAKS = """
import django; django.setup()
from django.test import Client
from django.urls import path
import config.urls
from rest_framework.response import Response
from edge_ai.api.views.base import StudioView
def page(request):
    raise RuntimeError("page password=hunter22")
class Address(StudioView):
    def get(self, request):
        raise RuntimeError("address password=hunter22")
config.urls.urlpatterns[:0] = [path("breaks/", page), path("api/breaks/", Address.as_view())]
import os
key = os.environ["KEY"]
client = Client(raise_request_exception=False, SERVER_NAME="localhost", headers={"Authorization": "Bearer " + key})
for where in ("/breaks/", "/api/breaks/", "/api/edge/v1/nothing/"):
    answer = client.get(where, headers={"Accept": "*/*"})
    print(answer.status_code, answer["X-Request-ID"], answer["X-Request-ID"] in answer.content.decode())
"""


@pytest.mark.parametrize("kind", ["json", "text"])
def test_what_people_see_of_an_error_leads_to_the_log(kind: str, real_key: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BREAKS],
        env=os.environ | {"STUDIO_LOG_FORMAT": kind, "KEY": real_key, "DJANGO_SETTINGS_MODULE": "config.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    answers = [line.split() for line in done.stdout.splitlines()]
    assert [(status, shown) for status, _, shown in answers] == [("500", "True"), ("500", "True"), ("404", "True")], (
        done.stderr[-3000:]
    )
    for place, (_, request_id, _) in enumerate(answers):
        lines = [line for line in done.stderr.splitlines() if request_id in line]
        assert lines, "the log is found by it"
        if kind == "json":
            entries = [json.loads(line) for line in lines]
            assert all(entry["request_id"] == request_id for entry in entries)
            if place == 1:
                assert entries[0]["workspace"] == "alpha"
                assert entries[0]["exception"] == "RuntimeError"
                assert "in get" in entries[0]["traceback"]
    assert "hunter22" not in done.stderr
    assert real_key.rpartition("_")[2] not in done.stderr
    if kind == "json":
        for line in filter(None, done.stderr.splitlines()):
            json.loads(line)


@pytest.fixture
def real_key(django_db_setup: None, django_db_blocker: Any) -> Any:
    """A key that other processes find."""
    with django_db_blocker.unblock(), acting_as_system():
        user = User.objects.get(email="alpha-root@example.com")
        key, secret = ApiKey.issue(
            user=user, workspace=Workspace.objects.get(slug="alpha"), name="logs", scopes=["admin"]
        )
    yield secret
    with django_db_blocker.unblock(), acting_as_system():
        key.delete()
