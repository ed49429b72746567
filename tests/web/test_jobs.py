"""Pages of jobs and benchmarks: live while they run, complete when they have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import JobEvent
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import Rows, make_rows, running, status_of_job

Browser = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything."""
    return make_rows(alpha, owner)


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def test_a_waiting_job_is_cancelled_and_run_again(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        job = factories.make_optimization(owner, rows.model)
    browser = browser_of(owner)
    response = browser.post(to("job-cancel", job.pk))
    assert response.status_code == 303
    assert response["Location"] == to("job-detail", job.pk)
    with inside(alpha, owner):
        assert status_of_job(job.pk) == "cancelled"
    assert "Retry" in browser.get(to("job-detail", job.pk)).content.decode()
    assert browser.post(to("job-retry", job.pk)).status_code == 303
    with inside(alpha, owner):
        assert status_of_job(job.pk) == "queued"


def test_a_job_that_has_ended_cannot_be_cancelled(rows: Rows, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).post(to("job-cancel", rows.optimization.pk), follow=True)
    assert response.redirect_chain[0][1] == 303
    assert "already ended" in response.content.decode()


def test_a_failed_job_says_why_and_what_to_do(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        job = factories.make_optimization(owner, rows.model, precision="fp16", **results.FAILED)
    text = browser_of(owner).get(to("job-detail", job.pk)).content.decode()
    assert "The variant computes something else" in text
    assert "Choose fp16." in text
    assert "#parity_failed" in text
    assert "stopped here" in text
    assert "Traceback" not in text


def test_a_running_job_sends_what_is_new(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    job = running(alpha, owner, rows.model)
    with inside(alpha, owner):
        first = JobEvent.objects.create(job_id=job.pk, kind="log", message="first line")
        second = JobEvent.objects.create(job_id=job.pk, kind="log", message="second <b>line</b>")
    browser = browser_of(owner)
    response = browser.get(to("job-events", job.pk), {"after": first.pk}, headers=HTMX)
    text = response.content.decode()
    assert "HX-Refresh" not in response
    assert "first line" not in text
    assert "second &lt;b&gt;line" in text
    assert f"?after={second.pk}" in text
    assert 'hx-swap-oob="beforeend:#job-log"' in text
    assert "left" in text
    quiet = browser.get(to("job-events", job.pk), {"after": second.pk}, headers=HTMX).content.decode()
    assert "second &lt;b&gt;line" in quiet, "what was said last still stands beside the status"
    assert "<li>" not in quiet.partition('beforeend:#job-log">')[2].partition("</ol>")[0]
    page = browser.get(to("job-events", job.pk)).content.decode()
    assert "first line" in page
    assert "<html" in page


@pytest.mark.parametrize("after", ["", "x", "-1", "9" * 40])
def test_a_strange_place_in_the_log_is_no_error(after: str, rows: Rows, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).get(to("job-events", rows.optimization.pk), {"after": after}, headers=HTMX)
    assert response.status_code == 200


def test_a_job_that_has_ended_lets_the_page_load_anew_and_stops_asking(
    rows: Rows, owner: User, browser_of: Browser
) -> None:
    response = browser_of(owner).get(to("job-events", rows.optimization.pk), headers=HTMX)
    assert response["HX-Refresh"] == "true"
    assert "hx-get" not in response.content.decode()
    assert "hx-get" not in browser_of(owner).get(to("job-detail", rows.optimization.pk)).content.decode()


def test_the_job_page_shows_before_and_after(rows: Rows, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(to("job-detail", rows.optimization.pk)).content.decode()
    for shown in (
        "3.33×",
        "smaller",
        "38.6",
        "99.5 %",
        "98.80 %",
        "98.60 %",
        "MinMax",
        "Chosen",
        "There are few samples.",
    ):
        assert shown in text
    assert to("artifact-download", rows.artifact.pk) in text
    assert to("model-download", rows.variant.pk) in text


def test_the_benchmark_page_shows_its_numbers(rows: Rows, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(to("benchmark-detail", rows.benchmark.pk)).content.decode()
    for shown in (
        "0.0646",
        "0.06397",
        "0.06499",
        "Measured on",
        "98.80 %",
        "The machine was noisy",
        "no RAPL",
        "46.9 %",
    ):
        assert shown in text
    assert '<script id="chart-data" type="application/json">' in text
    assert "22296" in text, "the table of the histogram"
    assert "0.08710" in text, "the table of the series"


def test_a_benchmark_has_its_own_page(rows: Rows, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).get(to("job-detail", rows.benchmark.pk))
    assert response["Location"] == to("benchmark-detail", rows.benchmark.pk)
