"""Every code of docs/errors.md is provoked over HTTP: by a request that is refused, or by a job that real workers end.

What happens outside of the studio happens here, too: a storage that is away, a disk without room, a process that is killed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import psutil
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from onnx import ModelProto

from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system, workspace_as_system
from config.errors import status_of
from edge_ai import storage
from edge_ai.engine.errors import CODES
from edge_ai.models import AnalysisJob, Job
from edge_ai.sample import CALIBRATION_DATA, ONNX_MODEL
from edge_ai.services.queue import withdraw
from edge_ai.worker import rescue
from edge_ai.worker.babysitter import name_of_worker, run_job
from tests.api.support import BASE, MISSING, problem, send_json, upload
from tests.conftest import ROOT, inside, inside_as_system, person
from tests.edge_ai.conftest import forget
from tests.engine import graphs
from tests.hostile.corpus import KINDS
from tests.hostile.kinds import Bait
from tests.hostile.onnx_files import reading
from tests.studio import free_port

OCTETS = "application/offset+octet-stream"
#: The answer to a refused request, or the error that a job, or the model that it was to read, has over HTTP.
Outcome = Any
Provocation = Callable[["Studio"], Outcome]
PROVOCATIONS: Final[dict[str, Provocation]] = {}


def provokes(code: str) -> Callable[[Provocation], Provocation]:
    """Enter what provokes a code into the table."""

    def enter(provocation: Provocation) -> Provocation:
        assert code not in PROVOCATIONS, code
        PROVOCATIONS[code] = provocation
        return provocation

    return enter


class Studio:
    """What provocations have: people, settings that an operator makes, and workers. Nothing is made before it is asked for."""

    def __init__(self, request: pytest.FixtureRequest, settings: Any, folder: Path) -> None:
        self._request = request
        self.settings = settings
        self.folder = folder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._request.getfixturevalue(name)

    def in_the_open(self) -> None:
        """Commit what is made from now on, for workers with connections of their own."""
        self._request.getfixturevalue("committing")

    @functools.cached_property
    def script(self) -> Client:
        """The owner's."""
        client: Client = self.script_of(self.owner)
        return client

    @property
    def here(self) -> str:
        """“This machine”."""
        return str(self.script.get(f"{BASE}device-profiles/").json()["results"][0]["id"])

    def post(self, path: str, **body: Any) -> Any:
        """Send JSON."""
        return send_json(self.script, "post", path, body)

    def model(self, content: bytes | ModelProto, *, analysed: bool = True) -> str:
        """Upload a model, and have a worker analyse it, whatever comes of that; returns its id."""
        data = content if isinstance(content, bytes) else content.SerializeToString()
        answer = upload(self.script, "models/", SimpleUploadedFile("m.onnx", data))
        assert answer.status_code == 201, answer.content
        model = str(answer.json()["id"])
        if analysed:
            self.work(self.analysis_of(model))
        return model

    def digits(self) -> str:
        """Upload the sample and have it analysed."""
        return self.model(ONNX_MODEL.read_bytes())

    def dataset(self, **arrays: Any) -> str:
        """Upload arrays; those of the sample where none are given."""
        content = io.BytesIO(CALIBRATION_DATA.read_bytes())
        if arrays:
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, **arrays)
        answer = upload(self.script, "datasets/", SimpleUploadedFile("d.npz", content.getvalue()))
        assert answer.status_code == 201, answer.content
        return str(answer.json()["id"])

    def analysis_of(self, model: str) -> UUID:
        """Return the job that reads a model."""
        with inside_as_system(self.alpha):
            return AnalysisJob.objects.get(model_id=UUID(model)).pk

    def work(self, job: UUID | str) -> None:
        """Let a worker take a job."""
        with inside_as_system(self.alpha):
            run_job(self.alpha.schema_name, UUID(str(job)))

    def error(self, path: str, status: str = "failed") -> dict[str, Any]:
        """Return what a row that ended so has for an error."""
        row = self.script.get(BASE + path).json()
        assert row["status"] == status, row
        return dict(row["error"])

    def optimization(self, model: str, **wanted: Any) -> Any:
        """Ask for an optimization on this machine."""
        usual = {"model": model, "device_profile": self.here, "target_format": "onnx", "precision": "int8_dynamic"}
        return self.post("optimization-jobs/", **usual | wanted)

    def hostile(self, name: str, path: str) -> Any:
        """Upload a file of the corpus."""
        bait = Bait(secret="", secret_file=self.folder / "secret", marker=self.folder / "marker", folder=self.folder)
        return upload(self.script, path, SimpleUploadedFile("file.zip", KINDS[name].make(bait)))

    def begin(self, **headers: str) -> Any:
        """Begin a resumable upload of ten bytes."""
        told = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"} | headers
        return self.script.post(f"{BASE}uploads/", b"", content_type=OCTETS, headers=told)

    def append(self, at: str, body: bytes, **headers: str) -> Any:
        """Send bytes of a resumable upload."""
        told = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"} | headers
        return self.script.patch(at, body, content_type=OCTETS, headers=told)

    def allow(self, **limits: int) -> None:
        """Give the workspace limits of its own."""
        with acting_as_system():
            Workspace.objects.filter(pk=self.alpha.pk).update(**limits)


@pytest.fixture
def scene(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> Studio:
    """A studio, of which nothing is used yet."""
    settings.RESUMABLE_DIR = tmp_path / "uploads"
    settings.RESUMABLE_DIR.mkdir()
    return Studio(request, settings, tmp_path)


@pytest.fixture
def committing(scene: Studio, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Commit a scene's rows; they are of the workspace's root, and removed afterwards."""
    with django_db_blocker.unblock():
        alpha = Workspace.objects.get(slug="alpha")
        with acting_as_system():
            user = User.objects.get(email="alpha-root@example.com")
            key, secret = ApiKey.issue(user=user, workspace=alpha, name="errors", scopes=["admin"])
        scene.__dict__.update(alpha=alpha, script=Client(headers={"Authorization": f"Bearer {secret}"}))
        try:
            yield
        finally:
            with inside_as_system(alpha):
                withdraw(*Job.objects.values_list("pk", flat=True))
                forget()
                key.delete()


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_provoked(code: str, scene: Studio) -> None:
    outcome = PROVOCATIONS[code](scene)
    if isinstance(outcome, dict):
        assert outcome["code"] == code, outcome
        assert outcome["detail"] and outcome["fix"]
        assert str(ROOT) not in str(outcome) and "Traceback" not in str(outcome)
    else:
        problem(outcome, status_of(code), code)


def test_the_table_is_that_of_the_documentation() -> None:
    documented = re.findall(r"^## `(\w+)`$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(CODES)
    assert set(documented) - set(PROVOCATIONS) == set(), "Enter a provocation here for each of these."
    assert set(PROVOCATIONS) - set(documented) == set(), "These are not codes any more."


# -- requests -----------------------------------------------------------------------------------------------------------
@provokes("parse_error")
def _(studio: Studio) -> Outcome:
    return studio.script.post(f"{BASE}webhooks/", "{", content_type="application/json")


@provokes("invalid_request")
def _(studio: Studio) -> Outcome:
    return studio.script.get(f"{BASE}models/?bogus=1")


@provokes("not_authenticated")
def _(studio: Studio) -> Outcome:
    assert studio.alpha
    return Client(headers={"Authorization": "Bearer eas_none"}).get(f"{BASE}me/")


@provokes("permission_denied")
def _(studio: Studio) -> Outcome:
    return send_json(studio.script_of(studio.owner, scopes=["read"]), "post", "webhooks/", {})


@provokes("not_found")
def _(studio: Studio) -> Outcome:
    return studio.script.get(f"{BASE}models/{MISSING}/")


@provokes("workspace_required")
def _(studio: Studio) -> Outcome:
    both = person("both@example.com", studio.alpha, Role.MEMBER)
    with acting_as_system():
        Membership.objects.create(user=both, workspace=studio.beta, role=Role.MEMBER)
    return studio.browser_of(both).get(f"{BASE}me/")


@provokes("method_not_allowed")
def _(studio: Studio) -> Outcome:
    return studio.script.delete(f"{BASE}models/")


@provokes("not_acceptable")
def _(studio: Studio) -> Outcome:
    return studio.script.get(f"{BASE}models/", headers={"Accept": "text/html"})


@provokes("unsupported_media_type")
def _(studio: Studio) -> Outcome:
    return studio.script.post(f"{BASE}webhooks/", "a=b", content_type="application/x-www-form-urlencoded")


@provokes("conflict")
def _(studio: Studio) -> Outcome:
    wanted = {"name": "Board", "category": "phone", "cpu_architecture": "arm64"}
    made = {**wanted, "formats": ["onnx"], "precisions": ["fp32"]}
    for body in (made, made | {"name": "Another"}):
        answer = studio.script.post(
            f"{BASE}device-profiles/", body, content_type="application/json", headers={"Idempotency-Key": "once"}
        )
    return answer


@provokes("precondition_failed")
def _(studio: Studio) -> Outcome:
    model = studio.model(ONNX_MODEL.read_bytes(), analysed=False)
    return studio.script.delete(f"{BASE}models/{model}/", headers={"If-Match": '"another version"'})


@provokes("rate_limited")
def _(studio: Studio) -> Outcome:
    studio.script.get(f"{BASE}me/")
    with inside(studio.alpha, studio.owner):
        ApiKey.objects.filter(user=studio.owner).update(rate_per_minute=1)
    return studio.script.get(f"{BASE}me/")


@provokes("feature_off")
def _(studio: Studio) -> Outcome:
    studio.settings.FEATURES_OFF = frozenset({"packaging"})
    return studio.post("packages/", model=MISSING)


@provokes("address_refused")
def _(studio: Studio) -> Outcome:
    return studio.post("webhooks/", url="http://169.254.169.254/latest/", events=["model.ready"])


@provokes("import_s3_off")
def _(studio: Studio) -> Outcome:
    return studio.post("models/imports/", s3_key="net.onnx")


@provokes("fetch_failed")
def _(studio: Studio) -> Outcome:
    studio.settings.IMPORT_ALLOW_NETWORKS = (ip_network("127.0.0.0/8"),)
    job = studio.post("models/imports/", url=f"http://127.0.0.1:{free_port()}/net.onnx").json()["id"]
    with inside_as_system(studio.alpha):
        Job.objects.filter(pk=job).update(max_attempts=1)
    studio.work(job)
    return studio.error(f"models/imports/{job}/")


# -- files --------------------------------------------------------------------------------------------------------------
@provokes("file_too_large")
def _(studio: Studio) -> Outcome:
    return studio.begin(**{"Upload-Length": str(studio.settings.MAX_UPLOAD_BYTES + 1)})


@provokes("parts_unsupported")
def _(studio: Studio) -> Outcome:
    return studio.post("uploads/", length_bytes=10, file_name="m.onnx")


@provokes("upload_offset_mismatch")
def _(studio: Studio) -> Outcome:
    return studio.append(studio.begin()["Location"], b"12345", **{"Upload-Offset": "5"})


@provokes("checksum_mismatch")
def _(studio: Studio) -> Outcome:
    other = base64.b64encode(bytes(32)).decode()
    return studio.append(studio.begin()["Location"], b"12345", **{"Upload-Checksum": f"sha256 {other}"})


@provokes("upload_incomplete")
def _(studio: Studio) -> Outcome:
    return studio.post("models/", upload=studio.begin()["Location"].split("/")[-2])


@provokes("upload_expired")
def _(studio: Studio) -> Outcome:
    studio.settings.UPLOAD_EXPIRY_SECONDS = -1
    return studio.append(studio.begin()["Location"], b"12345")


@provokes("upload_locked")
def _(studio: Studio) -> Outcome:
    at = studio.begin()["Location"]
    (file,) = (path for path in studio.settings.RESUMABLE_DIR.rglob("*") if path.is_file())
    with file.open("r+b") as held:  # as another process of the studio holds it while it writes
        fcntl.flock(held, fcntl.LOCK_EX)
        return studio.append(at, b"12345")


@provokes("storage_full")
def _(studio: Studio) -> Outcome:
    studio.settings.DISK_RESERVE_BYTES = 1 << 60
    return studio.begin()


@provokes("storage_unavailable")
def _(studio: Studio) -> Outcome:
    backend = studio.settings.S3_STORAGE
    away = {
        "bucket_name": "studio",
        "endpoint_url": f"http://127.0.0.1:{free_port()}",
        "region_name": "us-east-1",
        "access_key": "key",
        "secret_key": "secret",
    }
    s3 = {"BACKEND": backend["BACKEND"], "OPTIONS": backend["OPTIONS"] | away}
    studio.settings.S3_CONNECT_SECONDS = 1
    studio.settings.STORAGES = studio.settings.STORAGES | {"blobs": s3}
    return upload(studio.script, "models/", SimpleUploadedFile("m.onnx", ONNX_MODEL.read_bytes()))


@provokes("quota_exceeded")
def _(studio: Studio) -> Outcome:
    studio.allow(max_stored_bytes=1)
    return studio.begin()


@provokes("dataset_unreadable")
def _(studio: Studio) -> Outcome:
    return upload(studio.script, "datasets/", SimpleUploadedFile("d.npz", b"neither arrays nor images"))


@provokes("preprocess_invalid")
def _(studio: Studio) -> Outcome:
    return studio.hostile("images-preprocess", "datasets/")


@provokes("task_invalid")
def _(studio: Studio) -> Outcome:
    return studio.hostile("images-task", "datasets/")


@provokes("model_unsafe")
def _(studio: Studio) -> Outcome:
    return studio.hostile("pickle", "models/")


@provokes("model_unreadable")
def _(studio: Studio) -> Outcome:
    return studio.error(f"models/{studio.model(ONNX_MODEL.read_bytes()[:60_000])}/")


@provokes("external_data_missing")
def _(studio: Studio) -> Outcome:
    return studio.error(f"models/{studio.model(reading('weights.bin'))}/")


# -- what can never work ------------------------------------------------------------------------------------------------
@provokes("unsupported_size")
def _(studio: Studio) -> Outcome:
    # One file may hold little here; two gigabytes would be sent for the same.
    studio.monkeypatch.setattr("edge_ai.engine.feasible.MAX_ONE_FILE_BYTES", 100)
    return studio.optimization(studio.digits(), target_format="ort", precision="fp32")


@provokes("unsupported_conversion")
def _(studio: Studio) -> Outcome:
    return studio.optimization(studio.digits(), target_format="gguf")


@provokes("unsupported_precision")
def _(studio: Studio) -> Outcome:
    return studio.optimization(studio.digits(), precision="int16x8")


@provokes("unsupported_operator")
def _(studio: Studio) -> Outcome:
    return studio.optimization(studio.model(graphs.endless_loop()), target_format="tflite", precision="fp32")


@provokes("nothing_to_quantize")
def _(studio: Studio) -> Outcome:
    return studio.optimization(studio.model(graphs.trees()))


@provokes("dataset_required")
def _(studio: Studio) -> Outcome:
    return studio.optimization(studio.digits(), precision="int8")


@provokes("dataset_mismatch")
def _(studio: Studio) -> Outcome:
    other = studio.dataset(sound=np.zeros((60, 16), dtype=np.float32))
    return studio.optimization(studio.digits(), precision="int8", dataset=other)


@provokes("batch_refused")
def _(studio: Studio) -> Outcome:
    models, devices = [studio.digits()], [studio.here]
    return studio.post("optimization-jobs/batch/", models=models, device_profiles=devices, precisions=["fp32"])


@provokes("not_comparable")
def _(studio: Studio) -> Outcome:
    models = [studio.digits(), studio.model(graphs.conv_net())]
    return studio.post("comparisons/", models=models, device_profile=studio.here)


@provokes("device_not_here")
def _(studio: Studio) -> Outcome:
    board = studio.post("device-profiles/", name="Board", category="phone", formats=["onnx"], precisions=["fp32"])
    return studio.post("benchmarks/", model=studio.digits(), device_profile=board.json()["id"])


@provokes("kinds_differ")
def _(studio: Studio) -> Outcome:
    model = studio.digits()
    board = studio.script.get(f"{BASE}device-profiles/?search=Raspberry Pi 5").json()["results"][0]["id"]
    estimate = studio.post("benchmarks/", model=model, device_profile=board).json()["id"]
    studio.work(estimate)
    return studio.post("benchmarks/", model=model, device_profile=studio.here, baseline=estimate)


@provokes("too_many_jobs")
def _(studio: Studio) -> Outcome:
    model = studio.digits()
    studio.allow(max_open_jobs=1)
    assert studio.optimization(model).status_code == 201
    return studio.optimization(model, precision="fp16")


# -- jobs ---------------------------------------------------------------------------------------------------------------
@provokes("cancelled")
def _(studio: Studio) -> Outcome:
    job = studio.optimization(studio.digits())
    studio.script.post(f"{job['Location']}cancel/")
    return studio.error(f"optimization-jobs/{job.json()['id']}/", "cancelled")


@provokes("dependency_failed")
def _(studio: Studio) -> Outcome:
    model = studio.model(ONNX_MODEL.read_bytes()[:60_000], analysed=False)
    job = studio.optimization(model).json()["id"]
    studio.work(studio.analysis_of(model))
    return studio.error(f"optimization-jobs/{job}/")


@provokes("parity_failed")
def _(studio: Studio) -> Outcome:
    made, x, labels = graphs.sharp_net()
    wanted = {"dataset": studio.dataset(x=x, labels=labels), "options": {"accuracy_budget": 0.0, "search": False}}
    job = studio.optimization(studio.model(made), precision="int8", **wanted).json()["id"]
    studio.work(job)
    return studio.error(f"optimization-jobs/{job}/")


@provokes("resource_limit")
def _(studio: Studio) -> Outcome:
    studio.settings.JOB_WALL_SECONDS = 0  # the engine is killed as soon as it is looked at
    return studio.error(f"models/{studio.digits()}/")


@provokes("sandbox_unavailable")
def _(studio: Studio) -> Outcome:
    studio.settings.SANDBOX_LEVEL = "none"
    studio.settings.SANDBOX_ALLOW_NONE = False
    return studio.error(f"models/{studio.digits()}/")


def at_rest(studio: Studio, model: str) -> Path:
    """Where the file of a model lies."""
    sha256 = studio.script.get(f"{BASE}models/{model}/").json()["sha256"]
    return Path(storage.backend().path(storage.blob_name(studio.alpha.schema_name, sha256)))


@provokes("file_lost")
def _(studio: Studio) -> Outcome:
    model = studio.model(ONNX_MODEL.read_bytes(), analysed=False)
    # Somebody has deleted the file under the studio.
    at_rest(studio, model).unlink()
    studio.work(studio.analysis_of(model))
    return studio.error(f"models/{model}/")


@provokes("internal_error")
def _(studio: Studio) -> Outcome:
    studio.settings.JOB_MAX_ATTEMPTS = 1
    model = studio.model(ONNX_MODEL.read_bytes(), analysed=False)
    # Something that nobody thought of lies in the place of the file.
    path = at_rest(studio, model)
    path.unlink()
    path.mkdir()
    try:
        studio.work(studio.analysis_of(model))
    finally:
        path.rmdir()
    return studio.error(f"models/{model}/")


@provokes("engine_crashed")
def _(studio: Studio) -> Outcome:
    studio.in_the_open()
    model = studio.model(ONNX_MODEL.read_bytes(), analysed=False)
    job = studio.analysis_of(model)

    def work() -> None:
        try:
            with workspace_as_system(studio.alpha.schema_name):
                run_job(studio.alpha.schema_name, job)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    soon(lambda: engines_below(os.getpid()))[0].send_signal(signal.SIGSEGV)
    worker.join(60)
    return studio.error(f"models/{model}/")


@provokes("worker_lost")
def _(studio: Studio) -> Outcome:
    studio.in_the_open()
    studio.settings.JOB_MAX_ATTEMPTS = 1
    model = studio.model(ONNX_MODEL.read_bytes(), analysed=False)
    schema, job = studio.alpha.schema_name, studio.analysis_of(model)
    script = "import django, sys; django.setup(); from edge_ai.worker.tasks import deliver; deliver(*sys.argv[1:])"
    worker = subprocess.Popen(
        [sys.executable, "-c", script, schema, str(job)],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
    )
    try:
        soon(lambda: engines_below(worker.pid))
    finally:
        worker.kill()
        worker.wait()
    with inside_as_system(studio.alpha):
        # As the supervisor does that sees its worker end.
        assert rescue.take_from([name_of_worker(worker.pid, "")]) == 1
    return studio.error(f"models/{model}/")


def engines_below(pid: int) -> list[psutil.Process]:
    """Return the engines that a process has started."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            if process.cmdline()[1:4] == ["-m", "edge_ai.engine", "run"]:
                found.append(process)
    return found


def soon(look: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """Wait until something is there."""
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
