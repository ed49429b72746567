"""Running a job, in this process, with a real engine child, and what a child may say."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from onnx import TensorProto, helper

from accounts.models import User, Workspace
from config.database.identity import workspace_as_system
from edge_ai.engine.errors import InternalError
from edge_ai.fleet.models import BenchmarkSlot
from edge_ai.models import AnalysisJob, Artifact, Job, JobEvent, JobStatus, Model, ModelLayers
from edge_ai.models.base import ClockTimestamp
from edge_ai.sample import ONNX_MODEL
from edge_ai.sandbox import SandboxError
from edge_ai.services import jobs, models
from edge_ai.worker import confinement, outcomes
from edge_ai.worker.babysitter import Babysitter, benchmark_slot, lease, run_job
from edge_ai.worker.stages import STORE
from edge_ai.worker.tasks import deliver
from edge_ai.worker.wire import storable
from tests.conftest import inside_as_system
from tests.edge_ai import factories


@pytest.fixture
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def uploaded(owner: User, content: bytes) -> tuple[Model, uuid.UUID]:
    """A model that waits for its analysis."""
    model = models.upload_model(owner, file=SimpleUploadedFile("m.onnx", content))
    return model, AnalysisJob.objects.get(model=model).pk


def with_a_name_that_nobody_can_store() -> bytes:
    """A model whose input is called something with a NUL in it."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], np.eye(2, dtype=np.float32).ravel().tolist())
    node = helper.make_node("MatMul", ["in\0put", "w"], ["out"], name="a\0node")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("in\0put", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def work_folders() -> list[Path]:
    """What attempts left behind, but for the stages that are kept."""
    left = (django_settings.WORK_DIR / "ws_alpha").rglob("*")
    return [path for path in left if path.is_file() and STORE not in path.parts]


@pytest.mark.usefixtures("_as_worker")
def test_a_job_is_done_once_however_often_its_message_comes(owner: User) -> None:
    model, job_id = uploaded(owner, ONNX_MODEL.read_bytes())
    for _ in range(3):
        run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.attempt, job.progress, job.lease_token) == (JobStatus.COMPLETED, 1, 100, None)
    model.refresh_from_db()
    assert (model.status, model.precision) == ("ready", "fp32")
    assert model.analysis is not None and model.analysis["parameter_count"] > 0
    # The layers are kept apart, since they may be many.
    assert "layers" not in model.analysis
    layers = ModelLayers.objects.get(model=model)
    assert (layers.count, len(layers.rows)) == (model.analysis["node_count"], model.analysis["node_count"])
    assert sum(row["parameters"] for row in layers.rows) == model.analysis["parameter_count"]
    assert JobEvent.objects.filter(job_id=job_id, kind="status", stage="running").count() == 1
    assert JobEvent.objects.filter(job_id=job_id, kind="stage").exists()
    assert work_folders() == []


@pytest.mark.usefixtures("_as_worker")
def test_names_that_cannot_be_stored_do_not_fail_a_job(owner: User) -> None:
    onnx.checker.check_model(onnx.load_from_string(with_a_name_that_nobody_can_store()))
    model, job_id = uploaded(owner, with_a_name_that_nobody_can_store())
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert job.status == JobStatus.COMPLETED, job.error
    model.refresh_from_db()
    assert model.analysis is not None
    assert [item["name"] for item in model.analysis["inputs"]] == ["input"]


@pytest.mark.usefixtures("_as_worker")
def test_a_damaged_model_fails_with_its_code_and_at_the_first_attempt(owner: User) -> None:
    model, job_id = uploaded(owner, ONNX_MODEL.read_bytes()[:100_000])
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 1)
    assert job.error is not None and job.error["code"] == "model_unreadable" and job.error["fix"]
    model.refresh_from_db()
    assert (model.status, model.error) == ("failed", job.error)
    assert work_folders() == []


@pytest.mark.usefixtures("_as_worker")
def test_a_job_over_its_time_fails_with_its_code(owner: User, settings: Any) -> None:
    _, job_id = uploaded(owner, ONNX_MODEL.read_bytes())
    settings.JOB_WALL_SECONDS = 0
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 1), "another attempt would take as long"
    assert job.error is not None and job.error["code"] == "resource_limit"


@pytest.mark.usefixtures("_as_worker")
def test_a_job_keeps_the_level_that_it_ran_at(owner: User) -> None:
    _, job_id = uploaded(owner, ONNX_MODEL.read_bytes())
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.sandbox_level) == (JobStatus.COMPLETED, confinement.level().value)


@pytest.mark.usefixtures("_as_worker")
def test_no_job_begins_where_nothing_may_hold_it(owner: User, settings: Any) -> None:
    _, job_id = uploaded(owner, ONNX_MODEL.read_bytes())
    settings.SANDBOX_LEVEL = "none"
    run_job("ws_alpha", job_id)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.attempt, job.sandbox_level) == (JobStatus.FAILED, 1, "")
    assert job.error is not None and job.error["code"] == "sandbox_unavailable"
    assert "SANDBOX_ALLOW_NONE does not allow" in job.error["detail"]
    assert work_folders() == []


@pytest.mark.usefixtures("_as_worker")
def test_what_the_supervisor_found_is_believed_as_long_as_it_was_asked_for(settings: Any) -> None:
    settings.SANDBOX_PROBED = "auto:standard:"
    assert confinement.level() == "standard"
    settings.SANDBOX_PROBED = "strong:none:bubblewrap is away: all of it."
    settings.SANDBOX_LEVEL = "strong"
    with pytest.raises(SandboxError, match="bubblewrap is away: all of it"):
        confinement.level()


@pytest.mark.usefixtures("_as_worker")
def test_a_message_for_nothing_is_dropped_quietly(owner: User) -> None:
    run_job("ws_alpha", uuid.uuid4())
    model = factories.make_model(owner)
    pending = factories.make_optimization(owner, model, status=JobStatus.PENDING)
    cancelled = Job.objects.get(pk=factories.make_optimization(owner, model).pk)
    jobs.cancel_job(owner, job=cancelled)
    for job in (pending, cancelled):
        run_job("ws_alpha", job.pk)
        assert Job.objects.get(pk=job.pk).attempt == 0


def test_a_task_leaves_nothing_on_its_connection(db: None) -> None:
    deliver("ws_alpha", str(uuid.uuid4()))
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_schema(), current_setting('app.user_id')")
        assert cursor.fetchone() == ("studio_app", "public", "")


@pytest.mark.usefixtures("_as_worker")
def test_a_benchmark_waits_while_the_machine_is_measured(owner: User) -> None:
    run = factories.make_benchmark(owner)
    with benchmark_slot("ws_beta", uuid.uuid4()) as free:
        assert free
        run_job("ws_alpha", run.pk)
        job = Job.objects.get(pk=run.pk)
        assert (job.status, job.attempt, job.enqueued_at) == (JobStatus.QUEUED, 0, None), "the reaper sends it again"
        assert job.run_after > job.created_at
        with benchmark_slot("ws_alpha", run.pk) as second:
            assert not second
    with benchmark_slot("ws_alpha", run.pk) as third:
        assert third, "it is given back"


@pytest.mark.usefixtures("_as_worker")
def test_the_slot_of_a_dead_holder_is_free_again(db: None) -> None:
    host = f"host-{uuid.uuid4()}"
    assert BenchmarkSlot.objects.take(host, holder="dead", lease=timedelta(seconds=30))
    assert BenchmarkSlot.objects.take(host, holder="x", lease=timedelta(seconds=30)) is None
    BenchmarkSlot.objects.filter(host=host).update(lease_expires_at=ClockTimestamp() - timedelta(seconds=1))
    token = BenchmarkSlot.objects.take(host, holder="x", lease=timedelta(seconds=30))
    assert token is not None
    BenchmarkSlot.objects.free(host, uuid.uuid4())
    assert BenchmarkSlot.objects.keep(host, token, lease=timedelta(seconds=30)), "only its holder gives it back"


def engines() -> list[psutil.Process]:
    """Return the engine children of this process, which may have other children: a studio that other tests use."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "edge_ai.engine" in child.cmdline():
                found.append(child)
    return found


def test_a_worker_that_lost_its_job_stops_its_child_and_writes_nothing(committed: User) -> None:
    model, job_id = uploaded(committed, ONNX_MODEL.read_bytes())

    def work() -> None:
        try:
            with workspace_as_system("ws_alpha"):
                run_job("ws_alpha", job_id)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    while not (children := engines()):
        assert worker.is_alive()
    other = uuid.uuid4()
    Job.objects.filter(pk=job_id).update(lease_token=other)
    worker.join(30)
    assert not worker.is_alive()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.lease_token, job.result) == (JobStatus.RUNNING, other, None)
    assert Model.objects.get(pk=model.pk).analysis is None
    assert work_folders() == []


@pytest.fixture
def sitter(owner: User, _as_worker: None) -> Iterator[Babysitter]:
    """A babysitter whose child has yet to say something."""
    job = factories.make_optimization(owner)
    token = Job.objects.claim(job.pk, worker="w", lease=lease())
    assert token is not None
    found = Babysitter("ws_alpha", Job.objects.get(pk=job.pk), token)
    found.folder.mkdir(parents=True)
    yield found
    shutil.rmtree(found.folder.parent)


def story(sitter: Babysitter) -> list[tuple[str, str]]:
    """What was noted: level and words."""
    return list(JobEvent.objects.filter(job_id=sitter.job.pk).order_by("id").values_list("level", "message"))


def test_progress_never_goes_back_and_leaves_the_last_percent_to_the_end(sitter: Babysitter) -> None:
    for progress in (30, 10, 400):
        sitter._hear("out", json.dumps({"type": "stage", "stage": "s", "progress": progress}))
    assert sitter.progress == 99


def test_what_is_not_of_the_protocol_is_log(sitter: Babysitter) -> None:
    for line in ("plain words", "[1, 2]", '"text"', "null", '{"no": "type"}', "{broken"):
        sitter._hear("out", line)
    sitter._hear("err", "from the library")
    sitter._hear("out", json.dumps({"type": "log", "level": "shouting", "message": "x\0y"}))
    assert story(sitter) == [], "lines are written a batch at a time"
    sitter.story.write()
    assert [level for level, _ in story(sitter)] == ["debug"] * 7 + ["info"]
    assert story(sitter)[-1] == ("info", "xy")
    assert sitter.answer is None


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "missing", "link", "folder", "twin"])
def test_only_plain_files_of_the_childs_own_folder_are_taken(sitter: Babysitter, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (sitter.folder / "link").symlink_to(tmp_path / "secret")
    (sitter.folder / "twin").hardlink_to(tmp_path / "secret")
    (sitter.folder / "folder").mkdir()
    (sitter.folder.parent / "outside").write_text("not yours")
    with pytest.raises(InternalError):
        outcomes.collect(sitter.folder, [{"role": "model", "path": path, "name": "m", "format": "onnx"}])


def test_a_link_in_the_way_to_a_file_leads_nowhere(sitter: Babysitter, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (sitter.folder / "deep").symlink_to(tmp_path)
    with pytest.raises(InternalError):
        outcomes.collect(sitter.folder, [{"role": "model", "path": "deep/secret", "name": "m", "format": "onnx"}])


def test_an_answer_that_came_too_late_publishes_nothing(sitter: Babysitter) -> None:
    (sitter.folder / "v.onnx").write_bytes(b"a variant")
    said = [{"role": "model", "path": "v.onnx", "name": "v.onnx", "format": "onnx", "mime_type": "x"}]
    files = outcomes.collect(sitter.folder, said)
    before = (Model.objects.count(), Artifact.objects.count())
    assert not outcomes.complete(sitter.job.pk, uuid.uuid4(), {"analysis": factories.ANALYSIS}, files)
    Job.objects.request_cancel(sitter.job.pk)
    assert not outcomes.complete(sitter.job.pk, sitter.token, {"analysis": factories.ANALYSIS}, files)
    assert (Model.objects.count(), Artifact.objects.count()) == before


def test_a_variant_its_file_and_the_jobs_end_are_one(sitter: Babysitter) -> None:
    (sitter.folder / "v.onnx").write_bytes(b"a variant")
    said = [{"role": "model", "path": "v.onnx", "name": "v.onnx", "format": "onnx", "mime_type": "x"}]
    files = outcomes.collect(sitter.folder, said)
    analysis = factories.ANALYSIS | {"layers": {"rows": [{"name": "conv"}], "count": 1}}
    assert outcomes.complete(sitter.job.pk, sitter.token, {"analysis": analysis, "ratio": 2}, files)
    variant = Model.objects.get(producer=sitter.job.pk)
    assert (variant.layers.rows, variant.analysis) == ([{"name": "conv"}], factories.ANALYSIS)
    job = Job.objects.get(pk=sitter.job.pk)
    assert (job.status, job.result) == (JobStatus.COMPLETED, {"ratio": 2, "model": str(variant.pk)})
    assert variant.owner_id == job.owner_id
    assert Artifact.objects.get(model=variant).sha256 == variant.sha256
    assert not outcomes.complete(sitter.job.pk, sitter.token, {"analysis": factories.ANALYSIS}, files)


def test_what_postgresql_refuses_is_taken_out() -> None:
    said = json.loads('{"a\\u0000b": ["x\\ud800y", NaN, Infinity, 1.5, null, true, {"deep": "\\u0000"}]}')
    kept = storable(said)
    assert kept == {"ab": ["x?y", None, None, 1.5, None, True, {"deep": ""}]}
