"""Resumable uploads over HTTP: the tus protocol, and what finished uploads become."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import AnalysisJob, Dataset, Model, Upload
from edge_ai.services import resumable
from tests.api.support import BASE, MISSING, SAMPLE, Script, problem, send_json
from tests.conftest import inside, inside_as_system

OCTETS = "application/offset+octet-stream"
CONTENT = (SAMPLE / "digits.onnx").read_bytes()
TUS: Any = {"HTTP_TUS_RESUMABLE": "1.0.0"}


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path) -> Iterator[None]:
    with override_settings(RESUMABLE_DIR=tmp_path):
        yield


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def begin(script: Client, length: int = len(CONTENT), *, body: bytes = b"", **told: str) -> Any:
    told = {"filename": "digits.onnx"} | told
    pairs = ",".join(f"{key} {encoded(value)}" for key, value in told.items())
    headers = {**TUS, "HTTP_UPLOAD_LENGTH": str(length), "HTTP_UPLOAD_METADATA": pairs}
    return script.generic("POST", f"{BASE}uploads/", body, content_type=OCTETS, **headers)


def send(script: Client, at: str, offset: int, body: bytes, **more: Any) -> Any:
    headers = {"content_type": OCTETS, "HTTP_UPLOAD_OFFSET": str(offset), **TUS} | more
    return script.generic("PATCH", at, body, **headers)


def offset(script: Client, at: str) -> int:
    answer = script.head(at, **TUS)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    return int(answer["Upload-Offset"])


def test_a_file_arrives_in_pieces_and_becomes_one_model(
    alpha: Workspace, owner: User, script_of: Script, django_capture_on_commit_callbacks: Any
) -> None:
    script = script_of(owner)
    made = begin(script, name="Digits")
    assert (made.status_code, made["Tus-Resumable"], made["Upload-Offset"]) == (201, "1.0.0", "0"), made.content
    at = made["Location"]
    assert offset(script, at) == 0
    first = send(script, at, 0, CONTENT[:1000])
    assert (first.status_code, first["Upload-Offset"]) == (204, "1000")
    assert "Upload-Expires" in first
    upload = script.get(at).json()
    assert (upload["offset_bytes"], upload["sha256"], upload["name"]) == (1000, "", "Digits")
    assert upload | {"offset_bytes": 0, "expires_at": ""} == made.json() | {"expires_at": ""}
    problem(send_json(script, "post", "models/", {"upload": upload["id"]}), 409, "upload_incomplete")
    assert send(script, at, 1000, CONTENT[1000:])["Upload-Offset"] == str(len(CONTENT))
    assert script.get(at).json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    problem(send_json(script, "post", "datasets/", {"upload": upload["id"]}), 404, "not_found")
    with django_capture_on_commit_callbacks(execute=True):
        answers = [send_json(script, "post", "models/", {"upload": upload["id"], "name": "Digits"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200], answers[0].content
    model = answers[0].json()
    assert model == answers[1].json()
    assert (model["name"], model["format"], model["file_name"]) == ("Digits", "onnx", "digits.onnx")
    assert model["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert script.get(at).json()["made"] == model["id"]
    problem(send(script, at, len(CONTENT), b"x"), 409, "conflict")
    with inside(alpha, owner):
        assert (Model.objects.count(), AnalysisJob.objects.count()) == (1, 1)
    assert not [path for path in Path(settings.RESUMABLE_DIR).rglob("*") if path.is_file()]


def test_the_first_bytes_may_come_along_and_data_sets_are_made_too(
    alpha: Workspace, owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    content = (SAMPLE / "digits-eval.npz").read_bytes()
    made = begin(script, len(content), body=content, purpose="dataset", filename="../digits-eval.npz")
    assert made["Upload-Offset"] == str(len(content))
    answer = send_json(script, "post", "datasets/", {"upload": made["Location"].split("/")[-2]})
    assert answer.status_code == 201, answer.content
    assert answer.json()["file_name"] == "digits-eval.npz"
    with inside(alpha, owner):
        assert Dataset.objects.count() == 1


def test_the_protocol_says_what_it_speaks(alpha: Workspace, owner: User, script_of: Script) -> None:
    answer = script_of(owner).options(f"{BASE}uploads/")
    assert (answer.status_code, answer["Tus-Version"]) == (204, "1.0.0")
    assert "checksum" in answer["Tus-Extension"]
    assert answer["Tus-Max-Size"] == str(max(settings.MAX_UPLOAD_BYTES, settings.MAX_DATASET_BYTES))


def test_a_piece_with_the_wrong_checksum_does_not_count(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    at = begin(script)["Location"]
    send(script, at, 0, CONTENT[:10])
    wrong = {"HTTP_UPLOAD_CHECKSUM": f"sha256 {encoded(hashlib.sha256(b'other').digest())}"}
    problem(send(script, at, 10, CONTENT[10:50], **wrong), 460, "checksum_mismatch")
    assert offset(script, at) == 10
    right = {"HTTP_UPLOAD_CHECKSUM": f"sha1 {encoded(hashlib.sha1(CONTENT[10:50]).digest())}"}  # noqa: S324 - the protocol's
    assert send(script, at, 10, CONTENT[10:50], **right)["Upload-Offset"] == "50"
    unknown = {"HTTP_UPLOAD_CHECKSUM": "crc32 AAAA"}
    problem(send(script, at, 50, CONTENT[50:60], **unknown), 422, "invalid_request")
    send(script, at, 50, CONTENT[50:])
    assert script.get(at).json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_whole_is_hashed_whichever_process_had_which_piece(
    forgotten: bool, alpha: Workspace, owner: User, script_of: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = script_of(owner)
    at = begin(script)["Location"]
    for start in range(0, len(CONTENT), 100_000):
        send(script, at, start, CONTENT[start : start + 100_000])
        if forgotten:
            monkeypatch.setattr(resumable, "begun_hashes", resumable.BegunHashes())
    assert script.get(at).json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_what_a_kill_leaves_unverified_does_not_count(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    at = begin(script)["Location"]
    send(script, at, 0, CONTENT[:10])
    (file,) = (Path(settings.RESUMABLE_DIR) / alpha.schema_name).iterdir()
    file.with_suffix(".verified").write_text("10")
    file.write_bytes(CONTENT[:10] + b"damaged")
    assert offset(script, at) == 10
    send(script, at, 10, CONTENT[10:], HTTP_UPLOAD_CHECKSUM=f"sha256 {encoded(hashlib.sha256(CONTENT[10:]).digest())}")
    assert script.get(at).json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_bad_requests_are_told_apart(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    at = begin(script)["Location"]
    problem(send(script, at, 7, b"x"), 409, "upload_offset_mismatch")
    problem(send(script, at, 0, b"x", HTTP_TUS_RESUMABLE="0.2.2"), 412, "precondition_failed")
    problem(send(script, at, 0, b"x", content_type="text/plain"), 415, "unsupported_media_type")
    problem(send(script, at, 0, CONTENT + b"x"), 413, "file_too_large")
    problem(send(script, at, -1, b"x"), 422, "invalid_request")
    problem(begin(script, 0), 422, "invalid_request")
    problem(begin(script, settings.MAX_UPLOAD_BYTES + 1), 413, "file_too_large")
    problem(begin(script, settings.MAX_DATASET_BYTES + 1, purpose="dataset"), 413, "file_too_large")
    problem(begin(script, purpose="virus"), 422, "invalid_request")
    with override_settings(DISK_RESERVE_BYTES=1 << 60):
        problem(begin(script), 507, "storage_full")
    assert offset(script, at) == 0


def test_two_do_not_write_at_once(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    at = begin(script)["Location"]
    (file,) = (Path(settings.RESUMABLE_DIR) / alpha.schema_name).iterdir()
    with resumable._locked(file):
        problem(send(script, at, 0, b"x"), 423, "upload_locked")


def test_uploads_are_their_owners_alone(alpha: Workspace, owner: User, colleague: User, script_of: Script) -> None:
    at = begin(script_of(owner), 3, body=b"abc")["Location"]
    other = script_of(colleague)
    assert other.head(at, **TUS).status_code == 404
    problem(send(other, at, 3, b"x"), 404, "not_found")
    problem(other.delete(at, **TUS), 404, "not_found")
    problem(send_json(other, "post", "models/", {"upload": at.split("/")[-2]}), 404, "not_found")
    problem(send_json(other, "post", "models/", {"upload": MISSING}), 404, "not_found")
    problem(Client().post(f"{BASE}uploads/", **TUS), 401, "not_authenticated")


def test_an_upload_is_given_up(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    at = begin(script, 3, body=b"abc")["Location"]
    problem(send_json(script, "post", "models/", {"upload": at.split("/")[-2]}), 422, "model_unreadable")
    assert script.get(at).json()["offset_bytes"] == 3, "a refusal leaves it"
    assert script.delete(at, **TUS).status_code == 204
    assert script.head(at, **TUS).status_code == 404
    assert not list((Path(settings.RESUMABLE_DIR) / alpha.schema_name).iterdir())


def test_expired_uploads_are_swept(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    at, kept = (begin(script)["Location"] for _ in range(2))
    with inside(alpha, owner):
        Upload.objects.filter(pk=at.split("/")[-2]).update(expires_at=timezone.now() - timedelta(seconds=1))
    problem(send(script, at, 0, b"x"), 410, "upload_expired")
    with inside_as_system(alpha):
        assert resumable.sweep() == 1
    problem(send(script, at, 0, b"x"), 404, "not_found")
    assert offset(script, kept) == 0
