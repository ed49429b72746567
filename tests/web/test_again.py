"""Changing a job and running it again: the form begins with what the job was asked with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.engine.options import OptimizeOptions, option_rules
from edge_ai.models import BenchmarkRun, ComparisonJob, Dataset, OptimizationJob
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import Rows, make_rows

Browser = Callable[[User], Client]
OPTIONS: dict[str, Any] = {
    "accuracy_budget": 0.0,
    "calibration_samples": 50,
    "search": False,
    "seed": 7,
    "calibration_method": "percentile",
    "percentile": 99.5,
    "per_channel": False,
    "reduce_range": True,
    "symmetric_activations": True,
    "exclude_layers": ["conv_1", "a, b"],
    "weight_only": True,
    "block_size": 64,
    "fp16_mode": "full",
    "keep_io_float32": False,
    "integer_io": True,
    "simplify": True,
    "deduplicate": True,
    "prune": "unstructured",
    "sparsity": 0.25,
    "cluster": 16,
}


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything."""
    return make_rows(alpha, owner)


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def as_sent(form: Any) -> dict[str, Any]:
    """What a browser sends of a form that nobody touched."""
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def test_an_optimization_is_asked_again_with_all_that_it_was_asked_with(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    usual = OptimizeOptions()
    assert set(OPTIONS) == set(option_rules())
    assert not [name for name, value in OPTIONS.items() if value == getattr(usual, name)]
    with inside(alpha, owner):
        asked = {"precision": "int8", "optimization_level": "size", "priority": 0, "options": OPTIONS}
        job = factories.make_optimization(
            owner, rows.model, name="By hand", dataset=rows.dataset, **(results.FAILED | asked)
        )
    browser = browser_of(owner)
    link = f"{to('optimization-create', rows.model.pk)}?from={job.pk}"
    assert link in browser.get(to("job-detail", job.pk)).content.decode()
    page = browser.get(link)
    form = page.context["form"]
    assert form.options_changed() == len(OPTIONS)
    for name, value in asked.items():
        if name != "options":
            assert form[name].value() == value
    # What is sent without a change asks for the same; the engine judges it as it would have then.
    with inside(alpha, owner):
        sent = type(form)(as_sent(form), user=owner, model=rows.model)
        assert sent.is_valid(), sent.errors
        assert sent.options() == OPTIONS
        assert (sent.cleaned_data["priority"], sent.cleaned_data["name"]) == (0, "By hand")
        assert (sent.cleaned_data["device_profile"], sent.cleaned_data["dataset"]) == (job.device_profile, rows.dataset)


def test_what_the_address_says_goes_before_the_earlier_job(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    browser, address = browser_of(owner), to("optimization-create", rows.model.pk)
    query = f"?from={rows.optimization.pk}&precision=fp16&exclude_layers=conv_1&exclude_layers=conv_2"
    page = browser.get(address + query)
    form = page.context["form"]
    assert form["precision"].value() == "fp16"
    assert form["exclude_layers"].value() == "conv_1\nconv_2"
    assert str(form["dataset"].value()) == str(rows.dataset.pk)
    assert "Makes <span" in page.content.decode(), "it is planned at once"
    response = browser.post(address, as_sent(form))
    with inside(alpha, owner):
        made = OptimizationJob.objects.exclude(pk=rows.optimization.pk).get()
    assert response["Location"] == to("job-detail", made.pk)
    assert (made.precision, made.options) == ("fp16", {"exclude_layers": ["conv_1", "conv_2"]})


def test_a_benchmark_and_a_comparison_are_asked_again(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        BenchmarkRun.objects.filter(pk=rows.benchmark.pk).update(
            threads=1, batch_size=4, min_seconds=1, max_seconds=9, warmup=3, profile_operators=False, priority=2
        )
        ComparisonJob.objects.filter(pk=rows.comparison.pk).update(margin=0.05, max_seconds=33, threads=2)
    link = f"{to('benchmark-create', rows.model.pk)}?from={rows.benchmark.pk}"
    assert link in browser.get(to("benchmark-detail", rows.benchmark.pk)).content.decode()
    browser.post(link.partition("?")[0], as_sent(browser.get(link).context["form"]))
    with inside(alpha, owner):
        run = BenchmarkRun.objects.exclude(pk=rows.benchmark.pk).get()
    kept = (run.threads, run.batch_size, run.min_seconds, run.max_seconds, run.warmup, run.profile_operators)
    assert kept == (1, 4, 1, 9, 3, False)
    assert (run.dataset_id, run.priority) == (rows.dataset.pk, 2)
    link = f"{to('comparison-create')}?from={rows.comparison.pk}"
    assert link in browser.get(to("comparison-detail", rows.comparison.pk)).content.decode()
    browser.post(to("comparison-create"), as_sent(browser.get(link).context["form"]))
    with inside(alpha, owner):
        again = ComparisonJob.objects.exclude(pk=rows.comparison.pk).get()
        models = [each.model_id for each in again.compared.order_by("place")]
    assert models == [rows.model.pk, rows.variant.pk]
    assert (again.margin, again.max_seconds, again.threads) == (0.05, 33, 2)
    assert again.dataset_id == rows.dataset.pk


@pytest.mark.parametrize("gone", ["11111111-2222-4333-8444-555555555555", "x", ""])
def test_a_job_that_is_gone_is_told(gone: str, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    for address in (
        to("optimization-create", rows.model.pk),
        to("benchmark-create", rows.model.pk),
        to("comparison-create"),
    ):
        response = browser.get(address, {"from": gone})
        assert response.status_code == 200
        assert ("is not there any more" in response.content.decode()) == bool(gone)


def test_what_has_been_deleted_since_is_told(
    alpha: Workspace, rows: Rows, owner: User, colleague: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        Dataset.objects.filter(pk=rows.dataset.pk).delete()
        ComparisonJob.objects.filter(pk=rows.comparison.pk).update(visibility="workspace")
    for address, job in (
        (to("optimization-create", rows.model.pk), rows.optimization),
        (to("benchmark-create", rows.model.pk), rows.benchmark),
    ):
        text = browser.get(address, {"from": str(job.pk)}).content.decode()
        assert "has been deleted. Choose another one." in text
    text = browser_of(colleague).get(to("comparison-create"), {"from": str(rows.comparison.pk)}).content.decode()
    assert "2 of the models of" in text
    text = browser_of(colleague).get(to("comparison-create"), {"from": str(rows.benchmark.pk)}).content.decode()
    assert "is not there any more" in text, "a colleague's private job is as if it were not there"


def test_a_viewer_is_not_offered_to_run_again(alpha: Workspace, owner: User, viewer: User, browser_of: Browser) -> None:
    shared = make_rows(alpha, owner, visibility="workspace")
    for name, job in (("job-detail", shared.optimization), ("benchmark-detail", shared.benchmark)):
        assert "Change and run again" not in browser_of(viewer).get(to(name, job.pk)).content.decode()
