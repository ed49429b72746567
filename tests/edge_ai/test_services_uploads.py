"""Files on their way in: what is kept of them, and that nothing is left of what is not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import DataError, transaction
from django_q.models import OrmQ

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.errors import EngineError
from edge_ai.models import AnalysisJob, Blob, Dataset, Job, JobEvent, Model
from edge_ai.sample import CALIBRATION_DATA, ONNX_MODEL
from edge_ai.services import datasets, models
from edge_ai.services.uploads import clean_file_name, receive
from tests.conftest import inside
from tests.edge_ai import factories

#: What a request would close at its end.
OPENED: list[TemporaryUploadedFile] = []


@pytest.fixture(autouse=True)
def _as_owner(alpha: Workspace, owner: User) -> Iterator[None]:
    with inside(alpha, owner):
        yield
    while OPENED:
        OPENED.pop().close()


def streamed(name: str, content: bytes) -> TemporaryUploadedFile:
    """A file as the upload handler leaves it: on the disk."""
    file = TemporaryUploadedFile(name, "application/octet-stream", len(content), None)
    file.write(content)
    file.seek(0)
    OPENED.append(file)
    return file


def uploads() -> list[Path]:
    """What lies in the upload folder."""
    return [path for path in django_settings.UPLOAD_DIR.iterdir() if path.is_file()]


def files_of(workspace: Workspace) -> set[str]:
    """The names of everything that is stored for a workspace."""
    return {
        path.name for path in (django_settings.DATA_DIR / "blobs" / workspace.schema_name).rglob("*") if path.is_file()
    }


def rows() -> tuple[int, ...]:
    """How many there are of everything that an upload makes."""
    return tuple(table.objects.count() for table in (Model, Dataset, Blob, Job, JobEvent, OrmQ))


@pytest.mark.parametrize("make", [SimpleUploadedFile, streamed])
def test_a_model_is_stored_whole_whichever_way_it_comes(owner: User, alpha: Workspace, make: Any) -> None:
    content = ONNX_MODEL.read_bytes()
    model = models.upload_model(owner, file=make("C:\\models\\digits v2.onnx", content), visibility="workspace")
    assert (model.name, model.file_name) == ("digits v2.onnx", "digits v2.onnx")
    with storage.open_blob(alpha.schema_name, model.sha256) as stored:
        assert stored.read() == content
    job = AnalysisJob.objects.get(model=model)
    assert (job.queue, job.visibility, job.max_attempts) == ("studio", "workspace", django_settings.JOB_MAX_ATTEMPTS)
    assert JobEvent.objects.filter(job_id=job.pk, kind="status").count() == 1
    assert uploads() == []


def test_row_and_message_stand_and_fall_together(owner: User) -> None:
    before = rows()
    with pytest.raises(RuntimeError), transaction.atomic():
        models.upload_model(owner, file=SimpleUploadedFile("m.onnx", ONNX_MODEL.read_bytes()))
        assert OrmQ.objects.count() == before[-1] + 1
        raise RuntimeError
    assert rows() == before


def test_the_same_file_twice_is_two_models_and_one_blob(owner: User) -> None:
    content = ONNX_MODEL.read_bytes()
    first, second = (models.upload_model(owner, file=streamed("m.onnx", content)) for _ in range(2))
    assert first.pk != second.pk
    assert first.blob_id == second.blob_id
    assert Blob.objects.filter(pk=first.blob_id).count() == 1


@pytest.mark.parametrize("make", [SimpleUploadedFile, streamed])
@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("m.onnx", b"no model at all, only words\n" * 90, "model_unreadable"),
        ("m.onnx", b"", "invalid_request"),
        ("m.onnx", bytes(4096), "file_too_large"),
    ],
)
def test_a_refused_model_leaves_nothing_anywhere(
    owner: User, alpha: Workspace, settings: Any, make: Any, name: str, content: bytes, code: str
) -> None:
    before, files = rows(), files_of(alpha)
    if code == "file_too_large":
        settings.MAX_UPLOAD_BYTES = 4095
    with pytest.raises(EngineError) as refused:
        models.upload_model(owner, file=make(name, content))
    while OPENED:  # a request closes what nobody took
        OPENED.pop().close()
    assert (refused.value.code, refused.value.field) == (code, "file")
    assert (rows(), files_of(alpha), uploads()) == (before, files, [])


def test_a_refused_data_set_leaves_nothing_anywhere(owner: User, alpha: Workspace) -> None:
    before, files = rows(), files_of(alpha)
    cut = CALIBRATION_DATA.read_bytes()[:-40]
    with pytest.raises(EngineError) as refused:
        datasets.upload_dataset(owner, file=streamed("data.npz", cut))
    assert refused.value.code == "dataset_unreadable"
    assert (rows(), files_of(alpha), uploads()) == (before, files, [])


def test_an_upload_that_breaks_off_leaves_nothing_in_the_upload_folder(owner: User) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is full")

    file = SimpleUploadedFile("m.onnx", b"content")
    file.file = Broken(b"content")
    with pytest.raises(OSError, match="disk is full"), receive(file, limit_bytes=100):
        pass
    assert uploads() == []


def test_a_file_whose_row_was_never_made_is_swept(owner: User, alpha: Workspace) -> None:
    files = files_of(alpha)
    with pytest.raises(DataError), transaction.atomic():
        archive = io.BytesIO()
        np.savez(archive, image=np.random.default_rng().random((4, 1, 8, 8), np.float32))
        file = streamed("data.npz", archive.getvalue())
        datasets.upload_dataset(owner, file=file, visibility="far too long for its column")
    stray = files_of(alpha) - files
    assert len(stray) == 1, "it was published before its row was refused"
    with inside(alpha, owner):
        kept = models.upload_model(owner, file=streamed("kept.onnx", ONNX_MODEL.read_bytes()))
        storage.sweep(grace=timedelta(hours=1))
        assert stray <= files_of(alpha), "its row may be on its way"
        storage.sweep(grace=timedelta(0))
    assert not stray & files_of(alpha)
    assert kept.sha256 in files_of(alpha)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\model.onnx", "model.onnx"),
        ('a"b\r\nSet-Cookie: x.onnx', "abSet-Cookie x.onnx"),
        ("größe 模型.onnx", "größe 模型.onnx"),
        ("..", "file"),
        ("", "file"),
        ("x" * 400, "x" * 200),
        ("x" * 400 + ".onnx", "x" * 195 + ".onnx"),
    ],
)
def test_a_file_name_is_made_harmless(given: str, kept: str) -> None:
    assert clean_file_name(given) == kept


def test_deleting_a_data_set_is_its_owners_business_and_its_jobs_live_on(owner: User, colleague: User) -> None:
    dataset = factories.make_dataset(owner, visibility="workspace")
    job = factories.make_optimization(owner, dataset=dataset)
    with pytest.raises(EngineError) as refused:
        datasets.delete_dataset(colleague, dataset=dataset)
    assert refused.value.code == "permission_denied"
    datasets.delete_dataset(owner, dataset=dataset)
    job.refresh_from_db()
    assert job.dataset_id is None
