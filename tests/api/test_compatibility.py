"""What a model can become, asked by script."""

from __future__ import annotations

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
                assert reply.json()["errors"][0]["detail"].startswith(each["reason"])
    assert asked > 20


def test_it_is_found_where_the_model_is(
    alpha: Workspace, owner: User, colleague: User, outsider: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner).pk
    for person in (colleague, outsider):
        problem(script_of(person).get(f"{BASE}models/{model}/compatibility/"), 404, "not_found")
    problem(script_of(owner).get(f"{BASE}models/{MISSING}/compatibility/"), 404, "not_found")


def test_a_category_that_is_none_is_refused(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner).pk
    body = problem(
        script_of(owner).get(f"{BASE}models/{model}/compatibility/?category=toaster"), 422, "invalid_request"
    )
    assert fields(body) == {"category"}


def test_before_the_analysis_nothing_is_decided(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, status="analyzing", analysis=None).pk
    found = script_of(owner).get(f"{BASE}models/{model}/compatibility/").json()
    assert found == {"decided": False, "targets": [], "devices": []}
