"""Signed links: altered, too old, used for something else, or for what is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.core import signing
from django.db import transaction
from django.test import Client

from accounts.models import User, Workspace
from edge_ai import storage
from tests.conftest import inside


@pytest.fixture
def link(alpha: Workspace, owner: User, tmp_path: Path) -> str:
    """A link that works."""
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    with inside(alpha, owner):
        with transaction.atomic():
            blob = storage.put(path, storage.fingerprint(path))
        found = storage.signed_url(sha256=blob.sha256, file_name="net.onnx", mime_type="application/octet-stream")
    assert Client().get(found).status_code == 200
    return found


def refused(link: str) -> bool:
    answer = Client().get(link)
    return answer.status_code == 404 and b"weights" not in answer.content


def test_no_part_of_it_is_altered(link: str, beta: Workspace) -> None:
    token = link.split("/")[2]
    content, stamp, signature = token.rsplit(":", 2)
    for each in (content, stamp, signature):
        # Its last letter may hold bits that mean nothing, so the first is changed.
        changed = ("A" if each[0] != "A" else "B") + each[1:]
        assert refused(f"/files/{token.replace(each, changed)}/net.onnx")
    for forged in (f"{content}:{stamp}", f"{content}:{stamp}:", f":{stamp}:{signature}", content, "x", "a:b:c", ":::"):
        assert refused(f"/files/{forged}/net.onnx")
    sha256 = storage.read_token(token).sha256  # type: ignore[union-attr]  # it works
    facts = [beta.schema_name, sha256, "net.onnx", "text/html"]
    # Signed by another key, or by ours for another purpose.
    assert refused(f"/files/{signing.dumps(facts, key='guessed' * 9, salt=storage.SALT)}/net.onnx")
    assert refused(f"/files/{signing.dumps(facts, salt='edge_ai.sessions')}/net.onnx")
    assert refused(f"/files/{signing.dumps(facts, salt=storage.SALT)}/net.onnx"), "another workspace has no such file"
    for odd in ("../../etc", "", "A" * 64, sha256.upper(), f"{sha256}/..", "%2e%2e"):
        answer = Client().get(f"/files/{signing.dumps(['public', odd, 'x', 'text/html'], salt=storage.SALT)}/x")
        assert answer.status_code in {400, 404}, odd


def test_it_ends(link: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + settings.DOWNLOAD_URL_SECONDS - 5)
    assert Client().get(link).status_code == 200
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + settings.DOWNLOAD_URL_SECONDS + 5)
    assert refused(link)


def test_it_is_of_no_use_when_the_file_is_gone(link: str, alpha: Workspace) -> None:
    sha256 = storage.read_token(link.split("/")[2]).sha256  # type: ignore[union-attr]  # as above
    storage.backend().delete(storage.blob_name(alpha.schema_name, sha256))
    assert refused(link)


def test_the_name_in_the_address_decides_nothing(link: str) -> None:
    for name in ("evil.html", "x.js", "net.onnx.exe"):
        answer = Client().get(f"/files/{link.split('/')[2]}/{name}")
        assert answer["Content-Disposition"] == 'attachment; filename="net.onnx"'
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["X-Content-Type-Options"] == "nosniff"
