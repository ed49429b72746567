"""Quotas: what counts, what is refused, and that fifty who ask at the same moment get no more than there is room for."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, Plan, User, Workspace
from config.database.identity import acting_as_system, workspace_as_system
from edge_ai.engine.errors import EngineError
from edge_ai.fleet.models import Ticket
from edge_ai.models import Blob, Job, JobTime, Model, Upload
from edge_ai.models.base import ClockTimestamp
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import models, quotas, resumable
from edge_ai.services.batches import BatchRequest, submit_batch
from edge_ai.services.benchmarks import BenchmarkRequest, submit_benchmark
from edge_ai.services.jobs import cancel_job, retry_job
from edge_ai.services.standings import SLACK, Limit, standing
from edge_ai.worker.reaper import WORKER_LOST, reap
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories

BASE = "/api/edge/v1/"
MANY = 50
LEASE = timedelta(seconds=30)


def allow(workspace: Workspace, **limits: Any) -> None:
    """Give a workspace limits of its own."""
    with acting_as_system():
        Workspace.objects.filter(pk=workspace.pk).update(**limits)


@pytest.fixture
def _as_owner(alpha: Workspace, owner: User) -> Iterator[None]:
    with inside(alpha, owner):
        yield


# -- from an earlier count ----------------------------------------------------------------------------------------------
@pytest.fixture
def _counted_before(alpha: Workspace, owner: User, django_capture_on_commit_callbacks: Any) -> Iterator[None]:
    """This process has counted everything: two models, and one file that nothing refers to any more."""
    caches["memory"].clear()
    with inside(alpha, owner):
        factories.make_model(owner)
        factories.make_model(owner)
        factories.make_blob(b"\0" * 700)
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            quotas.claim_file(size_bytes=1)
        yield
    caches["memory"].clear()


def looked() -> list[str]:
    """Claim a model; returns how the workspace was counted for it, or the refusal's code."""
    with CaptureQueriesContext(connection) as asked, transaction.atomic():
        try:
            quotas.claim_model(size_bytes=1000, sha256="f" * 64, reserved=False)
        except EngineError as error:
            refusal = [error.code]
        else:
            refusal = []
    counts = [each["sql"] for each in asked if "pg_advisory_xact_lock" in each["sql"]]
    return ["whole" if "referred" in each else "since" for each in counts] + refusal


@pytest.mark.usefixtures("_counted_before")
def test_where_there_is_room_by_far_only_what_came_since_is_counted(alpha: Workspace) -> None:
    assert looked() == ["since"]
    allow(alpha, max_models=3)
    # By the base two models, which came within the slack as well, so that they count twice: everything is counted anew.
    assert looked() == ["since", "whole"]
    allow(alpha, max_models=2)
    assert looked() == ["since", "whole", "quota_exceeded"]


@pytest.mark.usefixtures("_counted_before")
def test_what_came_since_the_count_is_in_it(alpha: Workspace, owner: User) -> None:
    before = timezone.now() - timedelta(hours=1)
    Model.objects.update(created_at=before)
    Blob.objects.update(created_at=before)
    allow(alpha, max_models=4)
    assert looked() == ["since"]
    factories.make_model(owner)
    assert looked() == ["since"]
    factories.make_model(owner)
    assert looked() == ["since", "whole", "quota_exceeded"]


@pytest.mark.usefixtures("_counted_before")
def test_a_file_that_is_meant_again_was_counted_before(alpha: Workspace, owner: User) -> None:
    Blob.objects.update(created_at=timezone.now() - timedelta(hours=1))
    had = sum(Blob.objects.values_list("size_bytes", flat=True))
    # Nothing refers to 700 bytes of what is there; from now on something may, without anything having come.
    allow(alpha, max_stored_bytes=had + 1000)
    assert looked() == ["since"]
    allow(alpha, max_stored_bytes=had + 999)
    assert looked() == ["since", "whole"]
    factories.make_artifact(owner, Model.objects.order_by("pk")[0], blob=Blob.objects.get(size_bytes=700))
    assert looked() == ["since", "whole", "quota_exceeded"]


@pytest.mark.usefixtures("_counted_before")
def test_minutes_of_a_month_that_is_over_refuse_nothing(alpha: Workspace) -> None:
    key = quotas._base_key()
    base = caches["memory"].get(key)
    caches["memory"].set(key, replace(base, month=base.month - timedelta(days=28), seconds=1e9))
    allow(alpha, max_job_minutes=10)
    model = Model.objects.order_by("pk")[0]
    submit_benchmark(model.owner, request=BenchmarkRequest(model=model, device_profile=factories.host_device()))


def test_no_transaction_outlasts_the_slack(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setting::bigint::float8 FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
        )
        assert timedelta(0) < timedelta(milliseconds=cursor.fetchone()[0]) < SLACK
        cursor.execute("SELECT rolconfig FROM pg_roles WHERE rolname = session_user")
        assert "idle_in_transaction_session_timeout=15min" in cursor.fetchone()[0]


# -- fifty at the same moment -------------------------------------------------------------------------------------------
@pytest.fixture
def script(committed: User, alpha_kept: Workspace) -> Iterator[str]:
    """A key of the owner of ``alpha`` that other connections know."""
    key, secret = ApiKey.issue(user=committed, workspace=alpha_kept, name="fifty", scopes=["admin"])
    yield secret
    key.delete()


@pytest.fixture
def alpha_kept(committed: User) -> Iterator[Workspace]:
    """The workspace ``alpha``, whose limits are taken back after the test."""
    workspace = Workspace.objects.get(slug="alpha")
    JobTime.objects.all().delete()
    yield workspace
    Workspace.objects.filter(pk=workspace.pk).update(
        **dict.fromkeys(("max_models", "max_stored_bytes", "max_job_minutes", "max_open_jobs"))
    )
    Upload.objects.all().delete()
    Ticket.objects.all().delete()
    JobTime.objects.all().delete()


def at_once(secret: str, ask: Callable[[Client], Any]) -> list[Any]:
    """Send fifty requests at the same moment, each on a connection of its own; returns the answers."""
    ready = threading.Barrier(MANY)

    def one(_: int) -> Any:
        try:
            connection.ensure_connection()
            client = Client(headers={"Authorization": f"Bearer {secret}"})
            ready.wait(60)
            return ask(client)
        finally:
            connection.close()

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


def announce(client: Client, **more: str) -> Any:
    """Begin an upload of a thousand bytes."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000"} | more
    return client.post(BASE + "uploads/", b"", content_type="application/offset+octet-stream", headers=headers)


def let_in(answers: list[Any], code: str, status: int) -> int:
    """Return how many were let in, after looking at how the others were refused."""
    refused = [answer for answer in answers if answer.status_code != 201]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(status, code)}
    return len(answers) - len(refused)


@pytest.mark.parametrize(
    ("limit", "code", "status"),
    [("max_job_minutes", "quota_exceeded", 402), ("max_open_jobs", "too_many_jobs", 429)],
    ids=["minutes", "open"],
)
def test_of_fifty_jobs_at_once_as_many_are_taken_as_there_is_room_for(
    committed: User, alpha_kept: Workspace, script: str, limit: str, code: str, status: int
) -> None:
    model, host = factories.make_model(committed), factories.host_device()
    Workspace.objects.filter(pk=alpha_kept.pk).update(**{limit: 7})
    body = {"model": str(model.pk), "device_profile": str(host.pk)}
    answers = at_once(script, lambda client: client.post(BASE + "benchmarks/", body, content_type="application/json"))
    assert let_in(answers, code, status) == 7 == Job.objects.filter(kind="benchmark").count()
    if status == 429:
        assert all(answer["Retry-After"] == "60" for answer in answers if answer.status_code == 429)


def test_of_fifty_optimizations_at_once_none_makes_a_model_too_many(
    committed: User, alpha_kept: Workspace, script: str
) -> None:
    model, host = factories.make_model(committed), factories.host_device()
    Workspace.objects.filter(pk=alpha_kept.pk).update(max_models=6)
    body = {
        "model": str(model.pk),
        "device_profile": str(host.pk),
        "target_format": "onnx",
        "precision": "int8_dynamic",
    }
    answers = at_once(
        script, lambda client: client.post(BASE + "optimization-jobs/", body, content_type="application/json")
    )
    assert let_in(answers, "quota_exceeded", 402) == 5, "one model is there, and each of five jobs makes another"


def test_of_fifty_models_at_once_as_many_are_taken_as_there_is_room_for(
    committed: User, alpha_kept: Workspace, script: str
) -> None:
    Workspace.objects.filter(pk=alpha_kept.pk).update(max_models=9)
    content = ONNX_MODEL.read_bytes()

    def ask(client: Client) -> Any:
        return client.post(BASE + "models/", {"file": SimpleUploadedFile("digits.onnx", content)})

    assert let_in(at_once(script, ask), "quota_exceeded", 402) == 9 == Model.objects.count()


def test_of_fifty_uploads_at_once_no_byte_too_much_is_promised(
    committed: User, alpha_kept: Workspace, script: str
) -> None:
    Workspace.objects.filter(pk=alpha_kept.pk).update(max_stored_bytes=10_500)

    def ask(client: Client) -> Any:
        return announce(client)

    assert let_in(at_once(script, ask), "quota_exceeded", 402) == 10 == Upload.objects.count()
    assert standing().quotas[Limit.STORED_BYTES].reserved == 10_000


def test_of_fifty_jobs_no_more_run_at_once_than_may(committed: User, alpha_kept: Workspace) -> None:
    """Jobs over this limit wait: workers take as many as may run, however many ask at the same moment."""
    Workspace.objects.filter(pk=alpha_kept.pk).update(concurrent_jobs=3)
    model, host = factories.make_model(committed), factories.host_device()
    for _ in range(8):
        submit_benchmark(committed, request=BenchmarkRequest(model=model, device_profile=host))
    ready = threading.Barrier(MANY)

    def worker(_: int) -> Ticket | None:
        try:
            with workspace_as_system("ws_alpha"):
                connection.ensure_connection()
                ready.wait(60)
                return Ticket.objects.take("benchmark", most=4, lease=LEASE)
        finally:
            connection.close()

    try:
        with ThreadPoolExecutor(MANY) as pool:
            taken = [ticket for ticket in pool.map(worker, range(MANY)) if ticket is not None]
        assert len(taken) == 3
        assert Job.objects.filter(kind="benchmark", status="queued").count() == 8, "none was refused"
    finally:
        Workspace.objects.filter(pk=alpha_kept.pk).update(concurrent_jobs=None)


# -- what a refusal says ------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("_as_owner")
def test_a_refusal_names_the_limit_and_what_helps(alpha: Workspace, owner: User) -> None:
    model, host = factories.make_model(owner), factories.host_device()
    allow(alpha, max_job_minutes=0)
    with pytest.raises(EngineError) as refused, transaction.atomic():
        submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=host))
    error = refused.value
    now = datetime.now(UTC)
    first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    assert error.code == "quota_exceeded"
    assert error.details == {
        "limit": "job_minutes",
        "used": 0,
        "allowed": 0,
        "asked": 1,
        "resets_at": first.isoformat().replace("+00:00", "Z"),
    }
    assert f"{first:%d %B %Y}" in error.message
    assert "ask the operator" in error.fix and "Settings → Usage" in error.fix
    assert not Job.objects.filter(kind="benchmark").exists()


@pytest.mark.usefixtures("_as_owner")
def test_a_whole_batch_fits_or_none_of_it(alpha: Workspace, owner: User) -> None:
    model, host = factories.make_model(owner), factories.host_device()
    asked = BatchRequest(models=[model], device_profiles=[host], precisions=["int8_dynamic", "fp16"])
    allow(alpha, max_job_minutes=1)
    with pytest.raises(EngineError, match="needs 2 more"), transaction.atomic():
        submit_batch(owner, request=asked)
    assert not Job.objects.exists()
    allow(alpha, max_job_minutes=2)
    submit_batch(owner, request=asked)
    assert Job.objects.count() == 2


@pytest.mark.usefixtures("_as_owner")
def test_running_a_job_again_is_asking_for_one(alpha: Workspace, owner: User) -> None:
    job = factories.make_optimization(owner)
    cancel_job(owner, job=Job.objects.get(pk=job.pk))
    allow(alpha, max_open_jobs=0)
    with pytest.raises(EngineError) as refused, transaction.atomic():
        retry_job(owner, job=Job.objects.get(pk=job.pk))
    assert refused.value.code == "too_many_jobs"
    assert Job.objects.get(pk=job.pk).status == "cancelled"
    allow(alpha, max_open_jobs=1)
    assert retry_job(owner, job=Job.objects.get(pk=job.pk)).status == "queued"


def test_whose_limits_hold(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        assert standing().quotas[Limit.MODELS].limit == 10_000, "the default plan's"
        small = Plan.objects.create(name="Small", max_models=5, max_job_minutes=30, concurrent_jobs=2)
        allow(alpha, plan=small, max_models=8)
        found = standing()
        assert found.plan == "Small"
        assert found.quotas[Limit.MODELS].limit == 8, "its own goes before the plan's"
        assert found.quotas[Limit.JOB_MINUTES].limit == 30
        assert found.quotas[Limit.STORED_BYTES].limit is None, "nothing is said, so there is none"
        assert found.concurrent_jobs == 2


# -- what counts --------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("_as_owner")
def test_bytes_of_an_upload_are_promised_until_it_ends(alpha: Workspace, owner: User) -> None:
    content = ONNX_MODEL.read_bytes()

    def stored() -> tuple[float, float]:
        found = standing().quotas[Limit.STORED_BYTES]
        return found.used, found.reserved

    def begin() -> Upload:
        upload = resumable.begin(owner, length_bytes=len(content), purpose="model", file_name="d.onnx", name="")
        upload.refresh_from_db()
        return upload

    before, _ = stored()
    given_up, expired, kept = begin(), begin(), begin()
    assert stored() == (before, 3 * len(content))
    resumable.discard(given_up)
    assert stored() == (before, 2 * len(content)), "given up"
    Upload.objects.filter(pk=expired.pk).update(expires_at=ClockTimestamp() - timedelta(seconds=1))
    assert stored() == (before, len(content)), "expired"
    resumable.append(kept, offset=0, source=io.BytesIO(content), announced_bytes=len(content), checksum=None)
    # Nothing more is needed to finish it, however little is allowed by now.
    allow(alpha, max_stored_bytes=len(content))
    made = models.model_from_upload(owner, upload=kept.pk, name="", description="", tags=[], visibility="private").row
    assert stored() == (before + len(content), 0), "finished"
    model = models.upload_model(owner, file=SimpleUploadedFile("again.onnx", content))
    assert stored() == (before + len(content), 0), "the same bytes again take no room"
    for each in (made, model):
        Job.objects.filter(analysisjob__model=each).delete()
        models.delete_model(owner, model=each)
    assert stored() == (before, 0), "what is deleted takes none, though the sweep comes later"


@pytest.mark.usefixtures("_as_owner")
def test_a_file_larger_than_the_plan_has_it_is_refused_everywhere(alpha: Workspace, owner: User) -> None:
    allow(alpha, max_upload_bytes=100)
    for refuse in (
        lambda: models.upload_model(owner, file=SimpleUploadedFile("digits.onnx", b"x" * 101)),
        lambda: resumable.begin(owner, length_bytes=101, purpose="dataset", file_name="x", name=""),
    ):
        with pytest.raises(EngineError) as refused:
            refuse()
        assert refused.value.code == "file_too_large"
        assert refused.value.details == {"limit": "upload_bytes", "allowed": 100, "asked": 101}


def ran(job: Job, seconds: float, end: Callable[[Any], Any]) -> None:
    """Let a job run for some seconds, as a worker that claims it, and end that attempt."""
    token = Job.objects.claim(job.pk, worker="w", lease=LEASE)
    assert token
    Job.objects.filter(pk=job.pk).update(attempt_began_at=ClockTimestamp() - timedelta(seconds=seconds))
    assert end(token)


def minutes() -> float:
    """The job minutes of this month."""
    return standing().quotas[Limit.JOB_MINUTES].used


def test_every_attempt_counts_however_it_ends_and_deleting_gives_nothing_back(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        JobTime.objects.all().delete()
        job = factories.make_optimization(owner)
        ran(job, 60, lambda token: Job.objects.end_attempt(Q(pk=job.pk), error=WORKER_LOST, retryable=True))
        Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
        assert minutes() == pytest.approx(1, abs=0.4), "an attempt that is made again"
        ran(job, 120, lambda token: Job.objects.end_attempt(Q(pk=job.pk), error=WORKER_LOST, retryable=False))
        assert minutes() == pytest.approx(3, abs=0.4), "a failed one"
        cancelled = factories.make_optimization(owner)

        def cancel(token: Any) -> Any:
            assert Job.objects.request_cancel(cancelled.pk)
            return Job.objects.end_attempt(Q(pk=cancelled.pk), error=WORKER_LOST, retryable=True)

        ran(cancelled, 60, cancel)
        assert minutes() == pytest.approx(4, abs=0.4), "a cancelled one"
        completed = factories.make_benchmark(owner, job.model)
        ran(completed, 60, lambda token: Job.objects.complete(completed.pk, token, result={}))
        assert minutes() == pytest.approx(5, abs=0.4), "a completed one"
        stopped = factories.make_benchmark(owner, job.model)
        ran(stopped, 600, lambda token: Job.objects.give_back(Q(pk=stopped.pk)))
        assert minutes() == pytest.approx(5, abs=0.4), "not one that was given back since somebody stopped the workers"
        lost = factories.make_benchmark(owner, job.model)

        def lose(token: Any) -> Any:
            hour = ClockTimestamp() - timedelta(hours=1)
            Job.objects.filter(pk=lost.pk).update(attempt_began_at=hour - timedelta(seconds=60), lease_expires_at=hour)
            return reap().expired

        ran(lost, 0, lose)
        assert minutes() == pytest.approx(6, abs=0.4), "a lost one until its lease ran out"
        running = factories.make_benchmark(owner, job.model)
        ran(running, 60, lambda token: Job.objects.filter(pk=running.pk).delete()[0])
        assert minutes() == pytest.approx(7, abs=0.4), "one whose job is deleted under it"
        Job.objects.all().delete()
        assert minutes() == pytest.approx(7, abs=0.4)
        assert {row.outcome for row in JobTime.objects.all()} == {"queued", "failed", "cancelled", "completed"}


def test_minutes_begin_anew_each_month_and_what_runs_counts_already(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        JobTime.objects.all().delete()
        last_month = standing().month - timedelta(seconds=1)
        fields = {"kind": "benchmark", "attempt": 1, "outcome": "completed", "seconds": 600}
        JobTime.objects.create(
            job=factories.make_benchmark(owner).pk, began_at=last_month, ended_at=last_month, **fields
        )
        assert minutes() == 0
        own = fields | {"kind": "export"}
        JobTime.objects.create(
            job=factories.make_benchmark(owner).pk, began_at=timezone.now(), ended_at=timezone.now(), **own
        )
        assert minutes() == 0, "what the studio does for itself"
        Job.objects.all().delete()
        running = factories.make_benchmark(owner)
        Job.objects.claim(running.pk, worker="w", lease=LEASE)
        Job.objects.filter(pk=running.pk).update(attempt_began_at=ClockTimestamp() - timedelta(minutes=5))
        reserved = standing().quotas[Limit.JOB_MINUTES].reserved
        assert reserved == pytest.approx(5, abs=0.4), "as long as it has run"
        factories.make_benchmark(owner, running.model)
        reserved = standing().quotas[Limit.JOB_MINUTES].reserved
        assert reserved == pytest.approx(6, abs=0.4), "and a minute for one that waits"
        factories.make_analysis(owner, running.model)
        assert standing().quotas[Limit.JOB_MINUTES].reserved == pytest.approx(reserved, abs=0.4)


@pytest.mark.usefixtures("_as_owner")
def test_members_read_the_ledger_and_nobody_writes_it(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside_as_system(alpha):
        job = factories.make_optimization(owner)
        ran(job, 60, lambda token: Job.objects.complete(job.pk, token, result={}))
    with inside(alpha, colleague):
        assert JobTime.objects.filter(job=job.pk).count() == 1
        assert JobTime.objects.all().delete()[0] == 0
        assert JobTime.objects.update(seconds=0) == 0
        with pytest.raises(Exception, match="row-level security"), transaction.atomic():
            JobTime.objects.create(
                job=job.pk, kind="benchmark", attempt=1, outcome="failed", seconds=1,
                began_at=ClockTimestamp(), ended_at=ClockTimestamp(),
            )  # fmt: skip
    with inside(alpha, None):
        assert not JobTime.objects.exists()


# -- over HTTP ----------------------------------------------------------------------------------------------------------
def test_every_door_answers_with_the_same_problem(alpha: Workspace, owner: User, script_of: Any) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        host = factories.host_device()
    allow(alpha, max_models=1, max_stored_bytes=1, max_job_minutes=0)
    client = script_of(owner)
    named = {"model": str(model.pk), "device_profile": str(host.pk)}
    fifth = {"models": [str(model.pk)], "device_profiles": [str(host.pk)], "precisions": ["int8_dynamic"]}
    content = ONNX_MODEL.read_bytes()
    purpose = "purpose " + base64.b64encode(b"dataset").decode()
    answers = [
        client.post(BASE + "models/", {"file": SimpleUploadedFile("digits.onnx", content)}),
        announce(client),
        announce(client, **{"Upload-Metadata": purpose}),
        client.post(
            BASE + "optimization-jobs/",
            named | {"precision": "int8_dynamic", "target_format": "onnx"},
            content_type="application/json",
        ),
        client.post(BASE + "optimization-jobs/batch/", fifth, content_type="application/json"),
        client.post(BASE + "benchmarks/", named, content_type="application/json"),
        client.post(BASE + "packages/", {"model": str(model.pk)}, content_type="application/json"),
    ]
    for answer in answers:
        body = answer.json()
        assert (answer.status_code, body["code"]) == (402, "quota_exceeded"), body
        assert {"limit", "used", "allowed", "asked", "resets_at"} == set(body["details"])
        assert "operator" in body["detail"]
