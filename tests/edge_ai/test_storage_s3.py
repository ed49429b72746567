"""Blobs on a real S3 endpoint: `rclone serve s3`, which checks signatures."""

from __future__ import annotations

import socket
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.errors import EngineError
from edge_ai.models import Blob
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.studio import free_port


def store(tmp_path: Path, content: bytes) -> Blob:
    """Put some bytes into the current workspace."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with transaction.atomic():
        return storage.put(path, storage.fingerprint(path))


def test_bytes_come_back_as_they_went(bucket: None, alpha: Workspace, owner: User, tmp_path: Path) -> None:
    content = b"weights" * 1_000_000
    with inside(alpha, owner):
        blob = store(tmp_path, content)
        storage.copy_out(blob.sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert storage.backend().exists(storage.blob_name(alpha.schema_name, blob.sha256))


def test_a_presigned_link_downloads_under_the_right_name_and_only_while_it_is_whole(
    bucket: None, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"a small model")
        url = storage.signed_url(sha256=blob.sha256, file_name="größe.onnx", mime_type="application/octet-stream")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"a small model"
    assert str(settings.DOWNLOAD_URL_SECONDS) in url
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), timeout=10)
    assert refused.value.code in {400, 403}


def test_a_presigned_download_goes_on_where_it_ended_and_ends_in_time(
    bucket: None, alpha: Workspace, owner: User, tmp_path: Path, settings: Any
) -> None:
    settings.DOWNLOAD_URL_SECONDS = 5
    with inside(alpha, owner):
        blob = store(tmp_path, b"a small model")
        url = storage.signed_url(sha256=blob.sha256, file_name="m.onnx", mime_type="application/x-onnx")
    with urllib.request.urlopen(url, timeout=10) as answer:
        begun, tag = answer.read(8), answer.headers["ETag"]
        assert answer.headers["Accept-Ranges"] == "bytes"
    rest = urllib.request.Request(url, headers={"Range": f"bytes={len(begun)}-", "If-Range": tag})
    with urllib.request.urlopen(rest, timeout=10) as answer:
        # rclone says 200 where S3 says 206; the part is right.
        assert answer.headers["Content-Range"] == "bytes 8-12/13"
        assert begun + answer.read() == b"a small model"
    deadline = time.monotonic() + 60
    with pytest.raises(urllib.error.HTTPError) as refused:
        while time.monotonic() < deadline:
            time.sleep(0.5)
            urllib.request.urlopen(url, timeout=10).close()
    assert refused.value.code in {400, 403}


def test_encryption_is_asked_for_with_every_file(
    bucket: None, alpha: Workspace, owner: User, tmp_path: Path, settings: Any
) -> None:
    blobs = settings.STORAGES["blobs"]
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
    options = blobs["OPTIONS"] | {"object_parameters": encrypted}
    settings.STORAGES = settings.STORAGES | {"blobs": {**blobs, "OPTIONS": options}}
    sent: list[Any] = []
    there: Any = storage.backend()
    there.connection.meta.client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: sent.append(request.headers)
    )
    with inside(alpha, owner):
        blob = store(tmp_path, b"a secret model")
        storage.copy_out(blob.sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"a secret model"
    told = {name.lower(): value for name, value in sent[0].items()}
    assert told["x-amz-server-side-encryption"] in {"aws:kms", b"aws:kms"}
    assert told["x-amz-server-side-encryption-aws-kms-key-id"] in {"key-1", b"key-1"}


def test_a_large_file_goes_in_parts_and_comes_back_at_constant_memory(
    bucket: None, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    with (tmp_path / "large").open("wb") as sink:
        sink.truncate(64 << 20)
    mark = storage.fingerprint(tmp_path / "large")
    parts: list[Any] = []
    there: Any = storage.backend()
    there.connection.meta.client.meta.events.register(
        "before-send.s3.UploadPart", lambda request, **_: parts.append(request.url)
    )
    with inside(alpha, owner):
        with transaction.atomic():
            storage.put(tmp_path / "large", mark)
        tracemalloc.start()
        try:
            storage.copy_out(mark.sha256, tmp_path / "copy")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert storage.fingerprint(tmp_path / "copy") == mark
    assert len(parts) > 1
    assert peak < 40 << 20
    storage.backend().delete(storage.blob_name(alpha.schema_name, mark.sha256))


def test_a_sweep_deletes_from_the_bucket_what_nothing_refers_to(
    bucket: None, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    with inside(alpha, owner):
        loose = store(tmp_path, b"nobody wants this")
        kept = store(tmp_path, b"somebody wants this")
        factories.make_model(owner, blob=kept, sha256=kept.sha256)
    with inside_as_system(alpha):
        assert storage.sweep(grace=timedelta(0)) >= 1
    assert not storage.backend().exists(storage.blob_name(alpha.schema_name, loose.sha256))
    assert storage.backend().exists(storage.blob_name(alpha.schema_name, kept.sha256))


def test_what_was_stored_ahead_is_not_sent_again(bucket: None, alpha: Workspace, owner: User, tmp_path: Path) -> None:
    path = tmp_path / "variant"
    path.write_bytes(b"a variant that takes long to send")
    mark = storage.fingerprint(path)
    with inside(alpha, owner):
        storage.put_ahead(path, mark)
        # Nothing is left that could be sent while the job is locked.
        path.unlink()
        with transaction.atomic():
            assert storage.put(path, mark).sha256 == mark.sha256
        storage.copy_out(mark.sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"a variant that takes long to send"
    # Where the job is cancelled meanwhile, nothing refers to it.
    with inside_as_system(alpha):
        assert storage.sweep(grace=timedelta(0)) == 1


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("how", ["down", "silent", "refusing"])
def test_a_service_that_fails_is_told_soon_and_worth_another_attempt(
    how: str, bucket: None, silent: str, settings: Any, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    blobs = settings.STORAGES["blobs"]
    changed: dict[str, Any] = {
        "down": {"endpoint_url": f"http://127.0.0.1:{free_port()}"},
        "silent": {"endpoint_url": silent},
        "refusing": {"secret_key": "wrong"},
    }[how]
    settings.S3_CONNECT_SECONDS = settings.S3_READ_SECONDS = 1
    settings.STORAGES = settings.STORAGES | {"blobs": {**blobs, "OPTIONS": blobs["OPTIONS"] | changed}}
    with inside(alpha, owner):
        for attempt in (lambda: store(tmp_path, b"bytes"), lambda: storage.copy_out("0" * 64, tmp_path / "copy")):
            with pytest.raises(EngineError) as failed:
                attempt()
            assert (failed.value.code, failed.value.retryable) == ("storage_unavailable", True)
    with inside_as_system(alpha):
        assert not Blob.objects.exists(), "no row without its file"


def test_a_full_disk_is_told(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner), pytest.raises(EngineError) as failed, storage.reaching():
        Path("/dev/full").write_bytes(b"x" * 100_000)
    assert (failed.value.code, failed.value.retryable) == ("storage_full", True)
