"""Finished stages between attempts: kept through whatever kills an attempt, and believed in nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings as django_settings

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.stages import EARLIER, FINISHED
from edge_ai.models import Dataset, Job, JobEvent, JobStatus, Model, OptimizationJob
from edge_ai.models.base import ClockTimestamp
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import jobs
from edge_ai.services.leftovers import clear_leftovers
from edge_ai.worker import stages
from edge_ai.worker.babysitter import run_job
from edge_ai.worker.stages import STORE, AttemptStages, Wanted, namespace, tidy, wanted_by
from tests.conftest import inside_as_system
from tests.edge_ai import factories

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
CONVERSION = "convert onnx to tflite"


@pytest.fixture(autouse=True)
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield
    shutil.rmtree(django_settings.WORK_DIR / "ws_alpha", ignore_errors=True)


@pytest.fixture
def job(owner: User) -> OptimizationJob:
    """A job whose first attempt is about to begin."""
    return factories.make_optimization(owner)


def stages_of(job: OptimizationJob, attempt: str = "1") -> AttemptStages:
    """The stages of an attempt, whose folder is made."""
    folder = django_settings.WORK_DIR / "ws_alpha" / str(job.pk) / attempt
    folder.mkdir(parents=True, exist_ok=True)
    return AttemptStages("ws_alpha", Job.objects.get(pk=job.pk), folder)


def folder_of(job: OptimizationJob, attempt: str = "1") -> Path:
    return Path(django_settings.WORK_DIR / "ws_alpha" / str(job.pk) / attempt)


def finish(folder: Path, key: str, content: bytes = b"a model", *, scope: str = "") -> Path:
    """What the engine leaves when a stage is done."""
    stage = folder / FINISHED / key
    (stage / "files" / "deep").mkdir(parents=True)
    (stage / "files" / "deep" / "model").write_bytes(content)
    (stage / "stage.json").write_text("{}")
    (stage / "scope").write_text(scope)
    return stage


def store_of(job: OptimizationJob) -> Path:
    return Path(django_settings.WORK_DIR / "ws_alpha" / STORE / namespace(job))


def kept(job: OptimizationJob) -> set[str]:
    """The keys that are kept for jobs like this one."""
    store = store_of(job)
    return {path.name for path in store.iterdir()} if store.exists() else set()


def test_a_finished_stage_is_kept_at_once_and_laid_out_for_the_next(job: OptimizationJob) -> None:
    first = stages_of(job)
    stage = finish(folder_of(job), A, b"converted")
    first.take(A)
    first.close()
    assert kept(job) == {A} and not stage.exists(), "it does not weigh on the attempt's quota any more"
    second = stages_of(job, "2")
    second.lay_out()
    copy = folder_of(job, "2") / EARLIER / A / "files" / "deep" / "model"
    assert copy.read_bytes() == b"converted"
    original = store_of(job) / A / "files" / "deep" / "model"
    assert (copy.stat().st_nlink, original.stat().st_nlink) == (1, 1)
    copy.write_bytes(b"overwritten by the child")
    assert original.read_bytes() == b"converted"


def test_what_a_killed_worker_left_is_rescued_with_complete_stages_only(job: OptimizationJob) -> None:
    dead = folder_of(job, "1")
    finish(dead, A)
    (finish(dead, B)).rename(dead / FINISHED / "unfinished-0123456789abcdef")
    stages_of(job, "2").rescue()
    assert kept(job) == {A}
    assert not dead.exists() and folder_of(job, "2").exists()


def test_a_worker_that_dies_while_it_removes_a_stage_leaves_nothing_that_looks_like_one(
    job: OptimizationJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stages_of(job)
    finish(folder_of(job), A)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    first.take(A)
    assert first._thread is not None
    first._thread.shutdown()
    monkeypatch.undo()
    (left,) = (folder_of(job) / FINISHED).iterdir()
    assert left.name.startswith("gone-")
    shutil.rmtree(left / "files")
    stages_of(job, "2").rescue()
    assert (store_of(job) / A / "files" / "deep" / "model").exists()


def test_stages_are_for_the_same_person_and_the_same_bytes(job: OptimizationJob, owner: User, colleague: User) -> None:
    finish(folder_of(job), A)
    stages_of(job).close()
    twin = factories.make_optimization(owner, factories.make_model(owner, blob=job.model.blob, sha256=job.model.sha256))
    others = (
        factories.make_optimization(owner),
        factories.make_optimization(owner, job.model, dataset=factories.make_dataset(owner)),
        factories.make_optimization(colleague, job.model),
    )
    assert kept(twin) == {A}, "another upload of the same file"
    for other in others:
        stages_of(other).lay_out()
        assert list((folder_of(other) / EARLIER).iterdir()) == []
    benchmark = factories.make_benchmark(owner, job.model)
    nothing = AttemptStages("ws_alpha", Job.objects.get(pk=benchmark.pk), folder_of(job))
    nothing.lay_out()
    assert not (folder_of(job) / EARLIER).exists()


def test_only_what_may_be_of_use_is_laid_out(owner: User) -> None:
    job = factories.make_optimization(
        owner, factories.make_model(owner, format="keras"), target_format="tflite", precision="int8"
    )
    wanted = wanted_by(job)
    assert [scope for scope in ("", "saved_model", "onnx", "tflite/int8", "tflite/fp16") if wanted.covers(scope)] == [
        "",
        "saved_model",
        "tflite/int8",
    ]
    chosen_for_me = Wanted(formats=wanted.formats, target="tflite", precision="auto")
    assert chosen_for_me.covers("tflite/fp16") and not chosen_for_me.covers("onnx/fp16")


@pytest.mark.parametrize("key", ["", "../" + A, A.upper(), A + "0", f"{A}/files", None, 7, ["x"], "\0" * 64])
def test_what_is_no_key_is_not_taken(job: OptimizationJob, key: object) -> None:
    found = stages_of(job)
    finish(folder_of(job), B)
    found.take(key)
    assert found._copying == []
    shutil.rmtree(folder_of(job) / FINISHED)
    found.close()
    assert kept(job) == set()


def link(stage: Path, secret: Path) -> None:
    (stage / "files" / "model").symlink_to(secret)


def link_to_a_folder(stage: Path, secret: Path) -> None:
    (stage / "files" / "folder").symlink_to(secret.parent)


def hard_link(stage: Path, secret: Path) -> None:
    (stage / "files" / "model").hardlink_to(secret)


def pipe(stage: Path, secret: Path) -> None:
    os.mkfifo(stage / "files" / "model")


def whole_stage_is_a_link(stage: Path, secret: Path) -> None:
    elsewhere = stage.rename(secret.parent / "stage")
    stage.symlink_to(elsewhere)


def all_stages_are_a_link(stage: Path, secret: Path) -> None:
    elsewhere = stage.parent.rename(secret.parent / "stages")
    stage.parent.symlink_to(elsewhere)


def too_many(stage: Path, secret: Path) -> None:
    for number in range(stages.MAX_ENTRIES):
        (stage / "files" / str(number)).touch()


def too_deep(stage: Path, secret: Path) -> None:
    (stage / "files" / "/".join("d" * 1 for _ in range(stages.MAX_DEPTH + 1))).mkdir(parents=True)


def too_large(stage: Path, secret: Path) -> None:
    with (stage / "files" / "model").open("wb") as stream:
        stream.truncate(django_settings.STAGE_CACHE_BYTES // stages.SHARE + 1)


@pytest.mark.parametrize(
    "spoil",
    [
        link,
        link_to_a_folder,
        hard_link,
        pipe,
        whole_stage_is_a_link,
        all_stages_are_a_link,
        too_many,
        too_deep,
        too_large,
    ],
)
def test_a_child_gets_nothing_into_the_store_but_plain_files(
    job: OptimizationJob, tmp_path: Path, settings: Any, spoil: Callable[[Path, Path], None]
) -> None:
    settings.STAGE_CACHE_BYTES = 4 << 20
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    found = stages_of(job)
    spoil(finish(folder_of(job), A), outside / "secret")
    before = sorted(path.name for path in outside.rglob("*"))
    found.take(A)
    found.close()
    assert kept(job) == set(), "neither the stage nor a part of it"
    assert sorted(path.name for path in outside.rglob("*")) == before
    assert (outside / "secret").read_text() == "secret"


def test_a_child_cannot_reach_the_stages_of_other_jobs(job: OptimizationJob, owner: User) -> None:
    other = factories.make_optimization(owner)
    finish(folder_of(other), A, b"right")
    stages_of(other).close()
    found = stages_of(job)
    (folder_of(job) / FINISHED).symlink_to(store_of(other))
    found.take(A)
    found.close()
    assert kept(job) == set()
    assert (store_of(other) / A / "files" / "deep" / "model").read_bytes() == b"right"
    (folder_of(job) / FINISHED).unlink()
    finish(folder_of(job), A, b"wrong")
    stages_of(job).close()
    assert (store_of(other) / A / "files" / "deep" / "model").read_bytes() == b"right"


def used(job: OptimizationJob, key: str, hours_ago: float) -> None:
    """Let a stage have been used so long ago."""
    path = store_of(job) / key
    when = path.stat().st_mtime - hours_ago * 3600
    os.utime(path, (when, when))


def test_what_was_not_used_for_longest_makes_room(job: OptimizationJob, settings: Any) -> None:
    settings.STAGE_CACHE_BYTES = 4_000
    for place, key in enumerate((A, B, C)):
        finish(folder_of(job), key, bytes(900), scope="" if key == A else "tflite")
        stages_of(job).close()
        used(job, key, hours_ago=10 - place)
    # Only A is of use for this job. From now on B is the one that was not used for longest.
    stages_of(job, "2").lay_out()
    assert [path.name for path in (folder_of(job, "2") / EARLIER).iterdir()] == [A]
    finish(folder_of(job), "d" * 64, bytes(900))
    stages_of(job).close()
    finish(folder_of(job), "e" * 64, bytes(900))
    stages_of(job).close()
    assert kept(job) == {A, C, "d" * 64, "e" * 64}
    too_large_for_a_share = finish(folder_of(job), B, bytes(1001))
    stages_of(job).close()
    assert kept(job) == {A, C, "d" * 64, "e" * 64} and not too_large_for_a_share.exists()


def test_what_nobody_used_for_days_is_removed(job: OptimizationJob, alpha: Workspace, settings: Any) -> None:
    for key in (A, B):
        finish(folder_of(job), key)
    stages_of(job).close()
    used(job, A, hours_ago=settings.STAGE_CACHE_HOURS + 1)
    os.utime(store_of(job), (0, 0))
    clear_leftovers(settings.WORK_DIR, alpha.schema_name)
    assert kept(job) == {A, B}, "the sweeper of work folders leaves them alone"
    assert tidy() == 1
    assert kept(job) == {B}
    settings.STAGE_CACHE_BYTES = 0
    assert tidy() == 1
    assert not store_of(job).exists()
    finish(folder_of(job), C)
    stages_of(job).close()
    assert kept(job) == set(), "none are kept any more"


# -- with a real engine ------------------------------------------------------------------------------------------------


@pytest.fixture
def convertible(owner: User) -> Model:
    """The sample, stored, to be converted to TensorFlow Lite."""
    return stored(owner, ONNX_MODEL)


def stored(owner: User, path: Path) -> Model:
    """A ready model whose file is there."""
    copy = django_settings.WORK_DIR / f"{uuid.uuid4()}.onnx"
    shutil.copy(path, copy)
    mark = storage.fingerprint(copy)
    blob = storage.put(copy, mark)
    analysis = factories.ANALYSIS | {"inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", 8, 8, 1]}]}
    return factories.make_model(owner, blob=blob, sha256=mark.sha256, size_bytes=mark.size_bytes, analysis=analysis)


def asked(owner: User, model: Model, precision: str, dataset: Dataset | None = None) -> OptimizationJob:
    return factories.make_optimization(
        owner, model, target_format="tflite", precision=precision, dataset=dataset, options={"search": False}
    )


def told(job: OptimizationJob) -> list[str]:
    return list(JobEvent.objects.filter(job=job.pk).order_by("pk").values_list("message", flat=True))


def reused(job: OptimizationJob) -> list[str]:
    result = OptimizationJob.objects.get(pk=job.pk).result or {}
    return [item["name"] for item in result["passes"] if item.get("reused")]


def engine() -> psutil.Process:
    """The engine child of this process, or what holds it and dies together with it."""
    return next(child for child in psutil.Process().children() if "edge_ai.engine" in child.cmdline())


def test_a_retry_goes_on_after_the_last_finished_stage(
    owner: User, convertible: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = asked(owner, convertible, "fp16")
    take, seen = AttemptStages.take, []

    def take_and_kill(self: AttemptStages, key: object) -> None:
        take(self, key)
        seen.append(key)
        if len(seen) == 2:  # the answers of the original, and the conversion
            engine().kill()

    monkeypatch.setattr(AttemptStages, "take", take_and_kill)
    run_job("ws_alpha", job.pk)
    monkeypatch.undo()
    stopped = Job.objects.get(pk=job.pk)
    assert set(map(str, seen)) <= kept(job)
    if stopped.status == JobStatus.QUEUED:
        # What held the engine died with it, by no fault of its own: another attempt comes by itself, after a while.
        Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
    else:
        assert stopped.status == JobStatus.FAILED and stopped.error and stopped.error["code"] == "engine_crashed"
        jobs.retry_job(owner, job=stopped)
    run_job("ws_alpha", job.pk)
    done = OptimizationJob.objects.get(pk=job.pk)
    assert done.status == JobStatus.COMPLETED, done.error
    assert {"answers of the original", CONVERSION} == set(reused(job))
    said = next(line for line in told(job) if CONVERSION in line)
    assert said.startswith(f"Stage “{CONVERSION}”: taken from an earlier attempt; ") and "s saved" in said
    assert done.result is not None and done.result["reused_seconds"] > 0
    assert done.cache_key
    assert not folder_of(job).parent.exists()

    # Another precision of the same model, by way of the same conversion.
    other = asked(owner, convertible, "int8_dynamic")
    run_job("ws_alpha", other.pk)
    assert CONVERSION in reused(other)


def test_without_the_store_all_is_done_again(owner: User, convertible: Model, settings: Any) -> None:
    settings.STAGE_CACHE_BYTES = 0
    job = asked(owner, convertible, "fp32")
    run_job("ws_alpha", job.pk)
    assert OptimizationJob.objects.get(pk=job.pk).status == JobStatus.COMPLETED
    assert reused(job) == [] and kept(job) == set()
