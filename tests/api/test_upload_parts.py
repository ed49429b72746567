"""Uploads in parts over HTTP, against a real S3 endpoint: `rclone serve s3`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.models import Blob, Dataset, Model, Upload
from edge_ai.services import parts, resumable
from edge_ai.services.standings import Limit, standing
from tests.api.support import BASE, SAMPLE, Script, problem, send_json
from tests.conftest import inside, inside_as_system
from tests.studio import free_port

CONTENT = (SAMPLE / "digits.onnx").read_bytes()
PART = 16 * 1024
TUS: Any = {"HTTP_TUS_RESUMABLE": "1.0.0"}


@pytest.fixture(autouse=True)
def _small_parts(bucket: None, tmp_path: Path) -> Iterator[None]:
    with override_settings(UPLOAD_PART_BYTES=PART, RESUMABLE_DIR=tmp_path), pytest.MonkeyPatch.context() as patch:
        # Parts stay small, so that there are several of a small file.
        patch.setattr(parts, "ROUND_BYTES", 1)
        # Rows are rolled back, and the bucket is the module's.
        storage.remove_all("ws_alpha")
        yield


@pytest.fixture
def settled(django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """What sends a request and does what follows its commit."""

    def send(script: Client, path: str, body: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return send_json(script, "post", path, body)

    return send


def begin(script: Client, content: bytes = CONTENT, **more: Any) -> dict[str, Any]:
    answer = send_json(script, "post", "uploads/", {"length_bytes": len(content), "file_name": "digits.onnx", **more})
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    assert answer["Location"] == f"{BASE}uploads/{body['id']}/"
    return body


def cut(upload: dict[str, Any], content: bytes = CONTENT) -> dict[int, bytes]:
    """The parts of a file by their numbers."""
    length = upload["parts"]["part_bytes"]
    return {1 + start // length: content[start : start + length] for start in range(0, len(content), length)}


def sign(script: Client, upload: dict[str, Any], pieces: dict[int, bytes]) -> list[dict[str, Any]]:
    asked = [{"number": number, "sha256": hashlib.sha256(piece).hexdigest()} for number, piece in pieces.items()]
    answer = send_json(script, "post", f"uploads/{upload['id']}/parts/", {"parts": asked})
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    found: list[dict[str, Any]] = answer.json()["parts"]
    return found


def put(place: dict[str, Any], piece: bytes) -> int:
    """Send a part as a client does: with what the studio said, and without a key."""
    request = urllib.request.Request(place["url"], data=piece, headers=place["headers"], method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def deliver(script: Client, upload: dict[str, Any], pieces: dict[int, bytes]) -> None:
    for place in sign(script, upload, pieces):
        assert put(place, pieces[place["number"]]) == 200


def complete(script: Client, upload: dict[str, Any]) -> Any:
    return send_json(script, "post", f"uploads/{upload['id']}/complete/", {})


def look(script: Client, upload: dict[str, Any]) -> Any:
    return script.get(f"{BASE}uploads/{upload['id']}/").json()


def incoming(workspace: Workspace) -> list[str]:
    """What lies in the bucket and is no blob, files and parts."""
    takes = parts.require_parts()
    prefix = storage.incoming_prefix(workspace.schema_name)
    return [name for name, _ in takes.files(prefix)] + [each.name for each in takes.unfinished(prefix)]


@contextlib.contextmanager
def locked_elsewhere(workspace: Workspace, upload: dict[str, Any]) -> Iterator[None]:
    """Hold the lock of an upload as another session would."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            name = f"edge_ai_upload:{workspace.schema_name}:{upload['id']}"
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        yield
    finally:
        other.close()


def test_parts_go_straight_to_the_storage_at_once_and_become_one_model(
    alpha: Workspace, owner: User, script_of: Script, settled: Callable[..., Any]
) -> None:
    script = script_of(owner)
    upload = begin(script, name="Digits")
    pieces = cut(upload)
    assert len(pieces) >= 3
    assert upload["parts"] == {"part_bytes": PART, "part_count": len(pieces), "arrived": []}
    assert (upload["offset_bytes"], upload["sha256"], upload["purpose"]) == (0, "", "model")
    places = sign(script, upload, pieces)
    assert [place["size_bytes"] for place in places] == [len(piece) for piece in pieces.values()]
    assert all(len(place["headers"]["x-amz-checksum-sha256"]) > 0 for place in places)
    with ThreadPoolExecutor(4) as pool:
        # Backwards, too: the order is not what counts.
        assert set(pool.map(lambda place: put(place, pieces[place["number"]]), reversed(places))) == {200}
    assert look(script, upload)["parts"]["arrived"] == list(pieces)
    problem(settled(script, "models/", {"upload": upload["id"]}), 409, "upload_incomplete")
    answers = [complete(script, upload) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].content
    assert answers[0].json() | {"expires_at": ""} == answers[1].json() | {"expires_at": ""}
    assert answers[0].json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    problem(send_json(script, "post", f"uploads/{upload['id']}/parts/", _one(CONTENT)), 409, "conflict")
    problem(settled(script, "datasets/", {"upload": upload["id"]}), 404, "not_found")
    made = [settled(script, "models/", {"upload": upload["id"], "name": "Digits"}) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 200], made[0].content
    model = made[0].json()
    assert (model["format"], model["sha256"]) == ("onnx", hashlib.sha256(CONTENT).hexdigest())
    assert look(script, upload)["made"] == model["id"]
    with inside(alpha, owner):
        assert Model.objects.count() == 1
        with storage.open_blob(alpha.schema_name, model["sha256"]) as blob:
            assert blob.read() == CONTENT
    assert incoming(alpha) == []


def _one(piece: bytes, number: int = 1) -> dict[str, Any]:
    return {"parts": [{"number": number, "sha256": hashlib.sha256(piece).hexdigest()}]}


def test_an_upload_goes_on_after_a_cut_and_parts_may_be_sent_again(
    alpha: Workspace, owner: User, script_of: Script, settled: Callable[..., Any]
) -> None:
    script = script_of(owner)
    content = (SAMPLE / "digits-eval.npz").read_bytes()
    upload = begin(script, content, purpose="dataset", file_name="../digits-eval.npz")
    pieces = cut(upload, content)
    deliver(script, upload, {2: pieces[2]})
    stands = look(script, upload)
    assert (stands["parts"]["arrived"], stands["offset_bytes"]) == ([2], len(pieces[2]))
    body = problem(complete(script, upload), 409, "upload_incomplete")
    assert body["details"]["missing"] == [number for number in pieces if number != 2]
    deliver(script, upload, pieces)
    assert complete(script, upload).json()["sha256"] == hashlib.sha256(content).hexdigest()
    made = settled(script, "datasets/", {"upload": upload["id"]})
    assert made.status_code == 201, made.content
    assert made.json()["file_name"] == "digits-eval.npz"
    with inside(alpha, owner):
        assert Dataset.objects.count() == 1


def test_a_service_that_takes_wrong_bytes_is_found_out(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    upload = begin(script)
    pieces = cut(upload)
    places = {place["number"]: place for place in sign(script, upload, pieces)}
    wrong = bytes(byte ^ 1 for byte in pieces[2])
    taken = [put(place, wrong if number == 2 else pieces[number]) for number, place in places.items()]
    if taken[1] == 200:
        body = problem(complete(script, upload), 460, "checksum_mismatch")
        assert body["details"] == {"parts": [2], "part_count": 1}
        assert look(script, upload)["parts"]["arrived"] == []
        problem(complete(script, upload), 409, "upload_incomplete")
    deliver(script, upload, pieces)
    assert complete(script, upload).status_code == 200


def test_a_part_is_taken_at_its_length_and_with_its_checksum_alone(
    alpha: Workspace, owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    upload = begin(script)
    pieces = cut(upload)
    (place,) = sign(script, upload, {1: pieces[1]})
    assert put(place, pieces[1][:-1]) in {400, 403}
    assert put(place, pieces[1] + b"x") in {400, 403}
    other = hashlib.sha256(b"other").hexdigest()
    assert put(place | {"headers": {"x-amz-checksum-sha256": other}}, pieces[1]) in {400, 403}
    assert put(place | {"url": place["url"].replace("partNumber=1", "partNumber=2")}, pieces[1]) in {400, 403}
    assert look(script, upload)["parts"]["arrived"] == []
    at = f"uploads/{upload['id']}/parts/"
    problem(send_json(script, "post", at, _one(b"", number=len(pieces) + 1)), 422, "invalid_request")
    problem(send_json(script, "post", at, {"parts": []}), 422, "invalid_request")
    problem(send_json(script, "post", at, {"parts": [{"number": 1, "sha256": "short"}]}), 422, "invalid_request")
    tus = {"content_type": "application/offset+octet-stream", "HTTP_UPLOAD_OFFSET": "0", **TUS}
    problem(script.generic("PATCH", f"{BASE}uploads/{upload['id']}/", b"x", **tus), 409, "conflict")


def test_parts_are_reserved_and_refused_as_other_uploads_are(
    alpha: Workspace, owner: User, colleague: User, script_of: Script
) -> None:
    script, other = script_of(owner), script_of(colleague)
    with inside(alpha, owner):
        before = standing().quotas[Limit.STORED_BYTES].reserved
    upload = begin(script)
    with inside(alpha, owner):
        assert standing().quotas[Limit.STORED_BYTES].reserved == before + len(CONTENT)
    at = f"uploads/{upload['id']}/"
    for verb, path in (("get", at), ("post", f"{at}parts/"), ("post", f"{at}complete/")):
        problem(send_json(other, verb, path, _one(b"") if "parts" in path else {}), 404, "not_found")
    problem(other.delete(BASE + at), 404, "not_found")
    huge = {"length_bytes": 10**14}
    problem(send_json(script, "post", "uploads/", huge), 413, "file_too_large")
    problem(send_json(script, "post", "uploads/", {"length_bytes": 0}), 422, "invalid_request")
    problem(send_json(script, "post", "uploads/", {"length_bytes": 5, "purpose": "virus"}), 422, "invalid_request")
    with inside(alpha, owner):
        Upload.objects.filter(pk=upload["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    problem(send_json(script, "post", f"{at}parts/", _one(b"")), 410, "upload_expired")
    problem(complete(script, upload), 410, "upload_expired")


def test_an_upload_in_parts_is_given_up(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    begun, joined = begin(script), begin(script)
    deliver(script, begun, {1: cut(begun)[1]})
    deliver(script, joined, cut(joined))
    assert complete(script, joined).status_code == 200
    for upload in (begun, joined):
        assert script.delete(f"{BASE}uploads/{upload['id']}/").status_code == 204
        assert script.get(f"{BASE}uploads/{upload['id']}/").status_code == 404
    assert incoming(alpha) == []


def test_what_nobody_finishes_is_swept(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    expired, kept, joined = (begin(script) for _ in range(3))
    deliver(script, joined, cut(joined))
    assert complete(script, joined).status_code == 200
    with inside(alpha, owner):
        Upload.objects.filter(pk=expired["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    takes = parts.require_parts()
    prefix = storage.incoming_prefix(alpha.schema_name)
    takes.begin_parts(f"{prefix}11111111-2222-4333-8444-555555555555")
    takes.begin_parts(f"{prefix}{kept['id']}")  # of an earlier try
    storage.backend().save(f"{prefix}11111111-2222-4333-8444-666666666666", ContentFile(CONTENT))
    with inside_as_system(alpha):
        assert resumable.sweep() == 1, "what is young may be about to get its row"
        assert parts.sweep_strays(older_than=datetime.now(UTC) + timedelta(minutes=1)) == 3
    assert sorted(incoming(alpha)) == sorted([f"{prefix}{kept['id']}", f"{prefix}{joined['id']}"])
    deliver(script, kept, cut(kept))
    assert complete(script, kept).status_code == 200


def test_a_kill_at_any_point_of_completing_costs_nothing(
    alpha: Workspace, owner: User, script_of: Script, settled: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = script_of(owner)
    upload = begin(script)
    deliver(script, upload, cut(upload))
    read = parts._read
    monkeypatch.setattr(parts, "_read", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    script.raise_request_exception = False
    assert complete(script, upload).status_code == 500, "joined, and not read"
    monkeypatch.setattr(parts, "_read", read)
    assert look(script, upload)["parts"]["arrived"] == list(cut(upload))
    with locked_elsewhere(alpha, upload):
        problem(complete(script, upload), 423, "upload_locked")
        problem(script.delete(f"{BASE}uploads/{upload['id']}/"), 423, "upload_locked")
    assert complete(script, upload).json()["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    # The model's row is rolled back: the file is there for the next try.
    begun = Model.objects.create
    monkeypatch.setattr(Model.objects, "create", lambda **_: (_ for _ in ()).throw(RuntimeError("killed")))
    assert settled(script, "models/", {"upload": upload["id"]}).status_code == 500
    monkeypatch.setattr(Model.objects, "create", begun)
    assert settled(script, "models/", {"upload": upload["id"]}).status_code == 201
    with inside(alpha, owner):
        assert (Model.objects.count(), Blob.objects.count()) == (1, 1)


def test_what_the_storage_lost_is_told(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    upload = begin(script)
    deliver(script, upload, {1: cut(upload)[1]})
    with inside(alpha, owner):
        row = Upload.objects.get(pk=upload["id"])
        parts.require_parts().abandon_parts(parts.name_of(row), row.parts_id)
    problem(script.get(f"{BASE}uploads/{upload['id']}/"), 410, "upload_expired")
    problem(complete(script, upload), 410, "upload_expired")
    assert script.delete(f"{BASE}uploads/{upload['id']}/").status_code == 204


def test_a_storage_that_does_not_answer_is_told(
    alpha: Workspace, owner: User, script_of: Script, settings: Any
) -> None:
    script = script_of(owner)
    upload = begin(script)
    blobs = settings.STORAGES["blobs"]
    down = blobs["OPTIONS"] | {"endpoint_url": f"http://127.0.0.1:{free_port()}"}
    settings.STORAGES = settings.STORAGES | {"blobs": {**blobs, "OPTIONS": down}}
    with inside(alpha, owner):
        before = Upload.objects.count()
    problem(send_json(script, "post", "uploads/", {"length_bytes": 5}), 503, "storage_unavailable")
    problem(complete(script, upload), 503, "storage_unavailable")
    problem(script.delete(f"{BASE}uploads/{upload['id']}/"), 503, "storage_unavailable")
    with inside(alpha, owner):
        assert Upload.objects.count() == before, "nothing is reserved by what did not begin"


def test_what_is_no_model_is_refused_by_a_look_at_its_ends(
    alpha: Workspace, owner: User, script_of: Script, settled: Callable[..., Any], tmp_path: Path
) -> None:
    script = script_of(owner)
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("weights.bin", os.urandom(300_000))
        archive.writestr("network.onnx", CONTENT)
    for content, code in ((os.urandom(PART * 3), "model_unreadable"), ((tmp_path / "model.zip").read_bytes(), "")):
        upload = begin(script, content)
        deliver(script, upload, cut(upload, content))
        assert complete(script, upload).status_code == 200
        answer = settled(script, "models/", {"upload": upload["id"]})
        if code:
            problem(answer, 422, code)
            assert look(script, upload)["offset_bytes"] == len(content), "a refusal leaves it"
        else:
            assert (answer.status_code, answer.json()["format"]) == (201, "onnx"), answer.content


def test_a_studio_without_such_a_storage_refuses_parts(
    alpha: Workspace, owner: User, script_of: Script, settings: Any
) -> None:
    settings.STORAGES = settings.STORAGES | {"blobs": settings.STORAGES["default"]}
    problem(send_json(script_of(owner), "post", "uploads/", {"length_bytes": 5}), 422, "parts_unsupported")
    script = script_of(owner)
    headers = {**TUS, "HTTP_UPLOAD_LENGTH": "3"}
    at = script.generic("POST", f"{BASE}uploads/", b"", **headers)["Location"]
    problem(send_json(script, "post", f"{at}parts/", _one(b"abc")), 409, "conflict")
    problem(send_json(script, "post", f"{at}complete/", {}), 409, "conflict")
