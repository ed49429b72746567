"""Uploading, reading, changing, downloading and removing models and data sets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import AnalysisJob, Blob, Dataset, JobEvent, Model
from edge_ai.worker.babysitter import run_job
from tests.api.support import BASE, SAMPLE, Script, fields, problem, sample, send_json, upload
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories


@pytest.fixture
def nothing_stays(alpha: Workspace, owner: User) -> Iterator[None]:
    """Fails the test when a refused upload leaves anything behind."""

    def remains() -> tuple[int, ...]:
        with inside(alpha, owner):
            return (Blob.objects.count(), Model.objects.count(), Dataset.objects.count(), AnalysisJob.objects.count())

    before = remains()
    yield
    assert list(Path(settings.UPLOAD_DIR).iterdir()) == []
    assert remains() == before


def messages_in_the_queue() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM public.django_q_ormq")
        return int(cursor.fetchone()[0])


def test_a_model_is_taken_in(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    before = messages_in_the_queue()
    answer = upload(
        script, "models/", sample("digits.onnx"), name="Digits", description="A demo.", tags=["demo", "8x8", "demo"]
    )
    assert answer.status_code == 201, answer.content
    model = answer.json()
    assert answer["Location"] == f"{BASE}models/{model['id']}/"
    assert set(model) == {
        *("id", "owner", "name", "description", "tags", "visibility", "format", "file_name", "size_bytes", "sha256"),
        *("status", "precision", "analysis", "error", "parent", "producer", "created_at", "updated_at"),
    }
    content = (SAMPLE / "digits.onnx").read_bytes()
    assert (model["name"], model["description"], model["tags"]) == ("Digits", "A demo.", ["demo", "8x8"])
    assert (model["format"], model["status"], model["visibility"]) == ("onnx", "uploaded", "private")
    assert (model["size_bytes"], model["file_name"]) == (len(content), "digits.onnx")
    assert (model["analysis"], model["error"], model["parent"], model["precision"]) == (None, None, None, None)
    assert model["created_at"].endswith("Z")
    assert messages_in_the_queue() == before + 1
    assert list(Path(settings.UPLOAD_DIR).iterdir()) == []
    assert script.get(answer["Location"]).json() == model
    with inside(alpha, owner):
        assert JobEvent.objects.filter(job__analysisjob__model=model["id"]).count() == 1
    link = script.get(f"{BASE}models/{model['id']}/download/")
    assert (link.status_code, link["Cache-Control"]) == (302, "no-store")
    received = b"".join(Client().get(link["Location"]).streaming_content)  # type: ignore[attr-defined]  # a file's
    assert received == content


def test_a_file_without_a_name_for_it_keeps_its_own(owner: User, script_of: Script) -> None:
    model = upload(script_of(owner), "models/", sample("digits.tflite"), tags="a, b,,a").json()
    assert (model["name"], model["format"], model["tags"]) == ("digits.tflite", "tflite", ["a", "b"])


@pytest.mark.parametrize(
    ("name", "content", "code", "word"),
    [
        ("model.onnx", b"This is no model.\n" * 40, "model_unreadable", "plain text"),
        ("model.onnx", b"\x89PNG\r\n\x1a\n" + b"\0" * 600, "model_unreadable", "PNG"),
        ("model.tflite", b"PK\x03\x04 not a zip at all" * 30, "model_unreadable", "zip"),
        ("model.onnx", b"\x80\x04\x95" + b"." * 600, "model_unsafe", "pickle"),
        ("model.onnx", b"", "invalid_request", "empty"),
    ],
)
def test_a_file_that_is_no_model(
    nothing_stays: None, owner: User, script_of: Script, name: str, content: bytes, code: str, word: str
) -> None:
    answer = upload(script_of(owner), "models/", SimpleUploadedFile(name, content), name="Mine")
    body = problem(answer, 422, code)
    assert fields(body) == {"file"}
    assert word in body["detail"]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"name": "n" * 201}, {"name"}),
        ({"name": "nul\0"}, {"name"}),
        ({"description": "d" * 4001}, {"description"}),
        ({"tags": ["t" * 41]}, {"tags.0", "tags"}),
        ({"tags": [str(i) for i in range(21)]}, {"tags"}),
        ({"visibility": "everybody"}, {"visibility"}),
        ({"status": "ready"}, {"status"}),
    ],
)
def test_bad_fields_beside_a_good_file(
    nothing_stays: None, owner: User, script_of: Script, values: dict[str, Any], wrong: set[str]
) -> None:
    body = problem(upload(script_of(owner), "models/", sample("digits.onnx"), **values), 422, "invalid_request")
    assert fields(body) & wrong == fields(body) != set()


def test_an_upload_without_a_file(nothing_stays: None, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    for where in ("models/", "datasets/"):
        assert fields(problem(script.post(BASE + where, {"name": "x"}), 422, "invalid_request")) == {"file"}
        assert fields(problem(script.post(BASE + where, {"file": "x"}), 422, "invalid_request")) == {"file"}
        assert fields(problem(send_json(script, "post", where, {"name": "x"}), 422, "invalid_request")) == {"file"}


@pytest.mark.parametrize(("path", "setting"), [("models/", "MAX_UPLOAD_BYTES"), ("datasets/", "MAX_DATASET_BYTES")])
def test_too_much_is_refused_by_its_announced_length(
    nothing_stays: None, owner: User, script_of: Script, path: str, setting: str
) -> None:
    announced = str(getattr(settings, setting) + 1_000_000)
    answer = script_of(owner).generic(
        "POST", BASE + path, b"--x\r\n", content_type="multipart/form-data; boundary=x", CONTENT_LENGTH=announced
    )
    assert fields(problem(answer, 413, "file_too_large")) == {"file"}
    assert answer["Connection"] == "close"


def test_too_much_is_refused_when_it_is_there(nothing_stays: None, owner: User, script_of: Script) -> None:
    with override_settings(MAX_UPLOAD_BYTES=1024, MAX_DATASET_BYTES=1024):
        for path, name in (("models/", "digits.onnx"), ("datasets/", "digits-calibration.npz")):
            body = problem(upload(script_of(owner), path, sample(name)), 413, "file_too_large")
            assert "1,024" in body["detail"]


def test_json_stays_small_where_files_may_be_large(nothing_stays: None, owner: User, script_of: Script) -> None:
    large = '{"name": "' + "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 10) + '"}'
    answer = script_of(owner).post(f"{BASE}models/", large, content_type="application/json")
    problem(answer, 413, "file_too_large")


def test_long_fields_beside_a_file(nothing_stays: None, owner: User, script_of: Script) -> None:
    long = "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 10)
    problem(upload(script_of(owner), "models/", sample("digits.onnx"), name=long), 413, "file_too_large")


def test_changing_a_model(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    where = f"{BASE}models/{model.pk}/"
    script = script_of(owner)
    answer = send_json(script, "patch", where, {"name": "Other", "tags": ["x"], "visibility": "workspace"})
    assert answer.status_code == 200, answer.content
    changed = answer.json()
    assert (changed["name"], changed["tags"], changed["visibility"]) == ("Other", ["x"], "workspace")
    assert changed["description"] == "", "what is left out stays"
    assert send_json(script, "patch", where, {}).json()["name"] == "Other"
    for body in ({"name": ""}, {"name": None}, {"tags": "x"}, {"sha256": "0" * 64}, {"owner": str(owner.pk)}):
        problem(send_json(script, "patch", where, body), 422, "invalid_request")
    assert script.get(where).json()["name"] == "Other"


def test_removing_a_model(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        job = factories.make_optimization(owner, model)
    script = script_of(owner)
    problem(script.delete(f"{BASE}models/{model.pk}/"), 409, "conflict")
    assert script.post(f"{BASE}optimization-jobs/{job.pk}/cancel/").json()["status"] == "cancelled"
    answer = script.delete(f"{BASE}models/{model.pk}/")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(script.get(f"{BASE}models/{model.pk}/"), 404, "not_found")
    problem(script.get(f"{BASE}optimization-jobs/{job.pk}/"), 404, "not_found")
    problem(script.delete(f"{BASE}models/{model.pk}/"), 404, "not_found")


def test_what_a_colleagues_private_job_uses_stays(
    alpha: Workspace, owner: User, colleague: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, visibility="workspace")
        dataset = factories.make_dataset(owner, visibility="workspace")
    with inside(alpha, colleague):
        factories.make_optimization(colleague, model, dataset=dataset, status="cancelled", finished_at=timezone.now())
        with connection.cursor() as cursor:
            # Outside tests the check comes with the commit, which the tests' own transaction never reaches.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    script = script_of(owner)
    problem(script.delete(f"{BASE}models/{model.pk}/"), 409, "conflict")
    assert script.get(f"{BASE}models/{model.pk}/").status_code == 200
    problem(script.delete(f"{BASE}datasets/{dataset.pk}/"), 409, "conflict")


def test_a_failed_model_says_why(alpha: Workspace, owner: User, script_of: Script) -> None:
    error = {"code": "model_unreadable", "detail": "It is cut short.", "fix": "Export it again.", "stderr": "/secret"}
    with inside(alpha, owner):
        model = factories.make_model(owner, status="failed", analysis=None, error=error)
    shown = script_of(owner).get(f"{BASE}models/{model.pk}/").json()["error"]
    assert shown == {"code": "model_unreadable", "detail": "It is cut short.", "fix": "Export it again."}


def test_a_data_set_is_taken_in(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    answer = upload(script, "datasets/", sample("digits-eval.npz"), name="Held out", kind="evaluation")
    assert answer.status_code == 201, answer.content
    dataset = answer.json()
    assert set(dataset) == {
        *("id", "owner", "name", "description", "visibility", "kind", "file_name", "size_bytes", "sha256"),
        *("sample_count", "has_labels", "arrays", "content", "task", "created_at", "updated_at"),
    }
    assert (dataset["name"], dataset["kind"], dataset["has_labels"]) == ("Held out", "evaluation", True)
    assert {array["name"] for array in dataset["arrays"]} > {"labels"}
    assert all(array["shape"][0] == dataset["sample_count"] for array in dataset["arrays"])
    assert script.get(answer["Location"]).json() == dataset
    assert script.delete(answer["Location"]).status_code == 204
    problem(script.get(answer["Location"]), 404, "not_found")


def npz(**members: bytes) -> bytes:
    """Return an archive of given bytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return sink.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        npz(x=b"not an array"),
        npz(x=b"\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,)}" + b" " * 100),
        npz(),
    ],
    ids=["text", "no array", "objects", "empty"],  # archives hold the time, and processes must agree on the names
)
def test_a_file_that_is_no_data_set(nothing_stays: None, owner: User, script_of: Script, content: bytes) -> None:
    file = SimpleUploadedFile("data.npz", content)
    problem(upload(script_of(owner), "datasets/", file), 422, "dataset_unreadable")


def test_a_kind_that_is_none(nothing_stays: None, owner: User, script_of: Script) -> None:
    answer = upload(script_of(owner), "datasets/", sample("digits-eval.npz"), kind="training")
    assert fields(problem(answer, 422, "invalid_request")) == {"kind"}


def test_an_onnx_model_and_its_weights_are_sent_as_several_files(
    alpha: Workspace, owner: User, script_of: Script, tmp_path: Path
) -> None:
    onnx.save(onnx.load(SAMPLE / "digits.onnx"), tmp_path / "net.onnx", save_as_external_data=True, location="net.data")
    parts = {name: (tmp_path / name).read_bytes() for name in ("net.onnx", "net.data")}

    def file(name: str, sent_as: str = "") -> SimpleUploadedFile:
        return SimpleUploadedFile(sent_as or name, parts[name])

    script = script_of(owner)
    made = upload(script, "models/", file("net.onnx"), external_data=[file("net.data")])
    assert made.status_code == 201, made.content
    model = made.json()
    assert (model["file_name"], model["name"], model["format"]) == ("net.zip", "net.zip", "onnx")
    again = script.post(f"{BASE}models/", {"file": [file("net.data"), file("net.onnx")], "name": "net"}).json()
    assert (again["sha256"], again["name"]) == (model["sha256"], "net"), "the same bytes, whatever the order"
    with inside_as_system(alpha):
        run_job(alpha.schema_name, AnalysisJob.objects.get(model=model["id"]).pk)
    found = script.get(f"{BASE}models/{model['id']}/").json()
    assert (found["status"], found["analysis"]["warnings"]) == ("ready", []), found["error"]
    file_: Any = script.get(script.get(f"{BASE}models/{model['id']}/download/")["Location"])
    with zipfile.ZipFile(io.BytesIO(b"".join(file_.streaming_content))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == parts
    for several in (
        {"file": file("net.onnx"), "external_data": [file("net.onnx", "other.onnx")]},
        {"file": file("net.data"), "external_data": [file("net.data", "other.data")]},
        {"file": file("net.onnx"), "external_data": [file("net.data"), file("net.data", "NET.DATA")]},
    ):
        refused = problem(script.post(f"{BASE}models/", several), 422, "invalid_request")
        assert fields(refused) == {"file"}
    with override_settings(MAX_UPLOAD_BYTES=len(parts["net.data"]) + 100):
        problem(upload(script, "models/", file("net.onnx"), external_data=[file("net.data")]), 413, "file_too_large")
    assert not list(settings.UPLOAD_DIR.iterdir())
