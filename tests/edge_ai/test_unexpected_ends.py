"""A job that ends in what nobody expected shows the id that the log is found by."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from config.logs import FactsFilter, JsonFormatter
from edge_ai.models import Job, JobStatus
from edge_ai.worker import work
from edge_ai.worker.babysitter import run_job
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories


class Kept(logging.Handler):
    """Keeps what the log's own formatter writes."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(FactsFilter())
        self.setFormatter(JsonFormatter())
        self.entries: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append(json.loads(self.format(record)))


@pytest.mark.parametrize("request_id", ["request-0001", ""], ids=["asked for", "by the studio itself"])
def test_one_id_leads_from_the_page_to_the_log(
    alpha: Workspace,
    owner: User,
    script_of: Callable[[User], Client],
    browser_of: Callable[[User], Client],
    monkeypatch: pytest.MonkeyPatch,
    request_id: str,
) -> None:
    def breaks(job: Job, folder: Path) -> None:
        raise RuntimeError("password=hunter22")

    monkeypatch.setattr(work, "prepare", breaks)
    kept = Kept()
    logging.getLogger("edge_ai").addHandler(kept)
    try:
        with inside(alpha, owner):
            job = factories.make_optimization(owner, status=JobStatus.QUEUED, max_attempts=1, request_id=request_id)
        with inside_as_system(alpha):
            run_job("ws_alpha", job.pk)
    finally:
        logging.getLogger("edge_ai").removeHandler(kept)
    shown = request_id or str(job.pk)
    told = script_of(owner).get(reverse("api:job-detail", args=[job.pk])).json()
    assert (told["status"], told["error"]["code"]) == ("failed", "internal_error")
    assert told["error"]["details"]["request_id"] == shown
    page = browser_of(owner).get(reverse("edge_ai:job-detail", args=[job.pk])).content.decode()
    assert shown in page
    about = [entry for entry in kept.entries if shown in json.dumps(entry)]
    [unexpected] = [entry for entry in about if entry.get("exception") == "RuntimeError"]
    facts = {name: unexpected[name] for name in ("job", "user", "workspace")}
    assert facts == {"job": str(job.pk), "user": str(owner.pk), "workspace": "ws_alpha"}
    assert unexpected.get("request_id", "") == request_id
    assert "in breaks" in unexpected["traceback"]
    assert "hunter22" not in json.dumps([kept.entries, told, page])
