"""The same request again, in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import OptimizationJob
from edge_ai.services.optimizations import OptimizationRequest, submit_optimization
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import Rows, make_rows

Browser = Callable[[User], Client]

GIVEN = {"target_format": "onnx", "precision": "int8", "optimization_level": "balanced", "action": "submit"}


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything, the optimization submitted as a person would and completed."""
    made = make_rows(alpha, owner)
    with inside(alpha, owner):
        job = submit_optimization(
            owner,
            request=OptimizationRequest(
                model=made.model, device_profile=factories.host_device(), dataset=made.dataset, precision="int8"
            ),
        )
        key = job.cache_key
        job.delete()
        for kind in ("optimized_model", "recipe"):
            factories.make_artifact(owner, made.variant, artifact_type=kind, optimization_job=made.optimization)
        OptimizationJob.objects.filter(pk=made.optimization.pk).update(cache_key=key)
    return made


def given(rows: Rows, **changes: Any) -> dict[str, Any]:
    return GIVEN | {"device_profile": rows.optimization.device_profile_id, "dataset": rows.dataset.pk} | changes


def test_the_plan_says_that_it_was_answered_before(rows: Rows, owner: User, browser_of: Browser) -> None:
    address = reverse("edge_ai:optimization-create", args=[rows.model.pk])
    page = browser_of(owner).post(address, given(rows, action="plan")).content.decode()
    assert "Answered before" in page and reverse("edge_ai:job-detail", args=[rows.optimization.pk]) in page
    page = browser_of(owner).post(address, given(rows, action="plan", fresh="on")).content.decode()
    assert "Answered before" not in page


def test_an_answered_job_says_so_shows_the_answer_and_runs_afresh_on_demand(
    alpha: Workspace, rows: Rows, owner: User, colleague: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    address = reverse("edge_ai:optimization-create", args=[rows.model.pk])
    where = browser.post(address, given(rows))
    assert where.status_code == 303
    page = browser.get(where["Location"]).content.decode()
    assert "Answered from an earlier job" in page and "nothing was run" in page
    assert reverse("edge_ai:job-detail", args=[rows.optimization.pk]) in page
    assert reverse("edge_ai:model-download", args=[rows.variant.pk]) in page
    with inside(alpha, owner):
        answered = OptimizationJob.objects.get(answered_by=rows.optimization.pk)
    afresh = reverse("edge_ai:job-afresh", args=[answered.pk])
    assert afresh in page
    assert browser_of(colleague).post(afresh).status_code == 404
    where = browser.post(afresh)
    assert where.status_code == 303
    with inside(alpha, owner):
        fresh = OptimizationJob.objects.get(status="queued")
    assert where["Location"] == reverse("edge_ai:job-detail", args=[fresh.pk])
    assert (fresh.answered_by_id, fresh.cache_key) == (None, answered.cache_key)
    page = browser.get(where["Location"]).content.decode()
    assert "Answered from an earlier job" not in page and "afresh/" not in page
    benchmark = browser.post(reverse("edge_ai:job-afresh", args=[rows.benchmark.pk]))
    assert benchmark.status_code == 404, "benchmarks always run"


def test_the_box_in_the_form_has_it_run(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    address = reverse("edge_ai:optimization-create", args=[rows.model.pk])
    assert 'name="fresh"' in browser_of(owner).get(address).content.decode()
    browser_of(owner).post(address, given(rows, fresh="on"))
    with inside(alpha, owner):
        assert OptimizationJob.objects.get(status="queued").answered_by_id is None


def test_passes_of_an_earlier_attempt_are_told(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    passes = [{"name": "convert", "seconds": 3.0, "size_bytes": 7, "reused": True}]
    with inside(alpha, owner):
        job = factories.make_optimization(
            owner, **results.ENDED | {"result": results.OPTIMIZED | {"passes": passes}, "precision": "int8"}
        )
    page = browser_of(owner).get(reverse("edge_ai:job-detail", args=[job.pk])).content.decode()
    assert "from an earlier attempt" in page
