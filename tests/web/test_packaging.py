"""Bundles on the pages: asking for one, what came of it, and when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import Artifact, PackagingJob
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


def packed(owner: User, rows: Rows, *, files: int = 3, runs_here: bool = True) -> tuple[PackagingJob, Artifact]:
    """A bundle that was made."""
    bundle = factories.make_artifact(
        owner, rows.model, artifact_type="bundle", file_name="digits-bundle.zip", mime_type="application/zip"
    )
    named = [{"path": f"file-{number}.txt", "size_bytes": 10, "sha256": "a" * 64} for number in range(files)]
    result = {"artifact": str(bundle.pk), "size_bytes": 451_000, "files": named, "runs_here": runs_here}
    return factories.make_packaging(owner, rows.model, **(results.ENDED | {"result": result})), bundle


def test_a_button_asks_for_a_bundle(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    for address in (
        to("model-detail", rows.model.pk),
        to("model-detail", rows.variant.pk) + "?tab=files",
        to("job-detail", rows.optimization.pk),
    ):
        assert "Make a bundle" in browser.get(address).content.decode()
    response = browser.post(to("packaging-create", rows.variant.pk))
    with inside(alpha, owner):
        job = PackagingJob.objects.get()
    assert (response.status_code, response["Location"]) == (303, to("job-detail", job.pk))
    assert (job.name, job.status) == ("Bundle of digits · int8", "queued")
    text = browser.get(response["Location"]).content.decode()
    assert "Write the card" in text and "Cancel" in text
    assert job.name in browser.get(to("job-list"), {"kind": "packaging"}).content.decode()
    assert job.name not in browser.get(to("job-list"), {"kind": "benchmark"}).content.decode()


def test_a_model_that_cannot_be_read_says_so(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    error = {"code": "model_unreadable", "detail": "It is cut short.", "fix": "Send all of it."}
    with inside(alpha, owner):
        broken = factories.make_model(owner, status="failed", analysis=None, error=error)
    browser = browser_of(owner)
    assert "Make a bundle" not in browser.get(to("model-detail", broken.pk)).content.decode()
    assert "It is cut short." in browser.post(to("packaging-create", broken.pk), follow=True).content.decode()


def test_what_came_of_it(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        job, bundle = packed(owner, rows)
    browser = browser_of(owner)
    text = browser.get(to("job-detail", job.pk)).content.decode()
    for shown in ("0.451 MB", "file-2.txt", "run.py", "Download bundle", "digits-bundle.zip"):
        assert shown in text
    assert to("artifact-download", bundle.pk) in text
    assert "digits-bundle.zip" in browser.get(to("artifact-list"), {"type": "bundle"}).content.decode()
    assert "digits-bundle.zip" in browser.get(to("model-detail", rows.model.pk) + "?tab=files").content.decode()
    assert job.name in browser.get(to("overview")).content.decode()
    with inside(alpha, owner):
        bundle.delete()
    text = browser.get(to("job-detail", job.pk)).content.decode()
    assert "It has been deleted since" in text and "Make it again" in text
    assert "Download bundle" not in text


def test_more_files_take_no_more_queries(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    costs = []
    for files in (1, 40):
        with inside(alpha, owner):
            job, _ = packed(owner, rows, files=files, runs_here=False)
        browser.get(to("job-detail", job.pk))
        with CaptureQueriesContext(connection) as asked:
            assert "there is no program in it" in browser.get(to("job-detail", job.pk)).content.decode()
        costs.append(len(asked))
    assert costs[0] == costs[1] < 20
