"""One shape for every error, and one list of codes."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client, RequestFactory

from accounts.models import User
from config.errors import STATUS_BY_CODE, error_response, is_api, problem_body, problem_response, status_of
from config.middleware import set_request_id
from edge_ai.engine.errors import CODES, EngineError, InternalError, ResourceError, UnsupportedError, UserInputError
from tests.conftest import ROOT

#: Codes of warnings, which nothing is refused with: of an analysis, and of a plan.
WARNINGS = {"analysis_pending"}
#: What has codes of its own: warnings of a plan, what a diagnosis finds, and what Django's fields find.
NOT_ERRORS = {"Caution", "Finding", "ValidationError"}
PARTS = {"type", "title", "status", "code", "detail", "errors", "request_id"}


def sources() -> Iterator[Path]:
    """Every module of the studio."""
    for folder in ("accounts", "config", "edge_ai"):
        yield from (ROOT / folder).rglob("*.py")


def words(node: ast.expr) -> set[str]:
    """The strings that an expression may be: itself, or either branch of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return words(node.body) | words(node.orelse)
    return set()


def codes_in(path: Path) -> set[str]:
    """The codes that a module gives to errors: ``code="…"`` in a call, and ``{"code": "…", …}`` beside a detail."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in NOT_ERRORS:
                found |= {word for given in node.keywords if given.arg == "code" for word in words(given.value)}
        elif isinstance(node, ast.Dict):
            names = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            pairs = dict(zip(names, node.values, strict=True))
            if {"code", "detail"} <= set(pairs):
                found |= words(pairs["code"])
    return found


def test_every_code_that_is_raised_is_known() -> None:
    used = {code: path for path in sources() for code in codes_in(path)}
    assert {"model_unreadable", "worker_lost", "conflict", "file_too_large", "dependency_failed"} <= set(used)
    unknown = {code: str(path.relative_to(ROOT)) for code, path in used.items() if code not in CODES}
    assert set(unknown) == WARNINGS


def test_every_status_is_of_a_known_code() -> None:
    assert set(STATUS_BY_CODE) <= set(CODES)
    assert all(400 <= status < 600 for status in STATUS_BY_CODE.values())
    assert status_of("model_unreadable") == 422


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_says_what_it_is_and_what_helps(code: str) -> None:
    about = CODES[code]
    assert about.title and not about.title.endswith(".")
    assert about.meaning.endswith(".") and about.fix.rstrip(")").endswith(".")


def test_a_problem_has_one_shape() -> None:
    error = UserInputError("It is too large.", code="file_too_large", fix="Send less.", field="file")
    body = problem_body(error)
    assert set(body) == PARTS
    assert (body["status"], body["title"], body["type"]) == (413, "Too large", "/docs/errors/#file_too_large")
    assert body["detail"] == "It is too large. Send less."
    assert body["errors"] == [{"field": "file", "code": "file_too_large", "detail": body["detail"]}]


def test_several_fields_and_facts_for_programs_find_their_place() -> None:
    error = UnsupportedError("No.", code="unsupported_precision", details={"nearest": {"precision": "fp16"}}, field="x")
    faults = [{"field": "a", "code": "invalid_request", "detail": "d"}]
    body = problem_body(error, errors=faults)
    assert set(body) == PARTS | {"details"}
    assert body["errors"] == faults
    assert body["details"] == {"nearest": {"precision": "fp16"}}
    assert problem_body(UserInputError("No.", code="conflict"))["errors"] == []


def test_a_code_that_nobody_knows_still_makes_a_problem() -> None:
    body = problem_body(EngineError("Odd.", code="never_heard_of"))
    assert (body["status"], body["detail"]) == (422, "Odd.")
    assert body["title"]


def test_a_problem_carries_the_request_it_belongs_to() -> None:
    set_request_id("of-this-request")
    try:
        assert problem_body(UserInputError("No.", code="conflict"))["request_id"] == "of-this-request"
    finally:
        set_request_id("-")


def test_a_refusal_of_nobody_says_how_to_be_somebody() -> None:
    answer = problem_response(UserInputError("Who?", code="not_authenticated"))
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer["WWW-Authenticate"] == 'Bearer realm="studio"'
    assert "WWW-Authenticate" not in problem_response(UserInputError("No.", code="conflict"))


def test_scripts_get_a_problem_and_people_a_page(rf: RequestFactory) -> None:
    error = UserInputError("<b>No</b>.", code="conflict", fix="Wait.")
    script, person = rf.get("/api/edge/v1/models/"), rf.get("/models/")
    assert (is_api(script), is_api(person)) == (True, False)
    assert json.loads(error_response(script, error).content)["code"] == "conflict"
    page = error_response(person, error)
    assert page.status_code == 409
    assert b"&lt;b&gt;No&lt;/b&gt;" in page.content and b"<b>No" not in page.content


def test_only_our_own_faults_are_worth_another_attempt() -> None:
    assert InternalError("x", code="internal_error").retryable
    assert not InternalError("x", code="engine_crashed", retryable=False).retryable
    assert not any(kind("x", code="conflict").retryable for kind in (UserInputError, UnsupportedError, ResourceError))


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space in it", "new\u00a0line"])
def test_a_request_id_that_could_forge_a_log_line_is_replaced(db: None, given: str) -> None:
    answer = Client().get("/health/", headers={"X-Request-ID": given})
    assert len(answer["X-Request-ID"]) == 32
    assert answer["X-Request-ID"] != given


def test_a_clients_own_request_id_comes_back(owner: User) -> None:
    answer = Client().get("/api/edge/v1/me/", headers={"X-Request-ID": "build-4711.a_b"})
    assert answer["X-Request-ID"] == "build-4711.a_b"
    assert answer.json()["request_id"] == "build-4711.a_b"
