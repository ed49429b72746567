"""Pages of jobs and benchmarks: live while they run, complete when they have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import BenchmarkRun, Job, JobEvent, OptimizationJob
from tests.conftest import inside, inside_as_system
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


def sent(response: Any) -> bytes:
    """What a streaming response sends."""
    return b"".join(response.streaming_content)


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
    asks = f'hx-get="{to("job-events", rows.optimization.pk)}'
    assert asks not in browser_of(owner).get(to("job-detail", rows.optimization.pk)).content.decode()


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
        "noisy meanwhile, and when it was measured once more.",
        "Measured twice",
        "0.0931 –",
        "0.0972",
        "of the samples (2.4 %) are outliers",
        "71.2 MB",
        "Threads of each",
        "0123456789ab<",
        "onnxruntime 1.32.0",
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


def test_the_log_says_how_grave_when_and_in_which_attempt(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    job = running(alpha, owner, rows.model)
    with inside(alpha, owner):
        JobEvent.objects.create(job_id=job.pk, kind="log", level="debug", attempt=2, message="a library's words")
    text = browser_of(owner).get(to("job-detail", job.pk)).content.decode()
    line = text.partition('<li class="debug">')[2].partition("</li>")[0]
    assert '<span class="level">debug</span>' in line
    assert "attempt 2" in line
    assert "a library&#x27;s words" in line
    assert to("job-log", job.pk) in text
    assert "Only the end is shown" not in text


def test_the_whole_log_is_sent_as_text_however_long_it_is(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(alpha, owner, rows.model)
    with inside(alpha, owner):
        JobEvent.objects.bulk_create(
            JobEvent(job_id=job.pk, kind="log", level="debug", attempt=1, message=f"line {number}\nand more")
            for number in range(1200)
        )
        JobEvent.objects.create(job_id=job.pk, kind="stage", stage="parity", progress=50, attempt=1)
    browser = browser_of(owner)
    page = browser.get(to("job-detail", job.pk)).content.decode()
    assert "Only the end is shown" in page
    assert page.count('<li class="debug">') == 499
    response = browser.get(to("job-log", job.pk))
    assert response.streaming
    assert response["Content-Disposition"] == f'attachment; filename="job-{job.pk}-log.txt"'
    assert response["Cache-Control"] == "private, no-store"
    lines = sent(response).decode().splitlines()
    assert lines[0] == job.name
    assert lines[3].endswith("Z  debug    1  line 0")
    assert lines[4] == "    and more"
    assert lines[-1].endswith("info     1  parity (50 %)")
    assert len(lines) == 3 + 2 * 1200 + 1
    monkeypatch.setattr("edge_ai.web.views.job_log.MAX_LINES", 500)
    lines = sent(browser.get(to("job-log", job.pk))).decode().splitlines()
    assert len(lines) == 3 + 2 * 500 + 1
    assert "the rest is left out" in lines[-1]


def test_a_log_that_is_sent_when_its_job_has_become_private_holds_nothing(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    shared = make_rows(alpha, owner, visibility="workspace")
    response = browser_of(colleague).get(to("job-log", shared.optimization.pk))
    assert response.status_code == 200
    with inside(alpha, owner):
        Job.objects.filter(pk=shared.optimization.pk).update(visibility="private")
    assert b"Something to know" not in sent(response), "it is read in the asker's name"
    assert browser_of(colleague).get(to("job-log", shared.optimization.pk)).status_code == 404


def test_the_page_says_how_a_job_ran(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    job = running(alpha, owner, rows.model)
    with inside_as_system(alpha):
        Job.objects.filter(pk=job.pk).update(sandbox_level="strong", priority=2)
    browser = browser_of(owner)
    text = browser.get(to("job-detail", job.pk)).content.decode()
    assert "<dt>Sandbox</dt><dd>Strong</dd>" in text
    assert "high priority" in text
    assert "high priority" in browser.get(to("job-list")).content.decode()
    live = browser.get(to("job-events", job.pk), headers=HTMX).content.decode()
    assert 'id="job-facts"' in live and 'hx-swap-oob="true"' in live
    usual = browser.get(to("job-detail", rows.optimization.pk)).content.decode()
    assert "<dt>Sandbox</dt><dd>–</dd>" in usual
    assert " priority<" not in usual


def test_the_studios_own_jobs_have_a_page(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        ended = {"status": "completed", "progress": 100, "finished_at": timezone.now()}
        shared = {"owner": owner, "kind": "deletion", "queue": "studio", "name": "Clear storage"}
        done = Job.objects.create(**shared, **ended, result={"removed": 3})
        idle = Job.objects.create(**shared, **ended, result={"removed": 0})
        waiting = Job.objects.create(**shared)
    browser = browser_of(owner)
    text = browser.get(to("job-detail", done.pk)).content.decode()
    assert "The studio’s own housekeeping" in text
    assert "Clear storage" not in browser.get(to("overview")).content.decode()
    assert '<span class="num">3</span> files that nothing refers to were removed.' in text
    assert "There was nothing to remove." in browser.get(to("job-detail", idle.pk)).content.decode()
    assert "Remove what nothing refers to" in browser.get(to("job-detail", waiting.pk)).content.decode()


def test_the_variant_is_measured_when_it_is_made(
    alpha: Workspace, rows: Rows, owner: User, colleague: User, browser_of: Browser
) -> None:
    job = running(alpha, owner, rows.model)
    browser = browser_of(owner)
    offer = "Benchmark the variant when it is made"
    assert offer in browser.get(to("job-detail", job.pk)).content.decode()
    response = browser.post(to("variant-benchmark", job.pk))
    assert (response.status_code, response["Location"]) == (303, to("job-detail", job.pk))
    with inside(alpha, owner):
        run = BenchmarkRun.objects.get(variant_of=job)
        assert (run.status, run.waits_for_id) == ("pending", job.pk)
        assert run.device_profile.is_host
    text = browser.get(to("job-detail", job.pk)).content.decode()
    assert offer not in text
    assert to("benchmark-detail", run.pk) in text
    assert "starts when the variant is made" in text
    waiting = browser.get(to("benchmark-detail", run.pk)).content.decode()
    assert "Waits for the variant that it is to measure." in waiting
    with inside(alpha, owner):
        ended = {"result": results.OPTIMIZED | {"model": str(rows.variant.pk)}}
        OptimizationJob.objects.filter(pk=rows.optimization.pk).update(**ended)
    made = browser.post(to("variant-benchmark", rows.optimization.pk))
    with inside(alpha, owner):
        straight = BenchmarkRun.objects.get(model=rows.variant)
    assert made["Location"] == to("benchmark-detail", straight.pk), "one that is made already is measured at once"


def test_a_variant_that_will_not_run_here_is_not_offered_to_be_measured(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        job = factories.make_optimization(owner, rows.model, target_format="ncnn", precision="fp16")
    browser = browser_of(owner)
    assert "when it is made" not in browser.get(to("job-detail", job.pk)).content.decode()
    response = browser.post(to("variant-benchmark", job.pk), follow=True)
    assert "cannot be run on this machine" in response.content.decode()
    with inside(alpha, owner):
        assert not BenchmarkRun.objects.filter(variant_of=job).exists()
