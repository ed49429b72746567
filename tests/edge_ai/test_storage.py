"""Blobs on the local disk: once for each content, signed links, sweeping."""

from __future__ import annotations

import stat
import time
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import signing
from django.db import transaction
from django.test import Client

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.errors import EngineError
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


@pytest.mark.parametrize(
    ("headers", "status", "body", "told"),
    [
        ({"Range": "bytes=2-"}, 206, b"small model", "bytes 2-12/13"),
        ({"Range": "bytes=2-6"}, 206, b"small", "bytes 2-6/13"),
        ({"Range": "bytes=8-99"}, 206, b"model", "bytes 8-12/13"),
        ({"Range": "bytes=13-"}, 416, b"", "bytes */13"),
        ({"Range": "bytes=-5"}, 206, b"model", "bytes 8-12/13"),
        ({"Range": "bytes=-99"}, 206, b"a small model", "bytes 0-12/13"),
        ({"Range": "bytes=-0"}, 416, b"", "bytes */13"),
        ({"Range": "bytes=-"}, 200, b"a small model", None),
        ({"Range": "bytes=6-2"}, 200, b"a small model", None),
        ({"Range": "bytes=0-1,4-5"}, 200, b"a small model", None),
        ({"Range": "bytes=2-", "If-Range": '"another"'}, 200, b"a small model", None),
    ],
)
def test_a_part_of_a_file_is_delivered(
    headers: dict[str, str], status: int, body: bytes, told: str | None, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"a small model")
        url = storage.signed_url(sha256=blob.sha256, file_name="m.onnx", mime_type="application/octet-stream")
    answer = Client().get(url, headers=headers)
    assert answer.status_code == status
    sent = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
    assert sent == body
    assert answer.get("Content-Range") == told
    if status != 416:
        assert int(answer["Content-Length"]) == len(body)
        assert answer["Accept-Ranges"] == "bytes"


def test_a_download_goes_on_where_it_ended_with_the_same_file_alone(
    alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"a small model")
        url = storage.signed_url(sha256=blob.sha256, file_name='größe "1".onnx', mime_type="application/x-onnx")
    browser = Client()
    head = browser.head(url, headers={"Range": "bytes=2-"})
    assert (head.status_code, head.content) == (200, b""), "parts are for GET"
    told = {name: head[name] for name in ("ETag", "Accept-Ranges", "Content-Type", "Content-Disposition")}
    assert told == {
        "ETag": f'"{blob.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/x-onnx",
        "Content-Disposition": "attachment; filename=\"gro_e _1_.onnx\"; filename*=utf-8''gr%C3%B6%C3%9Fe%20%221%22.onnx",
    }
    assert head["Content-Length"] == "13"
    rest = browser.get(url, headers={"Range": "bytes=9-", "If-Range": head["ETag"]})
    assert (rest.status_code, b"".join(rest.streaming_content)) == (206, b"odel")  # type: ignore[attr-defined]
    assert {name: rest[name] for name in told} == told
    assert browser.get(url, headers={"If-None-Match": head["ETag"]}).status_code == 304
    assert browser.get(url, headers={"If-Match": '"another"', "Range": "bytes=9-"}).status_code == 412


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


@pytest.mark.parametrize("kind", ["model", "dataset", "artifact", "benchmark"])
def test_whatever_refers_to_a_blob_keeps_it(alpha: Workspace, owner: User, tmp_path: Path, kind: str) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, kind.encode())
        if kind == "benchmark":
            row: Any = factories.make_benchmark(owner, samples_blob=blob)
        else:
            row = getattr(factories, f"make_{kind}")(owner, blob=blob, sha256=blob.sha256)
    with inside_as_system(alpha):
        storage.sweep(grace=timedelta(0))
        assert Blob.objects.filter(pk=blob.pk).exists()
        type(row).objects.filter(pk=row.pk).delete()
        storage.sweep(grace=timedelta(0))
        assert not Blob.objects.filter(pk=blob.pk).exists()
    assert not storage.backend().exists(storage.blob_name(alpha.schema_name, blob.sha256))


def test_a_sweep_stays_in_its_workspace(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, tmp_path: Path
) -> None:
    with inside(beta, outsider):
        theirs = store(tmp_path, b"nobody in beta refers to this either")
    with inside_as_system(alpha):
        storage.sweep(grace=timedelta(0))
    with inside_as_system(beta):
        assert Blob.objects.filter(pk=theirs.pk).exists()
    assert storage.backend().exists(storage.blob_name(beta.schema_name, theirs.sha256))


def test_what_a_killed_process_left_half_published_is_swept(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        whole = store(tmp_path, b"whole")
        factories.make_model(owner, blob=whole, sha256=whole.sha256)
    path = Path(settings.DATA_DIR / "blobs" / storage.blob_name(alpha.schema_name, whole.sha256))
    half = path.with_name(f".{'0' * 64}.4711")
    half.write_bytes(b"hal")
    with inside_as_system(alpha):
        storage.sweep(grace=timedelta(hours=1))
        assert half.exists(), "somebody may be at it"
        storage.sweep(grace=timedelta(0))
    assert not half.exists()
    assert path.read_bytes() == b"whole"


def test_files_are_for_the_studio_alone(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"private")
    path = Path(settings.DATA_DIR / "blobs" / storage.blob_name(alpha.schema_name, blob.sha256))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0


def test_a_copy_is_no_link_to_the_stored_file(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"the original")
        storage.copy_out(blob.sha256, tmp_path / "copy")
        (tmp_path / "copy").write_bytes(b"scribbled over")
        storage.copy_out(blob.sha256, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"the original"


def test_a_damaged_file_is_not_worked_on(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        blob = store(tmp_path, b"the original")
        Path(settings.DATA_DIR / "blobs" / storage.blob_name(alpha.schema_name, blob.sha256)).write_bytes(
            b"the orig!nal"
        )
        with pytest.raises(EngineError) as refused:
            storage.copy_out(blob.sha256, tmp_path / "copy")
    assert (refused.value.code, refused.value.retryable) == ("file_lost", False)


def test_a_link_to_a_file_that_is_lost_says_so(alpha: Workspace, owner: User, client: Client) -> None:
    with inside(alpha, owner):
        link = storage.signed_url(sha256="0" * 64, file_name="net.onnx", mime_type="application/octet-stream")
    for accept in ("text/html,*/*;q=0.8", "*/*"):
        answer = client.get(link, headers={"Accept": accept})
        assert answer.status_code == 404
        assert "Upload the same file again" in answer.content.decode()
    assert answer.json()["code"] == "file_lost"


def test_a_token_for_something_else_opens_no_file() -> None:
    facts = ["ws_alpha", "0" * 64, "m.onnx", "text/plain"]
    assert storage.read_token(signing.dumps(facts, salt=storage.SALT, compress=True)) is not None
    assert storage.read_token(signing.dumps(facts, salt="password-reset", compress=True)) is None
    assert storage.read_token(signing.dumps(facts[:2], salt=storage.SALT)) is None
    assert storage.read_token(signing.dumps(7, salt=storage.SALT)) is None
    for nonsense in ("", "x", "a:b:c", "ü", "." * 5000):
        assert storage.read_token(nonsense) is None


def test_a_large_file_is_taken_in_and_out_at_constant_memory(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    size = 200 << 20
    with (tmp_path / "large").open("wb") as sink:
        sink.truncate(size)
    with inside(alpha, owner):
        tracemalloc.start()
        try:
            mark = storage.fingerprint(tmp_path / "large")
            with transaction.atomic():
                blob = storage.put(tmp_path / "large", mark)
            storage.copy_out(blob.sha256, tmp_path / "copy")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (mark.size_bytes, (tmp_path / "copy").stat().st_size) == (size, size)
        assert peak < 8 << 20
        storage.backend().delete(storage.blob_name(alpha.schema_name, blob.sha256))


def test_blobs_belong_to_a_workspace(db: None, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="workspace"):
        store(tmp_path, b"nowhere")
