"""The end of a job's page: before and after, what the figures mean, and what to do next or instead."""

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
from edge_ai.models import BenchmarkRun, Job, OptimizationJob
from edge_ai.web.before_after import compared_on, figures_of, pairs_of
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import Rows, make_rows, running

Browser = Callable[[User], Client]


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything."""
    return make_rows(alpha, owner)


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def words(response: Any) -> str:
    """A page without white space between its words."""
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def failed(
    alpha: Workspace, owner: User, rows: Rows, code: str, details: dict[str, Any] | None = None, **fields: Any
) -> OptimizationJob:
    """A job that failed with a code."""
    error = {"code": code, "detail": "It went wrong.", "fix": "Do something.", "details": details}
    with inside(alpha, owner):
        return factories.make_optimization(
            owner,
            rows.model,
            **(results.FAILED | {"error": error, "precision": "int8", "dataset": rows.dataset} | fields),
        )


def test_figures_say_what_they_mean() -> None:
    parity = results.OPTIMIZED["parity"]
    said = {figure.name: (figure.value, figure.meaning) for figure in figures_of(parity)}
    assert said["Same top class"] == ("99.5 %", "1 of 100 samples gets another top class.")
    assert said["SQNR"] == ("38.6 dB", "The outputs differ by about 1.2 % of their own size, usual for integers.")
    assert said["Cosine"][0] == "0.999931"
    assert "the output’s own units" in said["Largest error"][1]
    assert compared_on(parity) == "on 100 samples of your data set"
    same = parity | {"sqnr_db": None, "top1_agreement": 1.0, "cosine": 1.0}
    said = {figure.name: (figure.value, figure.meaning) for figure in figures_of(same)}
    assert said["SQNR"][0] == "exact" and said["Cosine"][0] == "1"
    assert said["Same top class"][1].startswith("Every sample")
    far = {figure.name: figure.meaning for figure in figures_of(parity | {"sqnr_db": 6.0206, "top1_agreement": 0.5})}
    assert "50.0 % of their own size, much" in far["SQNR"]
    assert far["Same top class"] == "50 of 100 samples get another top class."
    assert figures_of({"data": "not_checked"}) == [] == figures_of({})


def test_only_what_both_have_is_held_against_each_other() -> None:
    plain = pairs_of(size_before=5000, size_after=1500, measured=None, metric=None)
    assert [(pair.title, pair.change, pair.longest) for pair in plain] == [("Size of the file", "3.33× smaller", 5000)]
    measured = {
        "p50_ms": 2.0,
        "baseline__p50_ms": 1.0,
        "memory": 30.0,
        "memory_before": None,
        "accuracy": {"top1": 0.97, "mae": 0.5},
        "accuracy_before": {"top1": 0.98},
    }
    found = pairs_of(size_before=5000, size_after=1500, measured=measured, metric={"name": "top1"})
    assert [(pair.title, pair.change) for pair in found[1:]] == [
        ("Median latency", "2.00× slower"),
        ("Top-1 accuracy", "−1.00 points"),
    ]
    unsure = pairs_of(size_before=2, size_after=1, measured=measured | {"verdict": "inconclusive"}, metric=None)
    assert unsure[1].change == "not certain", "as the page says above"


def test_before_and_after_stand_side_by_side(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser, address = browser_of(owner), to("job-detail", rows.optimization.pk)
    text = words(browser.get(address))
    assert "3.33× smaller" in text and "−0.20 points" in text
    assert "once the variant is benchmarked" in text
    assert "1 of 100 samples gets another top class." in text
    with inside(alpha, owner):
        compared = {"verdict": "faster", "ratio_p50": 0.5, "ci95": [0.4, 0.6]}
        memory = {"memory_mb": {"baseline": 30, "loaded": 31, "peak": 33.25}, "accuracy": {"top1": 0.98}}
        factories.make_benchmark(
            owner,
            rows.variant,
            **(
                results.ENDED
                | {"result": results.MEASURED | {"comparison": compared} | memory}
                | {"p50_ms": 0.0323, "baseline": rows.benchmark}
            ),
        )
    text = words(browser.get(address))
    for shown in ("0.0646 ms", "0.0323 ms", "2.00× faster", "36.5 MB", "33.2 MB", "98.80 %", "98.00 %", "−0.80 points"):
        assert shown in text, shown
    assert "once the variant is benchmarked" not in text
    with CaptureQueriesContext(connection) as asked:
        browser.get(address)
    assert len(asked) < 20


def test_the_next_steps_lead_on(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(to("job-detail", rows.optimization.pk)).content.decode()
    part = text.partition('id="next"')[2].partition("</section>")[0]
    for address in (
        to("model-download", rows.variant.pk),
        to("benchmark-create", rows.variant.pk),
        f"{to('comparison-create')}?model={rows.model.pk}&amp;model={rows.variant.pk}",
        to("diagnosis-create", rows.variant.pk),
        to("packaging-create", rows.variant.pk),
    ):
        assert address in part


@pytest.mark.parametrize(
    ("code", "details", "fields", "said", "query"),
    [
        (
            "parity_failed",
            {"worst_layers": [{"layer": "conv_1", "operator": "Conv", "sqnr_db": 3.0}]},
            {},
            "Keep the worst layer in float",
            {"exclude_layers": "conv_1"},
        ),
        ("parity_failed", None, {}, "Make it in fp16", {"precision": "fp16"}),
        ("parity_failed", None, {"options": {"search": False}}, "Try several settings", {"search": "true"}),
        (
            "unsupported_precision",
            {"nearest": {"target_format": "openvino", "precision": "fp16"}},
            {"precision": "int4", "target_format": "openvino"},
            "Make it in fp16",
            {"precision": "fp16"},
        ),
    ],
)
def test_a_failure_is_mended_with_one_click(
    code: str,
    details: dict[str, Any] | None,
    fields: dict[str, Any],
    said: str,
    query: dict[str, str],
    alpha: Workspace,
    rows: Rows,
    owner: User,
    browser_of: Browser,
) -> None:
    job = failed(alpha, owner, rows, code, details, **fields)
    browser = browser_of(owner)
    page = browser.get(to("job-detail", job.pk))
    remedy = next(each for each in page.context["remedies"] if each.words == said)
    assert remedy.address.replace("&", "&amp;") in page.content.decode()
    form = browser.get(remedy.address).context["form"]
    for name, value in query.items():
        assert form[name].value() == value
    assert str(form["target_format"].value()) == job.target_format


def test_what_would_be_refused_is_not_offered(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        small = factories.make_device(owner, slug="only-int8", precisions=["int8"], formats=["onnx"])
    job = failed(alpha, owner, rows, "parity_failed", device_profile=small)
    assert browser_of(owner).get(to("job-detail", job.pk)).context["remedies"] == []


def test_data_that_would_help_is_offered(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    few = {"code": "same_samples", "detail": "The data set is small.", "fix": "Give 200 samples or more."}
    with inside(alpha, owner):
        OptimizationJob.objects.filter(pk=rows.optimization.pk).update(result=results.OPTIMIZED | {"warnings": [few]})
    browser = browser_of(owner)
    text = words(browser.get(to("job-detail", rows.optimization.pk)))
    assert "Add a data set" in text
    with inside(alpha, owner):
        larger = factories.make_dataset(owner, name="many", sample_count=500)
    text = words(browser.get(to("job-detail", rows.optimization.pk)))
    assert f"dataset={larger.pk}" in text
    assert "Use the data “many”, 500 samples" in text
    assert "Add a data set" not in text


def test_what_may_succeed_the_second_time_is_run_again_from_where_it_is_told(
    alpha: Workspace, rows: Rows, owner: User, colleague: User, viewer: User, browser_of: Browser
) -> None:
    job = failed(alpha, owner, rows, "worker_lost", visibility="workspace")
    with inside(alpha, owner):
        type(rows.model).objects.filter(pk=rows.model.pk).update(visibility="workspace")
    browser = browser_of(owner)
    assert "Run it again</button>" in words(browser.get(to("job-detail", job.pk)))
    for other in (colleague, viewer):
        assert "Run it again" not in words(browser_of(other).get(to("job-detail", job.pk)))
    assert "Change and run again" in words(browser_of(colleague).get(to("job-detail", job.pk)))
    assert browser.post(to("job-retry", job.pk)).status_code == 303
    with inside(alpha, owner):
        assert Job.objects.get(pk=job.pk).status == "queued"


def test_a_failed_benchmark_is_run_again_from_where_it_is_told(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    error = {"error": {"code": "worker_lost", "detail": "The worker was lost.", "fix": "Run it again."}}
    with inside(alpha, owner):
        run = factories.make_benchmark(owner, rows.model, **(results.FAILED | error))
    text = words(browser_of(owner).get(to("benchmark-detail", run.pk)))
    assert "Run it again</button>" in text
    assert to("job-retry", run.pk) in text


def test_time_left_rests_on_history_where_there_is_some(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    job = running(alpha, owner, rows.model)
    browser, address = browser_of(owner), to("job-detail", job.pk)
    assert "no history yet" in words(browser.get(address)), "no fp16 job has completed here"
    with inside(alpha, owner):
        began = timezone.now() - timedelta(hours=1)
        for seconds in (100, 110, 120):
            ended = {"started_at": began, "finished_at": began + timedelta(seconds=seconds)}
            result = {"result": results.OPTIMIZED | {"precision": "fp16"}}
            factories.make_optimization(owner, rows.model, precision="fp16", **(results.ENDED | result | ended))
    text = words(browser.get(address))
    assert "about 1 min 39 s left · by 3 jobs like it" in text or "about 1 min 40 s left · by 3 jobs like it" in text
    with inside_as_system(alpha):
        Job.objects.filter(pk=job.pk).update(started_at=timezone.now() - timedelta(seconds=200))
    assert "longer than jobs like it took" in words(browser.get(address))
    with inside_as_system(alpha):
        BenchmarkRun.objects.filter(pk=rows.benchmark.pk).update(
            **{"status": "running", "progress": 50, "lease_token": job.pk, "lease_expires_at": timezone.now()},
            worker="w",
            result=None,
            finished_at=None,
            started_at=timezone.now() - timedelta(seconds=10),
        )
    assert "left · by its progress so far" in words(browser.get(to("benchmark-detail", rows.benchmark.pk)))
