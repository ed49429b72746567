"""Every refusal has the one shape and gives nothing away."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import get_resolver, path
from rest_framework.exceptions import ErrorDetail, Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from config import urls as real_urls
from edge_ai.api import problems
from edge_ai.api.views.base import StudioView
from edge_ai.engine.errors import CODES, InternalError
from tests.api.support import BASE, Script, fields, problem, send_json


class Explodes(StudioView):
    """Raises whatever is put here."""

    wrong: Exception = RuntimeError("nothing is set")

    def get(self, request: Request) -> Response:
        raise type(self).wrong


def exploding_page(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("/srv/secret/path SELECT * FROM accounts_user")


urlpatterns = [
    path("api/explodes/", Explodes.as_view()),
    path("api/explodes-plainly/", exploding_page),
    *real_urls.urlpatterns,
]
handler400 = problems.handle_bad_request
handler403 = problems.handle_permission_denied
handler404 = problems.handle_not_found
handler500 = problems.handle_server_error
here = override_settings(ROOT_URLCONF=__name__)


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        (RuntimeError("/srv/secret/path SELECT * FROM accounts_user"), 500, "internal_error"),
        (KeyError("secret"), 500, "internal_error"),
        (IntegrityError("duplicate key value violates unique constraint"), 500, "internal_error"),
        (InternalError("The engine is not there.", code="internal_error"), 500, "internal_error"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/secret/path"), 507, "storage_full"),
        (OSError(errno.EACCES, "Permission denied", "/srv/secret/path"), 500, "internal_error"),
        (Http404("no Model matches the given query"), 404, "not_found"),
        (User.DoesNotExist("User matching query does not exist."), 404, "not_found"),
        (PermissionDenied(), 403, "permission_denied"),
        (SuspiciousOperation("secret"), 400, "parse_error"),
        (Throttled(wait=7), 429, "rate_limited"),
    ],
)
@here
def test_whatever_a_view_raises(
    owner: User, script_of: Script, caplog: pytest.LogCaptureFixture, wrong: Exception, status: int, code: str
) -> None:
    Explodes.wrong = wrong
    response = script_of(owner).get("/api/explodes/")
    problem(response, status, code)
    assert b"secret" not in response.content
    assert ("Unexpected error in the API" in caplog.text) is (status == 500)
    if status == 500:
        assert "Traceback" in caplog.text, "the log has what the answer has not"
    if status == 429:
        assert response["Retry-After"] == "7"


@here
def test_what_goes_wrong_outside_the_views_of_the_api(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    script.raise_request_exception = False
    response = script.get("/api/explodes-plainly/")
    problem(response, 500, "internal_error")
    assert b"secret" not in response.content
    for where in ("/api/", "/api/nothing/", f"{BASE}models/not-an-id/", f"{BASE}models/%00/"):
        problem(script.get(where), 404, "not_found")


@here
def test_nothing_is_told_of_addresses_to_strangers(db: None) -> None:
    problem(Client().get(f"{BASE}nothing/"), 404, "not_found")


def test_bad_requests_and_refusals_before_any_view() -> None:
    request = RequestFactory().get("/api/anything/")
    assert problems.handle_bad_request(request, SuspiciousOperation("secret")).status_code == 400
    answer = problems.handle_permission_denied(request, PermissionDenied("secret"))
    assert answer.status_code == 403
    assert b"secret" not in answer.content


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_the_studio_answers_scripts_with_problems_everywhere(status: int) -> None:
    handler: Any = get_resolver("config.urls").resolve_error_handler(status)
    request = RequestFactory().get("/api/anything/")
    answer = handler(request) if status == 500 else handler(request, exception=Exception("secret"))
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert b"secret" not in answer.content


@pytest.mark.parametrize(
    "body",
    ["{", "nul", '{"name": NaN}', "[" * 100_000, b"\xff\xfe", '{"name": ' + "9" * 5000 + "}"],
)
def test_a_body_that_is_no_json(owner: User, script_of: Script, body: str | bytes) -> None:
    response = script_of(owner).generic("POST", f"{BASE}device-profiles/", body, content_type="application/json")
    problem(response, 400, "parse_error")


@pytest.mark.parametrize("body", [[], "text", 7, None, [[]]])
def test_json_that_is_no_object(owner: User, script_of: Script, body: Any) -> None:
    for where in ("device-profiles/", "optimization-jobs/", "benchmarks/", "models/", "datasets/"):
        problem(send_json(script_of(owner), "post", where, json.dumps(body)), 422, "invalid_request")


def test_a_body_of_another_type(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    for where in ("device-profiles/", "models/"):
        response = script.post(BASE + where, "a=b", content_type="application/x-www-form-urlencoded")
        problem(response, 415, "unsupported_media_type")
    problem(script.post(f"{BASE}device-profiles/", {"name": "a form"}), 415, "unsupported_media_type")


def test_a_broken_form(owner: User, script_of: Script) -> None:
    response = script_of(owner).generic("POST", f"{BASE}models/", b"--x", content_type="multipart/form-data")
    problem(response, 400, "parse_error")


def test_a_method_that_is_not_there(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    for verb in ("put", "options", "trace"):
        response = getattr(script, verb)(f"{BASE}models/")
        problem(response, 405, "method_not_allowed")
        assert "GET" in response["Allow"]
    problem(script.delete(f"{BASE}models/"), 405, "method_not_allowed")


def test_an_answer_of_another_type(owner: User, script_of: Script) -> None:
    problem(script_of(owner).get(f"{BASE}models/", headers={"Accept": "text/html"}), 406, "not_acceptable")


def test_every_field_at_fault_is_named(owner: User, script_of: Script) -> None:
    body = problem(
        send_json(
            script_of(owner),
            "post",
            "device-profiles/",
            {
                "category": "toaster",
                "cpu_cores": 0,
                "memory_mb": 10**30,
                "tdp_w": 10**400,
                "formats": ["onnx", "docx"],
                "accelerators": [{"name": "npu", "kind": "npu"}, {"kind": "abacus"}],
                "vendor": "nul\0",
            },
        ),
        422,
        "invalid_request",
    )
    assert fields(body) == {
        "name",
        "category",
        "cpu_cores",
        "memory_mb",
        "tdp_w",
        "formats.1",
        "accelerators.1.name",
        "accelerators.1.kind",
        "vendor",
    }


def test_a_misspelt_field_is_not_left_out_in_silence(owner: User, script_of: Script) -> None:
    wanted = {"name": "Board", "category": "phone", "memory_gb": 4, "is_template": True}
    body = problem(send_json(script_of(owner), "post", "device-profiles/", wanted), 422, "invalid_request")
    assert fields(body) == {"memory_gb", "is_template"}
    assert {error["code"] for error in body["errors"]} == {"unknown_field"}


def test_nested_messages_are_flattened() -> None:
    detail = {
        "name": [ErrorDetail("Missing.", "required")],
        "list": {"2": [ErrorDetail("Bad.", "invalid")]},
        "rows": [{}, {"kind": [ErrorDetail("Odd.", "invalid_choice")]}],
        "non_field_errors": [ErrorDetail("All wrong.", "invalid")],
    }
    assert list(problems.field_errors(detail)) == [
        {"field": "name", "code": "required", "detail": "Missing."},
        {"field": "list.2", "code": "invalid", "detail": "Bad."},
        {"field": "rows.1.kind", "code": "invalid_choice", "detail": "Odd."},
        {"field": None, "code": "invalid", "detail": "All wrong."},
    ]


def test_a_request_id_is_taken_and_given_back(owner: User, script_of: Script) -> None:
    response = script_of(owner).get(f"{BASE}models/?bogus=1", headers={"X-Request-ID": "my-own-id-0001"})
    assert problem(response, 422, "invalid_request")["request_id"] == "my-own-id-0001"


def test_every_code_that_is_answered_is_documented() -> None:
    answered = {"parse_error", "not_authenticated", "permission_denied", "not_found", "method_not_allowed"}
    answered |= {"not_acceptable", "unsupported_media_type", "rate_limited", "internal_error", "storage_full"}
    answered |= {"file_too_large", "conflict", "workspace_required", "invalid_request"}
    assert answered <= CODES.keys()
