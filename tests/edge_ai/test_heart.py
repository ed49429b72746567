"""A lease is kept while files are copied and hashed, and a cancellation counts at once even then."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError

from accounts.models import User
from edge_ai import storage
from edge_ai.models import AnalysisJob, Job, JobEvent, JobStatus
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import models
from edge_ai.worker import outcomes
from edge_ai.worker.babysitter import run_job
from edge_ai.worker.heart import Heart

LEASE_S = 2.0
LONGER_S = 4.5


@pytest.fixture
def job_id(committed: User, settings: Any) -> uuid.UUID:
    """An analysis that waits, in a studio with a short lease."""
    settings.JOB_LEASE_SECONDS = LEASE_S
    model = models.upload_model(committed, file=SimpleUploadedFile("m.onnx", ONNX_MODEL.read_bytes()))
    return AnalysisJob.objects.get(model=model).pk


def slow(work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """Do something after a while, as on a storage that is slow."""

    def slowly(*arguments: Any) -> Any:
        time.sleep(seconds)
        return work(*arguments)

    return slowly


@pytest.mark.parametrize(("module", "name"), [(storage, "copy_out"), (outcomes, "collect")])
def test_a_file_may_take_longer_than_the_lease(
    job_id: uuid.UUID, module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, slow(getattr(module, name), LONGER_S))
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1), job.error


def test_a_cancellation_does_not_wait_for_the_copy(job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def copy(sha256: str, target: Path) -> None:
        Job.objects.request_cancel(job_id)
        deadline = time.monotonic() + 20
        while not seen and time.monotonic() < deadline:
            seen.extend(Job.objects.filter(pk=job_id, status=JobStatus.CANCELLED).values_list("status", flat=True))
            time.sleep(0.05)
        target.write_bytes(ONNX_MODEL.read_bytes())

    monkeypatch.setattr(storage, "copy_out", copy)
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (seen, job.status, job.result) == ([JobStatus.CANCELLED], JobStatus.CANCELLED, None)
    assert JobEvent.objects.filter(job_id=job_id, message="Cancelled.").count() == 1


def test_it_stops_with_the_block_or_when_told_and_outlives_an_outage(committed: User) -> None:
    beats: list[str] = []
    answers: list[bool | Exception] = [OperationalError("away"), True, False]
    done = threading.Event()

    def beat() -> bool:
        beats.append(threading.current_thread().name)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if not answer:
            done.set()
        return answer

    with Heart("ws_alpha", beat, pause_s=0.01):
        assert done.wait(20)
        time.sleep(0.1)
    assert beats == ["heart"] * 3
    with Heart("ws_alpha", lambda: True, pause_s=60):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "heart"]
