"""Hostile files sent to a studio of real processes, over HTTP, as a stranger would."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from benchmarks.fuzz.seeds import dense_onnx
from tests.conftest import Answer, ask, inside
from tests.edge_ai import factories
from tests.hostile.corpus import KINDS
from tests.hostile.kinds import Bait
from tests.hostile.onnx_files import ODD_NAME
from tests.studio import RealStudio

API = "/api/edge/v1/"
MODELS = (
    "zip-parent",
    "zip-bomb-of-gigabytes",
    "zip-endless-list",
    "pickle",
    "onnx-external-environment",
    "onnx-function-bomb",
    "onnx-name-bomb",
    "h5-lambda",
    "savedmodel-write-file",
    "tflite-call-recursion",
    "openvino-foreign-entity",
)
DATASETS = ("npz-objects", "npz-code-in-header", "npz-short-header", "npz-endless-shape")


def send(studio: RealStudio, path: str, data: bytes, file_name: str = "model.bin") -> Answer:
    """Upload bytes under a name that is written as it is."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
    request = urllib.request.Request(
        studio.base + API + path, head.encode() + data + f"\r\n--{boundary}--\r\n".encode(), method="POST"
    )
    request.add_header("Authorization", f"Bearer {studio.api_key}")
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(status=answer.status, body=json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        return Answer(status=error.code, body=json.loads(error.read()))


def analysed(studio: RealStudio, model: str) -> dict[str, Any]:
    """Wait for the end of a model's analysis."""
    deadline = time.monotonic() + 90
    while True:
        row: dict[str, Any] = ask(studio, "GET", f"{API}models/{model}/").body
        if row["status"] in {"ready", "failed"}:
            return row
        assert time.monotonic() < deadline
        time.sleep(0.1)


def workers(studio: RealStudio) -> set[int]:
    """Return the supervisors of the studio's queues, which start again what dies under them."""
    return {
        process.pid
        for process in psutil.Process(studio.pid).children(recursive=True)
        if "supervise" in process.cmdline()
    }


@pytest.mark.worker
def test_the_studio_refuses_them_and_goes_on(studio: RealStudio, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(secret := f"secret-{uuid.uuid4().hex}")
    (tmp_path / "work").mkdir()
    bait = Bait(secret=secret, secret_file=tmp_path / "secret", marker=tmp_path / "marker", folder=tmp_path / "work")
    before = workers(studio)
    assert before
    waiting = {}
    for name in MODELS:
        kind = KINDS[name]
        answer = send(studio, "models/", kind.make(bait))
        if kind.step == "upload":
            assert (answer.status, answer.body["code"]) == (422, kind.codes[0]), (name, answer)
        else:
            assert answer.status == 201, (name, answer)
            waiting[name] = answer.body["id"]
    for name in DATASETS:
        answer = send(studio, "datasets/", KINDS[name].make(bait), "data.npz")
        assert (answer.status, answer.body["code"]) == (422, KINDS[name].codes[0]), (name, answer)
    for name, model in waiting.items():
        row = analysed(studio, model)
        assert (row["status"], row["error"]["code"]) == ("failed", KINDS[name].codes[0]), (name, row)
        assert secret not in json.dumps(row)
    honest = send(studio, "models/", dense_onnx().SerializeToString())
    assert honest.status == 201
    row = analysed(studio, honest.body["id"])
    assert (row["status"], row["analysis"]["parameter_count"]) == ("ready", 12)
    assert workers(studio) == before
    assert not bait.marker.exists()
    deadline = time.monotonic() + 10
    while left := list((studio.data_dir / "work").glob("*/[!.]*/*")):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    # No name of a file gets a stranger to an address, into a path, or onto a page.
    for file_name in (
        "../../marker.onnx",
        "C:\\\\marker.onnx",
        "\x1b[2J\u202exnno.onnx",
        "<script>alert(1)</script>.onnx",
    ):
        answer = send(studio, "models/", dense_onnx().SerializeToString(), file_name)
        assert answer.status == 201, answer
        kept = answer.body["file_name"]
        assert kept.isprintable() and not set(kept) & set('/\\<>"\x1b\u202e'), kept


def test_names_of_a_model_are_text_on_its_page(
    alpha: Workspace, owner: User, browser_of: Callable[[User], Client]
) -> None:
    tensor = {"name": ODD_NAME, "dtype": "float32", "shape": [1, ODD_NAME]}
    analysis = factories.ANALYSIS | {
        "inputs": [tensor],
        "outputs": [tensor],
        "operators": {ODD_NAME: 1},
        "producer": ODD_NAME,
        "metadata": {ODD_NAME: ODD_NAME},
        "warnings": [{"code": ODD_NAME, "detail": ODD_NAME, "fix": ODD_NAME}],
    }
    with inside(alpha, owner):
        model = factories.make_model(owner, name=ODD_NAME, file_name=ODD_NAME, analysis=analysis, producer=None)
    page = browser_of(owner).get(reverse("edge_ai:model-detail", args=[model.pk])).content.decode()
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page
