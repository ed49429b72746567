"""The description of the API: committed, served, complete, and readable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # no type information
import pytest
import yaml
from django.test import Client

from edge_ai.api.docs import as_yaml_text
from edge_ai.api.schema import description
from edge_ai.api.urls import resources

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "edge_ai" / "api" / "openapi.yaml"


def read_yaml(text: str) -> Any:
    """Read half a megabyte of YAML ten times as fast as the reader in Python."""
    return yaml.load(text, yaml.CSafeLoader)


def operations() -> list[Any]:
    return [
        pytest.param(path, verb, operation, id=operation["operationId"])
        for path, verbs in description()["paths"].items()
        for verb, operation in verbs.items()
    ]


def test_the_committed_description_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == as_yaml_text(), "run `make openapi`"


def test_it_is_valid_and_raises_no_warnings(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "manage.py", "spectacular", "--validate", "--fail-on-warn"),
            *("--file", str(tmp_path / "openapi.yaml")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "openapi.yaml").read_text() == COMMITTED.read_text()


def test_every_address_is_described() -> None:
    assert len(description()["paths"]) == len(resources)
    assert description()["openapi"].startswith("3.1")
    ids = [operation["operationId"] for verbs in description()["paths"].values() for operation in verbs.values()]
    assert len(ids) == len(set(ids)) == 84


@pytest.mark.parametrize(("path", "verb", "operation"), operations())
def test_every_operation_says_what_it_needs_to(path: str, verb: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert len(operation["description"]) >= 40, "a person learns something from it"
    assert operation["description"] != operation["summary"]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
    assert operation["security"] == [{"apiKey": []}, {"session": []}]
    refusals = {status for status in operation["responses"] if int(status) >= 400}
    assert refusals >= {"401", "403", "404"}
    for status in refusals:
        (media_type,) = operation["responses"][status]["content"]
        assert media_type == "application/problem+json"
        schema = operation["responses"][status]["content"][media_type]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
    for body in operation.get("requestBody", {}).get("content", {}).values():
        assert body["examples"], "a body has an example"


def recorded() -> list[Any]:
    return [
        pytest.param(operation["operationId"], status, body, id=f"{operation['operationId']} {status}")
        for verbs in description()["paths"].values()
        for operation in verbs.values()
        for status, response in operation["responses"].items()
        for kind, body in response.get("content", {}).items()
        if status[0] == "2" and kind == "application/json"
    ]


@pytest.mark.parametrize(("name", "status", "body"), recorded())
def test_every_answer_has_an_example_that_fits_it(name: str, status: str, body: dict[str, Any]) -> None:
    """Recorded from a real studio: see benchmarks/api_examples.py."""
    schema = {"components": description()["components"], **body["schema"]}
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert body["examples"], "run benchmarks/api_examples.py"
    for example in body["examples"].values():
        assert not [f"{error.json_path}: {error.message}"[:300] for error in checker.iter_errors(example["value"])]


def test_examples_tell_no_secrets() -> None:
    said = COMMITTED.read_text()
    assert not re.search(r"eas_[a-z2-7]{8}_[A-Za-z0-9_-]{43}|whsec_[A-Za-z0-9+/]{8}|/tmp/|/root/|/work/", said)


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "*/*", "yaml"),
        ("?format=yaml", "application/json", "yaml"),
        ("?format=json", "*/*", "json"),
        ("", "application/json", "json"),
        ("", "application/vnd.oai.openapi+json", "json"),
        ("", "text/html", "yaml"),
    ],
)
def test_it_is_served_to_anybody(db: None, query: str, accept: str, kind: str) -> None:
    response = Client().get(f"/api/schema/{query}", headers={"Accept": accept})
    assert response.status_code == 200
    assert ("json" in response["Content-Type"]) is (kind == "json")
    text = response.content.decode()
    found = json.loads(text) if kind == "json" else read_yaml(text)
    assert found == read_yaml(COMMITTED.read_text())


def test_it_comes_in_two_forms_only(db: None) -> None:
    response = Client().get("/api/schema/?format=xml")
    assert (response.status_code, response["Content-Type"]) == (422, "application/problem+json")
    assert Client().post("/api/schema/").status_code == 405


def test_the_reference_page_needs_no_script_and_no_account(db: None) -> None:
    response = Client().get("/api/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    for verbs in description()["paths"].values():
        for operation in verbs.values():
            assert f'id="{operation["operationId"]}"' in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page), "no inline script"
    assert not re.search(r"\son[a-z]+=|\sstyle=|javascript:", page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page), "nothing from elsewhere"
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'\bid="([^"]+)"', page)), "no link leads nowhere"
