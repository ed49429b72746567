"""Imports: one model or none, whatever is killed, cancelled or wrong; and nothing of a secret anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Q

from accounts.models import User, Workspace
from edge_ai.engine.errors import EngineError
from edge_ai.models import (
    AnalysisJob,
    AuditEvent,
    Blob,
    ImportJob,
    Job,
    JobEvent,
    JobStatus,
    Model,
)
from edge_ai.services.imports import ImportRequest, s3_prefix, submit_import
from edge_ai.services.jobs import cancel_job, retry_job
from edge_ai.services.standings import Limit, standing
from edge_ai.worker import importing
from edge_ai.worker.babysitter import Babysitter, run_job
from tests.conftest import inside, inside_as_system
from tests.receiver import Receiver, answering, dripping, receiver
from tests.s3 import KEY, SECRET

SAMPLE = Path(__file__).resolve().parents[2] / "edge_ai" / "sample" / "digits.onnx"
CONTENT = SAMPLE.read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TOKEN = "X-Amz-Signature=0123456789abcdef"


@pytest.fixture(autouse=True)
def _servers_on_this_machine(settings: Any) -> None:
    settings.IMPORT_ALLOW_NETWORKS = (ip_network("127.0.0.1/32"),)


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A server with a model."""
    with receiver(answering(200, CONTENT)) as running:
        yield running


def asked(workspace: Workspace, user: User, there: Receiver, **fields: Any) -> ImportJob:
    """Ask for an import."""
    given = {"url": f"http://127.0.0.1:{there.port}/models/net.onnx?{TOKEN}"} | fields
    with inside(workspace, user):
        return submit_import(user, request=ImportRequest(**given))


def ran(workspace: Workspace, job: ImportJob) -> ImportJob:
    """Let a worker do what it can."""
    with inside_as_system(workspace):
        run_job(workspace.schema_name, job.pk)
        return ImportJob.objects.get(pk=job.pk)


def code(job: ImportJob) -> str:
    """Return the code that an import ended with."""
    assert job.error is not None, job.status
    return str(job.error["code"])


def test_a_link_becomes_one_model_whose_analysis_follows(
    alpha: Workspace, owner: User, there: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job = asked(alpha, owner, there, name="net", tags=["demo"], sha256=SHA256.upper(), visibility="workspace")
    with inside_as_system(alpha):
        assert TOKEN not in ImportJob.objects.get(pk=job.pk).closed_url, "kept encrypted"
    done = ran(alpha, job)
    assert done.status == JobStatus.COMPLETED, done.error
    ran(alpha, job)
    with inside_as_system(alpha):
        (model,) = Model.objects.all()
        assert (model.name, model.tags, model.file_name, model.format) == ("net", ["demo"], "net.onnx", "onnx")
        assert (model.sha256, model.size_bytes, model.visibility) == (SHA256, len(CONTENT), "workspace")
        assert model.owner_id == owner.pk and done.made_id == model.pk
        assert done.result == {"model": str(model.pk), "size_bytes": len(CONTENT), "sha256": SHA256, "format": "onnx"}
        assert done.closed_url == "", "forgotten"
        assert AnalysisJob.objects.filter(model=model).count() == 1
        said = " ".join(JobEvent.objects.filter(job=job.pk).values_list("message", flat=True))
        assert f"{len(CONTENT):,} bytes" in said or "MB" in said
        trail = [str([each.before, each.after, each.object_name]) for each in AuditEvent.objects.all()]
    assert any(f"http://127.0.0.1:{there.port}/models/net.onnx" in each for each in trail)
    assert TOKEN not in said + " ".join(trail) + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.2/net.onnx", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://10.0.0.1/"),
        *("https://user:word@example.com/net.onnx", "ftp://example.com/net.onnx", "file:///etc/passwd"),
    ],
)
def test_what_can_be_seen_to_be_private_is_refused_at_once(
    alpha: Workspace, owner: User, there: Receiver, url: str
) -> None:
    with pytest.raises(EngineError) as refused:
        asked(alpha, owner, there, url=url)
    assert (refused.value.code, refused.value.field) == ("address_refused", "url")


def test_what_goes_wrong_is_told_by_its_code_and_leaves_nothing(
    alpha: Workspace, owner: User, there: Receiver, settings: Any
) -> None:
    job = asked(alpha, owner, there, sha256="0" * 64)
    done = ran(alpha, job)
    assert (done.status, code(done)) == (JobStatus.FAILED, "checksum_mismatch")
    there.behave = answering(404, b"gone")
    done = ran(alpha, asked(alpha, owner, there))
    assert (done.status, code(done), (done.error or {})["details"]) == (
        JobStatus.FAILED,
        "fetch_failed",
        {"http_status": 404},
    )
    there.behave = answering(302, b"", Location="http://127.0.0.2/")
    assert code(ran(alpha, asked(alpha, owner, there))) == "address_refused"
    there.behave = answering(200, b"<!doctype html><title>Sign in</title>")
    assert code(ran(alpha, asked(alpha, owner, there))) == "model_unreadable"
    settings.MAX_UPLOAD_BYTES = 1000
    there.behave = answering(200, CONTENT)
    assert code(ran(alpha, asked(alpha, owner, there))) == "file_too_large"
    with inside_as_system(alpha):
        assert not Model.objects.exists() and not Blob.objects.exists()
    assert not list(settings.WORK_DIR.rglob(importing.FILE_NAME))


def test_what_may_pass_is_tried_again_and_what_was_cancelled_runs_again(
    alpha: Workspace, owner: User, there: Receiver
) -> None:
    there.behave = answering(503, b"busy")
    job = asked(alpha, owner, there)
    assert ran(alpha, job).status == JobStatus.QUEUED
    with inside(alpha, owner):
        cancel_job(owner, job=job)
        retry_job(owner, job=Job.objects.get(pk=job.pk))
    there.behave = answering(200, CONTENT)
    assert ran(alpha, job).status == JobStatus.COMPLETED


def test_a_cancellation_stops_what_is_on_its_way(
    alpha: Workspace, owner: User, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = asked(alpha, owner, there)
    there.behave = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", seconds=20)
    real = Babysitter._fetched

    def cancelled(sitter: Babysitter, come: importing.Progress) -> None:
        with contextlib.suppress(EngineError):
            cancel_job(owner, job=Job.objects.get(pk=job.pk))
        real(sitter, come)

    monkeypatch.setattr(Babysitter, "_fetched", cancelled)
    began = time.monotonic()
    assert ran(alpha, job).status == JobStatus.CANCELLED
    assert time.monotonic() - began < 15
    with inside_as_system(alpha):
        assert not Model.objects.exists()


def test_an_attempt_that_lost_its_job_makes_nothing_and_the_next_makes_one(
    alpha: Workspace, owner: User, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: the reaper has given the job back, and the old worker comes to its end all the same."""
    job = asked(alpha, owner, there)
    real = Babysitter._complete

    def too_late(sitter: Babysitter, answer: dict[str, Any]) -> None:
        Job.objects.give_back(Q(pk=job.pk))
        real(sitter, answer)

    with monkeypatch.context() as patched:
        patched.setattr(Babysitter, "_complete", too_late)
        assert ran(alpha, job).status == JobStatus.QUEUED
    with inside_as_system(alpha):
        assert not Model.objects.exists()
    assert ran(alpha, job).status == JobStatus.COMPLETED
    with inside_as_system(alpha):
        assert Model.objects.count() == 1


def test_it_takes_from_the_quota_what_it_brings_and_never_more(
    alpha: Workspace, owner: User, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace.objects.filter(pk=alpha.pk).update(max_stored_bytes=len(CONTENT), max_models=1)
    job = asked(alpha, owner, there)
    with inside(alpha, owner), pytest.raises(EngineError) as refused:
        asked(alpha, owner, there)
    assert (refused.value.code, (refused.value.details or {})["limit"]) == ("quota_exceeded", "models")
    during: list[float] = []
    real = Babysitter._fetched

    def looked(sitter: Babysitter, come: importing.Progress) -> None:
        during.append(standing().quotas[Limit.STORED_BYTES].reserved)
        real(sitter, come)

    monkeypatch.setattr(Babysitter, "_fetched", looked)
    assert ran(alpha, job).status == JobStatus.COMPLETED
    assert during[0] == 0  # nobody has said yet how large it is
    assert set(during[1:]) == {len(CONTENT)}
    with inside_as_system(alpha):
        found = standing().quotas
        assert (found[Limit.STORED_BYTES].used, found[Limit.STORED_BYTES].reserved) == (len(CONTENT), 0)
        assert (found[Limit.MODELS].used, found[Limit.MODELS].reserved) == (1, 0)
    Workspace.objects.filter(pk=alpha.pk).update(max_models=5)
    there.behave = answering(200, CONTENT + b"\0")
    done = ran(alpha, asked(alpha, owner, there))
    assert (done.status, code(done)) == (JobStatus.FAILED, "quota_exceeded")
    # The same bytes take no room.
    there.behave = answering(200, CONTENT)
    assert ran(alpha, asked(alpha, owner, there, sha256=SHA256)).status == JobStatus.COMPLETED


@pytest.fixture
def bucket(endpoint: str, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bucket that imports are allowed from; returns what puts an object there."""
    settings.IMPORT_S3_BUCKET = "studio"
    settings.IMPORT_S3_ENDPOINT_URL = endpoint
    settings.IMPORT_S3_REGION = "us-east-1"
    settings.IMPORT_S3_ACCESS_KEY_ID, settings.IMPORT_S3_SECRET_ACCESS_KEY = KEY, SECRET
    return importing._client()


def test_a_key_is_read_below_the_workspaces_own_prefix(bucket: Any, alpha: Workspace, owner: User) -> None:
    bucket.put_object(Bucket="studio", Key=f"{alpha.pk}/models/net.onnx", Body=CONTENT)
    bucket.put_object(Bucket="studio", Key="beta/net.onnx", Body=CONTENT)
    with inside(alpha, owner):
        job = submit_import(owner, request=ImportRequest(s3_key="models/net.onnx", sha256=SHA256))
        other = submit_import(owner, request=ImportRequest(s3_key="beta/net.onnx"))
    done = ran(alpha, job)
    assert done.status == JobStatus.COMPLETED, done.error
    with inside_as_system(alpha):
        assert Model.objects.get().file_name == "net.onnx"
    done = ran(alpha, other)
    assert (code(done), (done.error or {})["details"]) == ("fetch_failed", {"http_status": 404})
    assert f"The bucket has no {alpha.pk}/beta/net.onnx" in (done.error or {})["detail"]
    for key in ("../beta/net.onnx", "/net.onnx", "a//b", "a/./b", "a\\b", "a\nb", "x" * 1001):
        with inside(alpha, owner), pytest.raises(EngineError) as refused:
            submit_import(owner, request=ImportRequest(s3_key=key))
        assert (refused.value.code, refused.value.field) == ("invalid_request", "s3_key")


def test_what_stands_before_a_key_is_the_operators_choice(alpha: Workspace, settings: Any) -> None:
    with inside_as_system(alpha):
        assert s3_prefix() == f"{alpha.pk}/"
        settings.IMPORT_S3_PREFIX = "models/{workspace}/"
        assert s3_prefix() == "models/alpha/"
        settings.IMPORT_S3_PREFIX = ""
        assert s3_prefix(alpha) == ""


def test_without_a_bucket_keys_are_refused(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner), pytest.raises(EngineError) as refused:
        submit_import(owner, request=ImportRequest(s3_key="net.onnx"))
    assert (refused.value.code, refused.value.field) == ("import_s3_off", "s3_key")


def test_a_bucket_that_refuses_or_is_away_is_told(bucket: Any, alpha: Workspace, owner: User, settings: Any) -> None:
    with inside(alpha, owner):
        job = submit_import(owner, request=ImportRequest(s3_key="net.onnx"))
    settings.IMPORT_S3_SECRET_ACCESS_KEY = "wrong"
    done = ran(alpha, job)
    assert (done.status, code(done)) == (JobStatus.FAILED, "fetch_failed")
    assert "wrong" not in str(done.error)
    with inside(alpha, owner):
        job = submit_import(owner, request=ImportRequest(s3_key="net.onnx"))
    settings.IMPORT_S3_ENDPOINT_URL = "http://127.0.0.1:9"
    assert ran(alpha, job).status == JobStatus.QUEUED, "worth another attempt"
