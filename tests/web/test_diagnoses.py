"""Diagnoses on the pages: asking, the answer, and running what it proposes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import DiagnosisJob, OptimizationJob
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


def test_a_button_asks_why(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    assert "Ask why" in browser.get(to("model-detail", rows.variant.pk)).content.decode()
    assert "Ask why" not in browser.get(to("model-detail", rows.model.pk)).content.decode()
    response = browser.post(to("diagnosis-create", rows.variant.pk))
    with inside(alpha, owner):
        job = DiagnosisJob.objects.exclude(pk=rows.diagnosis.pk).get()
    assert (response.status_code, response["Location"]) == (303, to("diagnosis-detail", job.pk))
    assert (job.baseline_id, job.dataset_id, job.threads) == (rows.model.pk, rows.dataset.pk, 1)
    text = browser.get(response["Location"]).content.decode()
    assert "Measure by turns" in text and "Cancel" in text
    assert browser.get(to("job-detail", job.pk))["Location"] == to("diagnosis-detail", job.pk)
    assert job.name in browser.get(to("job-list"), {"kind": "diagnosis"}).content.decode()
    tab = browser.get(to("model-detail", rows.variant.pk) + "?tab=benchmarks").content.decode()
    assert to("diagnosis-detail", job.pk) in tab
    without_parent = browser.post(to("diagnosis-create", rows.model.pk), follow=True).content.decode()
    assert "nothing to hold it against" in without_parent


def test_a_job_whose_variant_is_slower_offers_to_ask(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    assert "Ask why" not in browser.get(to("job-detail", rows.optimization.pk)).content.decode()
    slower = {"code": "variant_slower", "detail": "It is slower.", "fix": "Choose fp16."}
    with inside(alpha, owner):
        OptimizationJob.objects.filter(pk=rows.optimization.pk).update(
            result=results.OPTIMIZED | {"warnings": [slower]}
        )
    assert "Ask why" in browser.get(to("job-detail", rows.optimization.pk)).content.decode()


def test_the_answer_and_its_remedy(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    text = browser.get(to("diagnosis-detail", rows.diagnosis.pk)).content.decode()
    for shown in (
        *("The variant is slower than the baseline", "2.50×", "qdq_islands", "Explains much", "act_1, act_2", "40 %"),
        *("float from here", "far off", "slower", "7.50 dB", "0.0123 ms", "exclude layers: 1 layers"),
    ):
        assert shown in text, shown
    assert text.count("Run the fix</button>") == 1
    response = browser.post(to("diagnosis-fix", rows.diagnosis.pk, 0))
    with inside(alpha, owner):
        fix = OptimizationJob.objects.exclude(pk=rows.optimization.pk).get()
    assert (response.status_code, response["Location"]) == (303, to("job-detail", fix.pk))
    assert (fix.precision, fix.options, fix.model_id) == ("fp16", {"exclude_layers": ["conv_1"]}, rows.model.pk)
    refused = browser.post(to("diagnosis-fix", rows.diagnosis.pk, 1), follow=True).content.decode()
    assert "no remedy that could be run" in refused


def test_more_layers_take_no_more_queries(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    costs = []
    for count in (1, 500):
        with inside(alpha, owner):
            told = results.diagnosed(rows.model)
            told["layers"] = told["layers"][:1] * count
            job = factories.make_diagnosis(owner, rows.variant, **(results.ENDED | {"result": told}))
        browser.get(to("diagnosis-detail", job.pk))
        with CaptureQueriesContext(connection) as asked:
            text = browser.get(to("diagnosis-detail", job.pk)).content.decode()
        costs.append(len(asked))
    assert "100 more layers" in text
    assert costs[0] == costs[1] < 20
