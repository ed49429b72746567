"""The Graph tab and what its viewer is served."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import Model
from edge_ai.web import graph
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
VERSION = version("netron")
pytestmark = pytest.mark.django_db


def tab_of(model: Model) -> str:
    return reverse("edge_ai:model-detail", args=[model.pk]) + "?tab=graph"


def test_only_the_graph_tab_may_hold_a_frame(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    model = make_rows(alpha, owner).model
    shown = browser_of(owner).get(tab_of(model))
    text = shown.content.decode()
    assert 'sandbox="allow-scripts"' in text
    assert f"/graph/{VERSION}/viewer.html?model=%2Fgraph%2Fmodel%2F" in text
    assert "frame-src http://testserver/graph/" in shown["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in shown["Content-Security-Policy"]
    assert 'aria-label="Table of operators"' in text
    other = browser_of(owner).get(reverse("edge_ai:model-detail", args=[model.pk]))
    assert "frame-src" not in other["Content-Security-Policy"]


def test_what_cannot_be_drawn_is_said(
    alpha: Workspace, owner: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_rows(alpha, owner).model
    monkeypatch.setattr(graph, "LIMIT_BYTES", 0)
    text = browser_of(owner).get(tab_of(model)).content.decode()
    assert "No graph is drawn." in text
    assert "<iframe" not in text
    with inside(alpha, owner):
        engine = factories.make_model(owner, format="tensorrt")
        broken = factories.make_model(
            owner, status="failed", error={"code": "model_unreadable", "detail": "It ends early."}
        )
    assert "compiled code for one GPU" in browser_of(owner).get(tab_of(engine)).content.decode()
    text = browser_of(owner).get(tab_of(broken)).content.decode()
    assert "could not be read as a model" in text
    assert "<iframe" not in text


def test_the_viewer_has_no_power_and_no_telemetry(client: Client) -> None:
    answer = client.get(f"/graph/{VERSION}/viewer.html")
    policy = answer["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "frame-ancestors 'self'" in policy
    assert "script-src http://testserver/graph/" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
    assert answer["X-Frame-Options"] == "SAMEORIGIN"
    text = answer.content.decode()
    assert text.count("<script") == 1
    assert "js/graph_viewer" in text


def test_the_viewers_modules_are_kept_and_nothing_else_is_served(client: Client) -> None:
    packed = client.get(f"/graph/{VERSION}/view.js", headers={"accept-encoding": "gzip"})
    assert packed["Content-Encoding"] == "gzip"
    assert "immutable" in packed["Cache-Control"]
    plain = client.get(f"/graph/{VERSION}/view.js")
    assert plain["Content-Type"].startswith("text/javascript")
    assert "Content-Encoding" not in plain
    for name in ("server.py", "index.html", "..%2Fsetup.js", "missing.js"):
        assert client.get(f"/graph/{VERSION}/{name}").status_code == 404
    assert client.get("/graph/0.0.1/view.js").status_code == 404


def test_an_altered_link_leads_to_no_model(client: Client) -> None:
    assert client.get("/graph/model/altered/model.onnx").status_code == 404


def test_operators_are_sorted_by_what_they_cost(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    analysis = {
        "operators": {"Relu": 9, "Add": 5, "Conv": 2, "Gemm": 1, "MatMul": 1},
        "macs_by_operator": {"Conv": 750_000, "Gemm": 249_999, "MatMul": 1},
    }
    with inside(alpha, owner):
        model = factories.make_model(owner, analysis=analysis)
        unknown = factories.make_model(owner, analysis={"operators": {"Add": 1, "Relu": 4}})
    address = reverse("edge_ai:model-detail", args=[model.pk]) + "?tab=operators"
    text = browser_of(owner).get(address).content.decode()
    places = [text.index(f">{name}</th>") for name in ("Conv", "Gemm", "MatMul", "Relu", "Add")]
    assert places == sorted(places)
    assert "75.0 % of MACs" in text
    assert "&lt; 0.1 %" in text
    plain = browser_of(owner).get(address.replace(str(model.pk), str(unknown.pk))).content.decode()
    assert "of MACs" not in plain
    assert plain.index(">Relu</th>") < plain.index(">Add</th>")
