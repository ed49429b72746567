"""The pages of estimates and of a model's history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.engine.estimate.coefficients import load_fit
from edge_ai.engine.estimate.estimate import estimate
from edge_ai.engine.estimate.machine import Machine
from edge_ai.engine.estimate.work import OperatorClass, OperatorWork
from edge_ai.models import BenchmarkRun, DeviceProfile, Model
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.results import ENDED

Browser = Callable[[User], Client]
BOARD = Machine(name="Raspberry Pi 5", peak_gflops_fp32=150.0, memory_bandwidth_gb_s=17.0, cpu_cores=4, memory_mb=8192)


def estimated_result() -> dict[str, Any]:
    work = OperatorWork(name="first", type="Conv", operator_class=OperatorClass.CONVOLUTION, flops=1e7, size_bytes=1e5)
    found = estimate([work], BOARD, load_fit(), held_bytes=10**6).to_json()
    return found | {"input": {"kind": "random", "shapes": {"image": [1, 1, 8, 8]}}}


@pytest.fixture
def run(alpha: Workspace, owner: User) -> BenchmarkRun:
    """An estimate that is done."""
    result = estimated_result()
    with inside(alpha, owner):
        return factories.make_benchmark(
            owner,
            device_profile=DeviceProfile.objects.get(slug="raspberry-pi-5"),
            result_kind="estimated",
            estimated_ms=result["latency_ms"]["p50"],
            result=result,
            **{name: value for name, value in ENDED.items() if name != "result"},
        )


def test_the_page_of_an_estimate_never_calls_it_measured(run: BenchmarkRun, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(reverse("edge_ai:benchmark-detail", args=[run.pk])).content.decode()
    for said in (
        "Estimated for Raspberry Pi 5",
        "Estimated median latency",
        "An estimate, not a measurement.",
        "Operators, estimated",
        "What the estimate assumes",
        "Bound by",
        "computing",
        "Fits in memory",
        "Accuracy",
    ):
        assert said in text, said
    assert "Measured on" not in text and "Percentiles</h2>" not in text and "Measure again" not in text
    assert "js/benchmark.js" not in text and "chart-data" not in text, "no chart of samples"


def test_lists_hold_the_two_kinds_apart(alpha: Workspace, run: BenchmarkRun, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        # Lower than any measurement, so that it would be the best one.
        BenchmarkRun.objects.filter(pk=run.pk).update(estimated_ms=0.00123)
        factories.make_benchmark(
            owner, run.model, status="completed", p50_ms=7.77, result={"latency_ms": {"p50": 7.77}}
        )
    listed = browser.get(reverse("edge_ai:benchmark-list")).content.decode()
    assert "7.77" in listed and "≈" in listed and ">estimated, " in listed
    only = browser.get(reverse("edge_ai:benchmark-list") + "?kind=measured").content.decode()
    assert "7.77" in only and "≈" not in only
    models = browser.get(reverse("edge_ai:model-list")).content.decode()
    assert "7.77" in models and "0.00123" not in models
    detail = browser.get(reverse("edge_ai:model-detail", args=[run.model_id])).content.decode()
    assert "Best p50, measured" in detail and "Lowest p50, estimated" in detail
    assert detail.index("7.77") < detail.index("0.00123")
    overview = browser.get(reverse("edge_ai:overview")).content.decode()
    assert "≈" in overview and "estimated" in overview


def test_the_form_plans_an_estimate_and_drops_the_baseline(
    alpha: Workspace, run: BenchmarkRun, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        earlier = factories.make_benchmark(owner, run.model, status="completed", p50_ms=7.77)
    browser = browser_of(owner)
    address = reverse("edge_ai:benchmark-create", args=[run.model_id])
    given = {"device_profile": str(run.device_profile_id), "baseline": str(earlier.pk)}
    plan = browser.post(address, given | {"action": "plan"}).content.decode()
    assert "Estimates the latency on Raspberry Pi 5" in plan and "Find the operators" in plan
    form = browser.get(address).content.decode()
    assert f'value="{run.pk}"' not in form, "an estimate is offered as no baseline"
    response = browser.post(address, given)
    assert response.status_code == 303
    with inside(alpha, owner):
        made = BenchmarkRun.objects.order_by("-created_at").first()
        assert made is not None and (made.result_kind, made.baseline_id) == ("estimated", None)


def test_the_history_says_since_when_a_model_is_slower(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    def measure(model: Model, p50_ms: float, days_ago: int, **fields: Any) -> BenchmarkRun:
        result: dict[str, Any] = {
            "kind": "measured",
            "latency_ms": {"p50": p50_ms, "ci95": [p50_ms * 0.99, p50_ms * 1.01], "samples": 10},
            "environment": {"threads": 2},
        }
        when = timezone.now() - timedelta(days=days_ago)
        return factories.make_benchmark(
            owner, model, status="completed", p50_ms=p50_ms, result=result | fields, finished_at=when
        )

    with inside(alpha, owner):
        model = factories.make_model(owner)
        measure(model, 10.0, 9)
    browser = browser_of(owner)
    address = reverse("edge_ai:model-detail", args=[model.pk]) + "?tab=history"

    def cost() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as queries:
            text = browser.get(address).content.decode()
        return len(queries), text

    cost()
    few, _ = cost()
    regression = {"ratio_p50": 1.31, "ci95": [1.2, 1.4], "level_ms": 10.0, "runs": 1}
    with inside(alpha, owner):
        newer = factories.make_model(owner, parent=model, name="the newer one")
        slower = measure(newer, 13.1, 5, regression=regression)
        measure(newer, 13.0, 4)
    many, text = cost()
    assert many == few
    assert "js/history.js" in text and "data-history" in text
    assert "the newer one" in text and "Slower" in text and "1 change" in text
    page = browser.get(reverse("edge_ai:benchmark-detail", args=[slower.pk])).content.decode()
    assert "Slower than before." in page and "1.31×" in page
    with inside(alpha, owner):
        fresh = factories.make_model(owner)
    empty = browser.get(reverse("edge_ai:model-detail", args=[fresh.pk]) + "?tab=history").content.decode()
    assert "more than once" in empty
