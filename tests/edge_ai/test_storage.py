"""Blobs on the local disk: once for each content, signed links, sweeping."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.models import Blob
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories


def store(folder: Path, content: bytes) -> Blob:
    """Put some bytes into the current workspace."""
    path = folder / "incoming"
    path.write_bytes(content)
    with transaction.atomic():
        return storage.put(path, storage.fingerprint(path))


def test_the_same_content_is_kept_once_and_comes_back_whole(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    content = b"weights" * 500_000
    with inside(alpha, owner):
        first, second = store(tmp_path, content), store(tmp_path, content)
        assert first.pk == second.pk
        assert first.size_bytes == len(content)
        storage.copy_out(first.sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert not (tmp_path / "incoming").exists(), "it was moved, not copied"


def test_a_hash_opens_nothing_in_another_workspace(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, tmp_path: Path
) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"of alpha")
    with inside(beta, outsider):
        assert not Blob.objects.filter(pk=blob.pk).exists()
        with pytest.raises(FileNotFoundError):
            storage.copy_out(blob.sha256, tmp_path / "copy")


def test_a_signed_link_delivers_the_file_to_whoever_holds_it(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"a small model")
        url = storage.signed_url(sha256=blob.sha256, file_name="größe 1.onnx", mime_type="application/octet-stream")
    answer = Client().get(url)
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content) == b"a small model"  # type: ignore[attr-defined]
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["ETag"] == f'"{blob.sha256}"'


def test_a_link_that_was_altered_or_is_too_old_leads_nowhere(
    alpha: Workspace, owner: User, tmp_path: Path, settings: Any
) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"a small model")
        url = storage.signed_url(sha256=blob.sha256, file_name="m.onnx", mime_type="application/octet-stream")
    token = url.split("/")[2]
    assert storage.read_token(token) is not None
    assert storage.read_token(token[:-2] + ("aa" if token[-2:] != "aa" else "bb")) is None
    assert Client().get(url.replace(token, token[:-1])).status_code == 404
    settings.DOWNLOAD_URL_SECONDS = 0
    time.sleep(1.1)
    assert Client().get(url).status_code == 404


def test_a_sweep_removes_what_nothing_refers_to_after_its_grace(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        loose, kept = store(tmp_path, b"loose"), store(tmp_path, b"kept")
        factories.make_artifact(owner, blob=kept, sha256=kept.sha256)
        names = {blob.sha256: storage.blob_name(alpha.schema_name, blob.sha256) for blob in (loose, kept)}
    with inside_as_system(alpha):
        assert storage.sweep(grace=timedelta(hours=1)) == 0, "somebody may be about to refer to it"
        assert storage.sweep(grace=timedelta(0)) >= 1
        assert not Blob.objects.filter(pk=loose.pk).exists()
        assert Blob.objects.filter(pk=kept.pk).exists()
    assert not storage.backend().exists(names[loose.sha256])
    assert storage.backend().exists(names[kept.sha256])


def test_blobs_belong_to_a_workspace(db: None, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="workspace"):
        store(tmp_path, b"nowhere")
