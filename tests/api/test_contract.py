"""The description of the API against the contract: what was promised is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

from config.errors import status_of
from edge_ai.api.schema import description
from edge_ai.engine.errors import CODES
from edge_ai.models import WebhookEvent
from tests.api import contract


@lru_cache(maxsize=1)
def operations() -> dict[str, dict[str, Any]]:
    """Every operation by its name."""
    return {each["operationId"]: each for verbs in description()["paths"].values() for each in verbs.values()}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with what it refers to, and with the parts of all that it is made of."""
    if "$ref" in schema:
        return resolved(description()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
    found = dict(schema)
    for name in ("allOf", "oneOf", "anyOf"):
        for part in schema.get(name, ()):
            inner = resolved(part)
            found["properties"] = inner.get("properties", {}) | found.get("properties", {})
            for word in ("enum", "items"):
                if word in inner:
                    found.setdefault(word, inner[word])
    return found


def at(schema: dict[str, Any], path: str) -> dict[str, Any] | None:
    """The part of a schema that a dotted path leads to."""
    for step in path.split("."):
        name, entry = step.removesuffix("[]"), step.endswith("[]")
        properties = resolved(schema).get("properties", {})
        if name not in properties:
            return None
        schema = resolved(properties[name])
        if entry:
            schema = resolved(schema.get("items", {}))
    return schema


def answer(operation: str, status: str) -> dict[str, Any]:
    """The schema of an answer."""
    content = operations()[operation]["responses"][status]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


def missing(schema: dict[str, Any], names: set[str]) -> Iterator[str]:
    """Which of the fields are not there."""
    return (name for name in sorted(names) if at(schema, name) is None)


def test_every_address_and_verb_is_there() -> None:
    found = {path.removeprefix(contract.BASE): set(verbs) for path, verbs in description()["paths"].items()}
    lacking = {path: verbs - found.get(path, set()) for path, verbs in contract.PATHS.items()}
    assert not {path: verbs for path, verbs in lacking.items() if verbs}


def test_operations_keep_their_names() -> None:
    assert set(contract.OPERATIONS) == operations().keys(), "a new one is added to the contract; none is renamed"


@pytest.mark.parametrize("name", sorted(contract.ANSWERS))
def test_answers_have_their_fields(name: str) -> None:
    operation, status = name.split()
    assert not list(missing(answer(operation, status), contract.ANSWERS[name]))


@pytest.mark.parametrize("name", sorted(contract.BODIES))
def test_bodies_take_their_fields(name: str) -> None:
    operation, media_type = name.split()
    schema = operations()[operation]["requestBody"]["content"][media_type]["schema"]
    assert not list(missing(schema, contract.BODIES[name]))


@pytest.mark.parametrize("name", sorted(contract.WORDS))
def test_closed_sets_have_their_words(name: str) -> None:
    operation, status, path = name.split()
    found = at(answer(operation, status), path)
    assert found is not None
    assert contract.WORDS[name] <= set(found["enum"])


def test_lists_are_paged_and_filtered_alike() -> None:
    for name, operation in operations().items():
        if not name.startswith("list_") or (name.endswith(("_events", "_samples")) and name != "list_audit_events"):
            continue
        found = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
        assert found.keys() >= contract.PAGES | contract.FILTERS.get(name, set()), name
        assert found["page_size"]["schema"]["maximum"] == contract.MAX_PAGE
        assert set(resolved(answer(name, "200"))["properties"]) == {"next", "previous", "results"}


def test_refusals_have_one_shape_and_their_status() -> None:
    problem = description()["components"]["schemas"]["Problem"]
    assert set(problem["required"]) >= contract.PROBLEM
    assert {code: status_of(code) for code in contract.CODES} == contract.CODES
    assert contract.CODES.keys() <= CODES.keys()


def test_requests_are_safe_to_repeat_and_changes_to_make() -> None:
    for path, verbs in description()["paths"].items():
        for verb, operation in verbs.items():
            name = operation["operationId"]
            headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
            assert ("Idempotency-Key" in headers) is (verb == "post"), name
            assert ("If-Match" in headers) is (verb in {"patch", "delete"}), name
            if verb == "post":
                assert "409" in operation["responses"], name
            if verb in {"patch", "delete"}:
                assert "412" in operation["responses"], name
            if verb == "get" and path.endswith("{id}/"):
                assert "If-None-Match" in headers and "ETag" in operation["responses"]["200"]["headers"], name
            refused = operation["responses"]["429"]["headers"]
            assert contract.LIMITS | {"Retry-After", "X-Request-ID"} <= refused.keys(), name
            for status, response in operation["responses"].items():
                assert "X-Request-ID" in response["headers"], name
                assert status[0] not in "23" or response["headers"].keys() >= contract.LIMITS, name


def test_headers_that_are_named_are_described() -> None:
    named = {
        header["$ref"].rsplit("/", 1)[-1]
        for operation in operations().values()
        for response in operation["responses"].values()
        for header in response["headers"].values()
        if "$ref" in header
    }
    assert named == description()["components"]["headers"].keys()


def test_webhooks_tell_of_what_was_promised() -> None:
    assert set(WebhookEvent.values) >= contract.WEBHOOK_EVENTS
