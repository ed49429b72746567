"""Comparisons on the pages: choosing models, what came of them, and the table for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import ComparisonJob, Model
from edge_ai.web.compared import change, front_words, headline, pareto_front, points
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import Rows, make_rows

Browser = Callable[[User], Client]


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything."""
    return make_rows(alpha, owner)


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def done(owner: User, *models: Model, **fields: Any) -> ComparisonJob:
    return factories.make_comparison(
        owner, *models, **(results.ENDED | {"result": results.compared(*models, **fields)})
    )


@pytest.mark.parametrize(
    ("points_", "front"),
    [
        ([(1.0, -0.9), (2.0, -0.95), (3.0, -0.9)], {0, 1}),
        ([(1.0, -0.9), (1.0, -0.9)], {0, 1}),
        ([(1.0, -0.9), (1.0, -0.8)], {0}),
        ([(1.0, None), (2.0, -0.5)], {1}),
        ([], set()),
    ],
)
def test_the_front_is_what_nothing_beats(points_: list[tuple[float, float | None]], front: set[int]) -> None:
    assert pareto_front(points_) == front


def test_differences_have_signs() -> None:
    assert [change(delta) for delta in (-0.42, 0.0, 0.5, 13.08, None)] == [
        *("−42.0 %", "0.0 %", "+50.0 %", "14.1 ×", "–"),
    ]
    assert [points(delta) for delta in (-0.0123, 0.0, 0.01, None)] == [
        "−1.23 points",
        "+0.00 points",
        "+1.00 points",
        "–",
    ]


def test_the_headline_claims_no_more_than_is_known(owner: User) -> None:
    models = [Model(name=name, size_bytes=1000, format="onnx") for name in ("a", "b", "c")]
    assert headline(results.compared(*models[:2])).startswith("“b”: 1.25× faster than “a”")
    assert headline(results.compared(*models, ratios=(0.8, 0.5))) == "2 of 2 are faster than “a”; “c” the most, 2.00×."
    assert headline(results.compared(*models, ratios=(1.0, 0.99))) == (
        "None is shown to be faster than “a”, though not all is clear."
    )
    assert headline(results.compared(*models, ratios=(1.0, 2.0))) == "None is shown to be faster than “a”."


def test_a_front_of_one_is_no_line() -> None:
    def told(*fronts: bool) -> str:
        return front_words([SimpleNamespace(on_front=each) for each in fronts])

    assert told(True, True, False) == "The line joins the Pareto front."
    assert told(False, True) == "One alone is the Pareto front: no other is better in either."
    assert told(False, False) == ""


def test_models_are_chosen_and_the_first_is_marked(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    variants = browser.get(to("model-detail", rows.model.pk) + "?tab=variants").content.decode()
    link = f"{to('comparison-create')}?model={rows.model.pk}&amp;model={rows.variant.pk}"
    assert link in variants
    form = browser.get(link.replace("&amp;", "&")).content.decode()
    assert form.count("checked") >= 3  # two models, and the first of them
    assert f"Holds 1 model against “{rows.model.name}”" in form
    host = {"device_profile": str(self_host(alpha, owner))}
    chosen = {"model": [str(rows.model.pk), str(rows.variant.pk)], "first": str(rows.variant.pk)} | host
    response = browser.post(to("comparison-create"), chosen | {"margin": "3", "max_seconds": "9"})
    assert response.status_code == 303, response.content.decode()
    with inside(alpha, owner):
        job = ComparisonJob.objects.get(status="queued")
        assert [each.model_id for each in job.compared.all()] == [rows.variant.pk, rows.model.pk]
        assert (job.margin, job.max_seconds) == (0.03, 9.0)
    assert response["Location"] == to("comparison-detail", job.pk)
    text = browser.get(response["Location"]).content.decode()
    assert "Measure by turns" in text and "Cancel" in text
    assert browser.get(to("job-detail", job.pk))["Location"] == to("comparison-detail", job.pk)


def self_host(alpha: Workspace, owner: User) -> Any:
    with inside(alpha, owner):
        return factories.host_device().pk


def test_what_is_wrong_is_said_in_the_form(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    host = {"device_profile": str(self_host(alpha, owner))}
    empty = browser.post(to("comparison-create"), host)
    assert empty.status_code == 422
    assert "Choose two to eight models." in empty.content.decode()
    one = browser.post(to("comparison-create"), host | {"model": str(rows.model.pk)})
    assert one.status_code == 422
    assert "2 to 8 are compared" in one.content.decode()
    assert browser.get(to("comparison-create") + "?model=x&search=%27%3Cb%3E").status_code == 200
    board = browser.post(
        to("comparison-create"),
        {"device_profile": str(rows.device.pk), "model": [str(rows.model.pk), str(rows.variant.pk)], "action": "plan"},
        headers={"HX-Request": "true"},
    ).content.decode()
    assert "The device is not here" in board


def test_what_came_of_it(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(to("comparison-detail", rows.comparison.pk)).content.decode()
    for shown in ("1.25× faster than", "Yes, faster", "−20.0 %", "−1.00 points", "comparison-data", "Table (CSV)"):
        assert shown in text
    assert "Every pair" not in text
    with inside(alpha, owner):
        third = factories.make_model(owner, name="third", size_bytes=9000)
        three = done(owner, rows.model, rows.variant, third, ratios=(1.0, 0.99), labelled=False)
    text = browser_of(owner).get(to("comparison-detail", three.pk)).content.decode()
    for shown in ("No, the same", "Not certain", "Every pair", "no data set was given", "faster and smaller"):
        assert shown in text


def test_the_table_is_safe_for_spreadsheets(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        models = [factories.make_model(owner, name=name) for name in ("digits, plain", "=cmd()")]
        job = done(owner, *models)
        waiting = factories.make_comparison(owner, *models)
    browser = browser_of(owner)
    answer = browser.get(to("comparison-table", job.pk))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(answer.content.decode("utf-8-sig").splitlines()))
    assert [line["name"] for line in lines] == ["digits, plain", "'=cmd()"]
    assert (lines[0]["verdict"], lines[1]["verdict"], lines[1]["on_pareto_front"]) == ("", "faster", "yes")
    assert float(lines[1]["ratio_p50"]) == 0.8
    assert browser.get(to("comparison-table", waiting.pk)).status_code == 303


def test_more_models_take_no_more_queries(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    costs = []
    for count in (2, 8):
        with inside(alpha, owner):
            models = [factories.make_model(owner, name=f"m{place}") for place in range(count)]
            job = done(owner, *models, ratios=(0.8,) * (count - 1))
        address = to("comparison-detail", job.pk)
        browser.get(address)
        with CaptureQueriesContext(connection) as asked:
            assert f"m{count - 1}" in browser.get(address).content.decode()
        chosen = "&".join(f"model={model.pk}" for model in models)
        browser.get(f"{to('comparison-create')}?{chosen}")  # what a process remembers is asked for once
        with CaptureQueriesContext(connection) as asked_to_choose:
            browser.get(f"{to('comparison-create')}?{chosen}")
        costs.append((len(asked), len(asked_to_choose)))
    assert costs[0] == costs[1]
    assert max(costs[0]) < 30
