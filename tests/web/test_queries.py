"""Every page takes few queries, and as many with a full workspace as with a nearly empty one.

The pages come from the URL table, so that a new one cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster, Pace
from edge_ai.models import JobEvent, Queue
from edge_ai.services import queue
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import POST_ONLY, Rows, address, make_rows, routes

Browser = Callable[[User], Client]
BOUND = 15
MORE = 8


def pages() -> list[URLPattern]:
    return [route for route in routes() if route.name not in POST_ONLY]


def fill(workspace: Workspace, user: User, rows: Rows) -> None:
    """Make more of everything, some of it around the rows that are looked at."""
    for _ in range(MORE):
        make_rows(workspace, user)
    with inside(workspace, user):
        for _ in range(MORE):
            factories.make_model(user, parent=rows.model)
            factories.make_benchmark(user, rows.model)
            factories.make_optimization(user, rows.model)
            factories.make_artifact(user, rows.variant, optimization_job=rows.optimization)
            factories.make_attempt(factories.make_delivery(rows.delivery.endpoint))
            JobEvent.objects.create(job_id=rows.optimization.pk, kind="log", level="info", message="More to know.")


def counted(browser: Client, rows: Rows) -> dict[str, list[str]]:
    """Return the queries of each page."""
    asked: dict[str, list[str]] = {}
    for route in pages():
        browser.get(address(route, rows))  # what is kept from then on is not counted
        with CaptureQueriesContext(connection) as seen:
            assert browser.get(address(route, rows)).status_code in {200, 302}, route.name
        asked[str(route.name)] = [query["sql"] for query in seen]
    return asked


def test_every_page_takes_few_queries_however_much_there_is(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    rows = make_rows(alpha, owner)
    few = counted(browser, rows)
    fill(alpha, owner, rows)
    many = counted(browser, rows)
    faults = []
    for name, before in few.items():
        after = many[name]
        if len(after) >= BOUND:
            faults.append(f"{name} takes {len(after)} queries")
        if len(after) != len(before):
            new = [sql[:300] for sql in after if after.count(sql) > before.count(sql)]
            faults.append(f"{name} takes {len(before)} queries with few rows, {len(after)} with more: {new[:4]}")
    assert not faults, "\n".join(faults)


def test_what_waits_what_is_asked_again_and_plans_take_as_few(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    rows = make_rows(alpha, owner)
    fill(alpha, owner, rows)
    with inside(alpha, owner):
        host = factories.host_device()
        answered = factories.make_optimization(
            owner, rows.model, **results.ENDED, result=results.OPTIMIZED, answered_by=rows.optimization
        )
        waiting = [
            factories.make_optimization(owner, rows.model),
            factories.make_benchmark(owner, rows.model, baseline=rows.benchmark),
            factories.make_comparison(owner, rows.model, rows.variant),
            factories.make_diagnosis(owner, rows.variant, baseline=rows.model),
        ]
        # A gain, which the page of the optimization shows.
        factories.make_benchmark(
            owner, rows.variant, baseline=rows.benchmark, p50_ms=0.05, **results.ENDED, result=results.MEASURED
        )
        for job in waiting:
            queue.submit(job)
    with acting_as_system():
        for line in Queue.values:
            Cluster.objects.create(host="h", queue=line, pid=1, workers=1, ready=True)
            Pace.objects.get_or_create(queue=line, defaults={"seconds": 9.0, "jobs": 1})
    optimization, benchmark, comparison, diagnosis = waiting
    model, variant = rows.model.pk, rows.variant.pk
    forms: dict[str, dict[str, Any]] = {
        f"/models/{model}/optimize/": {"from": rows.optimization.pk},
        f"/models/{model}/benchmark/": {"from": rows.benchmark.pk},
        "/comparisons/new/": {"from": rows.comparison.pk},
        "/optimize/": {"model": [model, variant], "precision": ["int8", "fp16"]},
    }
    plans: dict[str, dict[str, Any]] = {
        f"/models/{model}/optimize/": {"target_format": "onnx", "precision": "fp16"},
        f"/models/{model}/benchmark/": {"baseline": rows.benchmark.pk},
        "/comparisons/new/": {"model": [model, variant], "first": variant},
        "/optimize/": {"model": [model, variant], "precision": ["int8", "fp16"]},
    }
    common = {"device_profile": host.pk, "dataset": rows.dataset.pk, "action": "plan"}
    asked: dict[str, Callable[[], Any]] = {
        "job that waits": lambda: browser.get(f"/jobs/{optimization.pk}/"),
        "job answered before": lambda: browser.get(f"/jobs/{answered.pk}/"),
        "benchmark that waits": lambda: browser.get(f"/benchmarks/{benchmark.pk}/"),
        "comparison that waits": lambda: browser.get(f"/comparisons/{comparison.pk}/"),
        "diagnosis that waits": lambda: browser.get(f"/diagnoses/{diagnosis.pk}/"),
        **{f"{path} again": partial(browser.get, path, query) for path, query in forms.items()},
        **{
            f"{path} planned": partial(browser.post, path, common | sent, headers={"HX-Request": "true"})
            for path, sent in plans.items()
        },
    }
    faults = []
    for name, ask in asked.items():
        ask()
        with CaptureQueriesContext(connection) as seen:
            answer = ask()
        assert answer.status_code == 200, name
        if len(seen) >= BOUND:
            faults.append(f"{name} takes {len(seen)} queries: {[each['sql'][:200] for each in seen]}")
    assert not faults, "\n".join(faults)
