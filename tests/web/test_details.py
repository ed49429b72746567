"""The pages of a data set and of an artifact."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import ArtifactType, Dataset, Job
from edge_ai.services.datasets import upload_dataset
from tests.conftest import inside
from tests.edge_ai import factories

Browser = Callable[[User], Client]
EVIL = '<img src=x onerror="alert(1)">'
# The smallest PNG: one grey pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


def arrays(**named: np.ndarray) -> SimpleUploadedFile:
    stream = io.BytesIO()
    np.savez_compressed(stream, **named)  # type: ignore[arg-type]  # the stubs take the names for flags
    return SimpleUploadedFile("data.npz", stream.getvalue())


def pictures(labels: dict[str, str], **files: str) -> SimpleUploadedFile:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in labels:
            archive.writestr(name, PIXEL)
        rows = "\n".join(f'{name},"{label}"' for name, label in labels.items())
        archive.writestr("labels.csv", f"file,label\n{rows}\n")
        for name, text in files.items():
            archive.writestr(f"{name}.json", text)
    return SimpleUploadedFile("data.zip", stream.getvalue())


def page_of(dataset: Dataset) -> str:
    return reverse("edge_ai:dataset-detail", args=[dataset.pk])


@pytest.mark.parametrize("dtype", ["<i8", ">i4", "u1", "?"])
def test_labels_of_arrays_are_counted(dtype: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    labels = np.array([1] * 6 + [0] * 2).astype(dtype)
    with inside(alpha, owner):
        dataset = upload_dataset(owner, file=arrays(x=np.zeros((8, 2), np.float32), labels=labels))
    assert dataset.header["details"]["labels"] == {
        "classes": 2,
        "rows": [{"label": "1", "name": None, "count": 6}, {"label": "0", "name": None, "count": 2}],
    }
    text = browser_of(owner).get(page_of(dataset)).content.decode()
    assert "75.0 % of the samples" in text
    assert "unevenly spread" in text


@pytest.mark.parametrize("labels", [np.zeros(8, np.float32), np.zeros((8, 3), np.int64)], ids=["real", "several"])
def test_other_labels_are_not_counted(labels: np.ndarray, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        dataset = upload_dataset(owner, file=arrays(x=np.zeros((8, 2), np.float32), labels=labels))
    assert dataset.header["details"]["labels"] is None
    assert "no classes that could be counted" in browser_of(owner).get(page_of(dataset)).content.decode()


def test_pictures_tell_how_they_are_prepared_and_what_labels_mean(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    steps = '{"resize": [2, 2], "mean": [0.5], "std": [0.25], "color_order": "gray"}'
    task = f'{{"task": "classification", "classes": ["cat", "{EVIL.replace(chr(34), chr(39))}"]}}'
    with inside(alpha, owner):
        file = pictures({"a.png": "0", "b.png": "1", "c.png": "0"}, preprocess=steps, task=task)
        dataset = upload_dataset(owner, file=file, name=EVIL)
    text = browser_of(owner).get(page_of(dataset)).content.decode()
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
    assert ">cat<" in text
    assert "66.7 % of the samples" in text
    assert "Height and width" in text
    assert "2, 2" in text
    assert "0.25" in text


def test_a_data_set_of_old_says_that_its_labels_were_not_counted(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        dataset = factories.make_dataset(owner)
    assert "Upload it again" in browser_of(owner).get(page_of(dataset)).content.decode()


def test_the_jobs_that_used_it_are_listed_with_a_fixed_number_of_queries(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        dataset = factories.make_dataset(owner, visibility="workspace")
        model = factories.make_model(owner)
        factories.make_optimization(owner, model, dataset=dataset, name="with the data")
        factories.make_optimization(owner, model, name="without")
    with CaptureQueriesContext(connection) as one:
        text = browser.get(page_of(dataset)).content.decode()
    assert "with the data" in text
    assert ">without<" not in text
    with inside(alpha, owner):
        for _ in range(30):
            factories.make_benchmark(owner, model, dataset=dataset)
    with CaptureQueriesContext(connection) as many:
        text = browser.get(page_of(dataset)).content.decode()
    assert len(one) == len(many) < 20
    assert "1–25 of 31 jobs" in text
    # A colleague sees the shared data, but not the owner's private jobs, and changes nothing.
    theirs = browser_of(colleague).get(page_of(dataset)).content.decode()
    assert "with the data" not in theirs
    assert "Delete this data set" not in theirs
    assert browser_of(colleague).get(reverse("edge_ai:dataset-update", args=[dataset.pk])).status_code == 404


def test_a_data_set_is_renamed_downloaded_and_deleted(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        dataset = factories.make_dataset(owner)
        job = factories.make_optimization(owner, factories.make_model(owner), dataset=dataset)
    edit = reverse("edge_ai:dataset-update", args=[dataset.pk])
    refused = browser.post(edit, {"name": "", "kind": "nothing", "visibility": "private"})
    assert refused.status_code == 422
    changed = browser.post(edit, {"name": "eval", "description": "Ours", "kind": "evaluation", "visibility": "private"})
    assert changed.status_code == 303
    with inside(alpha, owner):
        dataset.refresh_from_db()
    assert (dataset.name, dataset.description, dataset.kind) == ("eval", "Ours", "evaluation")
    link = browser.get(reverse("edge_ai:dataset-download", args=[dataset.pk]))
    assert link.status_code == 302
    assert link["Location"].startswith("/files/")
    assert browser.post(reverse("edge_ai:dataset-delete", args=[dataset.pk])).status_code == 303
    with inside(alpha, owner):
        assert Job.objects.filter(pk=job.pk).exists()
    assert browser.get(page_of(dataset)).status_code == 404


@pytest.mark.parametrize(
    ("kind", "format_", "words"),
    [
        (ArtifactType.OPTIMIZED_MODEL, "onnx", "onnxruntime.InferenceSession"),
        (ArtifactType.OPTIMIZED_MODEL, "tflite", "ai_edge_litert"),
        (ArtifactType.OPTIMIZED_MODEL, "ncnn", "ncnn.Net()"),
        (ArtifactType.OPTIMIZED_MODEL, "openvino", "openvino.Core()"),
        (ArtifactType.OPTIMIZED_MODEL, "coreml", "tools of its own maker"),
        (ArtifactType.RECIPE, "onnx", "--recipe"),
        (ArtifactType.BENCHMARK_SAMPLES, "onnx", "np.load"),
        (ArtifactType.BUNDLE, "onnx", "python run.py"),
        (ArtifactType.BUNDLE, "gguf", "less README.md"),
    ],
)
def test_an_artifact_says_how_it_is_used(
    kind: str, format_: str, words: str, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    tensor = {"name": EVIL, "dtype": EVIL, "shape": ["batch", 8]}
    with inside(alpha, owner):
        original = factories.make_model(owner, name=EVIL, file_name=EVIL)
        job = factories.make_optimization(owner, original, name=EVIL)
        analysis = factories.ANALYSIS | {"inputs": [tensor]}
        model = factories.make_model(owner, name=EVIL, parent=original, format=format_, analysis=analysis)
        named = {"file_name": f"it's {EVIL}", "target_platform": EVIL}
        artifact = factories.make_artifact(owner, model, artifact_type=kind, optimization_job=job, **named)
    browser = browser_of(owner)
    with CaptureQueriesContext(connection) as asked:
        text = browser.get(reverse("edge_ai:artifact-detail", args=[artifact.pk])).content.decode()
    assert len(asked) < 20
    assert words in text
    assert "<img src=x" not in text
    assert f'data-copy="{artifact.sha256}"' in text
    assert reverse("edge_ai:job-detail", args=[job.pk]) in text
    assert text.count("<h1") == 1


def test_the_code_of_an_onnx_variant_runs(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        artifact = factories.make_artifact(owner, model, artifact_type=ArtifactType.OPTIMIZED_MODEL)
    text = browser_of(owner).get(reverse("edge_ai:artifact-detail", args=[artifact.pk])).content.decode()
    assert "&#x27;image&#x27;: np.zeros((1, 1, 8, 8), np.float32)," in text
