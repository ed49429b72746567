"""Estimated benchmarks and the history of a model, by the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import BenchmarkRun, DeviceProfile, Model
from tests.api.support import BASE, MISSING, Script, fields, problem, send_json
from tests.conftest import inside
from tests.edge_ai import factories


def measured(owner: User, model: Model, p50_ms: float, days_ago: int) -> BenchmarkRun:
    result: dict[str, Any] = {
        "kind": "measured",
        "latency_ms": {"p50": p50_ms, "ci95": [p50_ms * 0.99, p50_ms * 1.01]},
        "environment": {"threads": 2},
        "noise": {"verdict": "quiet"},
    }
    when = timezone.now() - timedelta(days=days_ago)
    return factories.make_benchmark(owner, model, status="completed", p50_ms=p50_ms, result=result, finished_at=when)


def test_an_estimate_is_asked_for_and_found_by_its_kind(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    with inside(alpha, owner):
        model = factories.make_model(owner)
        board = DeviceProfile.objects.get(slug="raspberry-pi-5")
        run = measured(owner, model, 10.0, 1)
    wanted = {"model": str(model.pk), "device_profile": str(board.pk)}
    planned = send_json(script, "post", "benchmarks/", wanted | {"dry_run": True}).json()
    assert [stage["name"] for stage in planned["stages"]] == ["trace", "estimate"]
    made = send_json(script, "post", "benchmarks/", wanted)
    assert made.status_code == 201
    body = made.json()
    assert (body["kind"], body["p50_ms"], body["estimated_ms"]) == ("estimated", None, None)
    for kind, ids in (("estimated", {body["id"]}), ("measured", {str(run.pk)})):
        found = script.get(f"{BASE}benchmarks/?kind={kind}").json()["results"]
        assert {each["id"] for each in found} == ids
    assert fields(problem(script.get(f"{BASE}benchmarks/?kind=guessed"), 422, "invalid_request")) == {"kind"}
    compared = send_json(script, "post", "benchmarks/", wanted | {"baseline": str(run.pk)})
    assert fields(problem(compared, 422, "kinds_differ")) == {"baseline"}
    assert problem(script.get(f"{BASE}benchmarks/{body['id']}/samples/"), 404, "not_found")


def test_the_history_of_a_model_costs_the_same_however_long_it_is(
    alpha: Workspace, owner: User, outsider: User, script_of: Script
) -> None:
    script = script_of(owner)
    with inside(alpha, owner):
        model = factories.make_model(owner)
        for days, each in ((9, 10.0), (8, 10.1)):
            measured(owner, model, each, days)
    address = f"{BASE}models/{model.pk}/history/"

    def cost() -> tuple[int, dict[str, Any]]:
        with CaptureQueriesContext(connection) as queries:
            body = script.get(address).json()
        return len(queries), body

    cost()
    few, _ = cost()
    with inside(alpha, owner):
        newer = factories.make_model(owner, parent=model, name="newer")
        for days, each in ((5, 13.0), (4, 13.1), (3, 13.0), (2, 20.0)):
            measured(owner, newer, each, days)
    many, body = cost()
    assert many == few <= 8
    (series,) = body["series"]
    assert (series["threads"], series["precision"], series["batch_size"]) == (2, "fp32", 1)
    marks = [point["mark"] for point in series["points"]]
    assert marks == [None, None, "change", None, None, "unconfirmed"]
    change = series["points"][2]
    assert change["model"] == str(newer.pk) and change["model_name"] == "newer" and change["level"] == 1
    assert change["comparison"]["verdict"] == "slower" and 1.2 < change["comparison"]["ratio_p50"] < 1.4
    assert series["points"][0]["comparison"] is None
    assert body["cut_off"] is False
    problem(script.get(f"{BASE}models/{MISSING}/history/"), 404, "not_found")
