"""What a model can become, asked by script."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User, Workspace
from tests.api.support import BASE, MISSING, Script, fields, problem, send_json
from tests.conftest import inside
from tests.edge_ai import factories


def test_every_answer_holds_when_it_is_asked_for(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = str(factories.make_model(owner).pk)
        host = str(factories.host_device().pk)
    script = script_of(owner)
    answer = script.get(f"{BASE}models/{model}/compatibility/?category=host")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert set(found) == {"decided", "targets", "devices"}
    assert [row["device_profile"] for row in found["devices"]] == [host]
    assert {target["format"] for target in found["targets"]} >= {"onnx", "tflite", "openvino", "coreml"}
    asked = 0
    for cell in found["devices"][0]["cells"]:
        for each in cell["precisions"]:
            wanted = {
                "model": model,
                "device_profile": host,
                "target_format": cell["target_format"],
                "precision": each["precision"],
                "dry_run": True,
            }
            reply = send_json(script, "post", "optimization-jobs/", wanted)
            asked += 1
            if each["status"] == "works":
                assert reply.status_code == 200, (each, reply.content)
            else:
                assert (reply.status_code, reply.json()["code"]) == (422, each["code"]), each
                assert reply.json()["errors"][0]["detail"] == f"{each['reason']} {each['fix']}"
    assert asked > 20


def test_it_is_found_where_the_model_is(
    alpha: Workspace, owner: User, colleague: User, outsider: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner).pk
    for person in (colleague, outsider):
        problem(script_of(person).get(f"{BASE}models/{model}/compatibility/"), 404, "not_found")
    problem(script_of(owner).get(f"{BASE}models/{MISSING}/compatibility/"), 404, "not_found")


def test_answers_are_narrowed_to_a_format_and_a_category(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner).pk
    script = script_of(owner)
    found = script.get(f"{BASE}models/{model}/compatibility/?target_format=tflite&category=phone").json()
    assert [(target["format"], target["runtime"]) for target in found["targets"]] == [("tflite", "litert")]
    assert {cell["target_format"] for row in found["devices"] for cell in row["cells"]} == {"tflite"}
    assert {row["category"] for row in found["devices"]} == {"phone"}
    for name, value in (("category", "toaster"), ("target_format", "gguf")):
        refusal = script.get(f"{BASE}models/{model}/compatibility/?{name}={value}")
        assert fields(problem(refusal, 422, "invalid_request")) == {name}


def test_more_devices_cost_no_more_queries(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner).pk
    script, address = script_of(owner), f"{BASE}models/{model}/compatibility/"
    script.get(address)
    with CaptureQueriesContext(connection) as few:
        before = script.get(address).json()
    with inside(alpha, owner):
        for number in range(10):
            factories.make_device(owner, slug=f"board-{number}", name=f"Board {number}")
    with CaptureQueriesContext(connection) as many:
        after = script.get(address).json()
    assert len(after["devices"]) == len(before["devices"]) + 10
    assert len(many) == len(few)


def test_before_the_analysis_nothing_is_decided(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, status="analyzing", analysis=None).pk
    found = script_of(owner).get(f"{BASE}models/{model}/compatibility/").json()
    assert found == {"decided": False, "targets": [], "devices": []}
