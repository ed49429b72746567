"""Devices: templates for all, and profiles of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User, Workspace
from tests.api.support import BASE, Script, fields, problem, send_json
from tests.conftest import inside
from tests.edge_ai import factories

BOARD: dict[str, Any] = {
    "name": "Conveyor camera",
    "category": "single_board_computer",
    "vendor": "Acme",
    "cpu_architecture": "arm64",
    "cpu_cores": 4,
    "cpu_extensions": ["neon", "dotprod"],
    "memory_mb": 4096,
    "memory_bandwidth_gb_s": 12.5,
    "accelerators": [{"name": "NPU", "kind": "npu", "peak_tops_int8": 6.0, "precisions": ["int8"]}],
    "runtimes": ["onnxruntime"],
    "formats": ["onnx"],
    "precisions": ["fp32", "int8"],
}


def test_this_machine_comes_first_and_templates_are_all_there(owner: User, script_of: Script) -> None:
    rows = script_of(owner).get(f"{BASE}device-profiles/?page_size=200").json()["results"]
    assert rows[0]["name"] == "This machine"
    assert rows[0]["is_host"] is True
    assert len([row for row in rows if row["is_template"]]) >= 24
    assert all(row["owner"] is None for row in rows if row["is_template"])
    for row in rows:
        for name in ("peak_tops_int8", "memory_bandwidth_gb_s", "cpu_cores"):
            assert row[name] is None or row["sources"].get(name), f"{row['name']} says {name} without a source"


def test_a_device_of_ones_own(owner: User, colleague: User, script_of: Script) -> None:
    script = script_of(owner)
    answer = send_json(script, "post", "device-profiles/", BOARD)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert {name: made[name] for name in BOARD} == BOARD
    assert (made["owner"], made["is_template"], made["is_host"]) == (str(owner.pk), False, False)
    assert made["peak_gflops_fp32"] is None
    where = answer["Location"]
    assert script.get(where).json() == made
    changed = send_json(script, "patch", where, {"memory_mb": 8192, "cpu_cores": None}).json()
    assert (changed["memory_mb"], changed["cpu_cores"], changed["formats"]) == (8192, None, ["onnx"])
    halves = {"accelerators": [{"name": "GPU", "kind": "gpu"}, {"kind": "gpu"}, {}]}
    body = problem(send_json(script, "patch", where, halves), 422, "invalid_request")
    assert fields(body) == {"accelerators.1.name", "accelerators.2.name", "accelerators.2.kind"}
    changed = send_json(script, "patch", where, {"accelerators": halves["accelerators"][:1]}).json()
    assert changed["accelerators"] == [{"name": "GPU", "kind": "gpu", "peak_tops_int8": None, "precisions": []}]
    problem(script_of(colleague).get(where), 404, "not_found")
    assert script.delete(where).status_code == 204
    problem(script.get(where), 404, "not_found")


def test_templates_stay_as_they_are(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    script = script_of(owner)
    where = f"{BASE}device-profiles/{host.pk}/"
    problem(send_json(script, "patch", where, {"name": "Mine"}), 403, "permission_denied")
    problem(script.delete(where), 403, "permission_denied")
    assert script.get(where).json()["name"] == "This machine"


def test_a_device_that_jobs_use_stays(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        device = factories.make_device(owner)
        factories.make_optimization(owner, device_profile=device)
    problem(script_of(owner).delete(f"{BASE}device-profiles/{device.pk}/"), 409, "conflict")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"category": "host"}, "category"),
        ({"category": None}, "category"),
        ({"name": "  "}, "name"),
        ({"cpu_cores": "many"}, "cpu_cores"),
        ({"cpu_cores": 1.5}, "cpu_cores"),
        ({"tdp_w": -1}, "tdp_w"),
        ({"formats": "onnx"}, "formats"),
        ({"precisions": ["auto"]}, "precisions.0"),
        ({"cpu_extensions": ["x"] * 61}, "cpu_extensions"),
        ({"accelerators": {"name": "npu"}}, "accelerators"),
        ({"accelerators": [{"name": "npu", "kind": "npu", "speed": 1}]}, "accelerators.0.speed"),
        ({"visibility": "public"}, "visibility"),
        ({"is_host": True}, "is_host"),
        ({"name": "\ud800"}, "name"),
    ],
)
def test_values_that_cannot_be(owner: User, script_of: Script, wrong: dict[str, Any], named: str) -> None:
    body = problem(send_json(script_of(owner), "post", "device-profiles/", BOARD | wrong), 422, "invalid_request")
    assert named in fields(body)


def test_filters(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    send_json(script, "post", "device-profiles/", BOARD)

    def names(query: str) -> list[str]:
        answer = script.get(f"{BASE}device-profiles/?page_size=200&{query}")
        assert answer.status_code == 200, answer.content
        return [row["name"] for row in answer.json()["results"]]

    assert names("is_template=false") == ["Conveyor camera"]
    assert names("is_host=true") == ["This machine"]
    assert "Conveyor camera" in names("category=single_board_computer&format=onnx&precision=int8&search=acme")
    assert "This machine" not in names("category=phone&category=microcontroller") != []
    assert names("cpu_architecture=z80") == []
