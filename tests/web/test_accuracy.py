"""How right a model is, and what it was calibrated on, as their pages tell it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.web import wording
from edge_ai.web.accuracy import confusion_table, judged_of
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results

Browser = Callable[[User], Client]
CHANGE = {
    "difference": -0.4,
    "ci95": [-1.2, 0.4],
    "p_value": 0.42,
    "significant": False,
    "n": 600,
    "only_baseline": 5,
    "only_this": 3,
    "sentence": "0.4 points lower, not significant at n = 600",
}
JUDGED: dict[str, Any] = results.MEASURED | {
    "accuracy": {"top1": 0.75, "roc_auc": 0.98765},
    "accuracy_ci95": {"top1": [0.7, 0.8]},
    "accuracy_task": {"task": "classification", "source": "given", "output": "logits"},
    "accuracy_detail": {
        "confusion": {
            "classes": 2,
            "matrix": [[7, 1], [0, 0]],
            "worst": [{"label": 0, "predicted": 1, "count": 1}],
            "unanswered": 0,
        },
        "class_names": ["cat", "<dog>"],
        "notes": ["Of 9 samples 8 were read."],
        "calibrated_samples": 4,
    },
    "comparison": {
        "verdict": "same",
        "ratio_p50": 1.0,
        "ci95": [0.9, 1.1],
        "accuracy": CHANGE,
        "accuracy_reason": None,
    },
}
CALIBRATED = {
    "samples": 200,
    "judged_samples": 300,
    "inputs": [
        {
            "name": "image",
            "dtype": "float32",
            "range": [-1.5, 2.5],
            "typical": [-1.0, 2.0],
            "coverage": 0.9991,
            "saturation": 0.0,
            "widened": 0.01,
        },
        {"name": "text", "dtype": "<U4", "range": None},
    ],
    "outliers": {"count": 1, "worst": [{"sample": 17, "what": "mean of image", "z": 9.5}]},
    "duplicates": 3,
    "constant": 0,
    "classes": {"count": 4, "missing": 1, "fewest": 9, "most": 80, "samples": [9, 80, 111, 0]},
    "overlap": 0,
    "advice": "200 samples are enough.",
    "warnings": [
        {"code": "calibration_duplicates", "detail": "3 of 200 samples are copies.", "fix": "Leave them out."}
    ],
}


def page_of(alpha: Workspace, owner: User, browser: Client, address: str, result: dict[str, Any]) -> str:
    make = factories.make_benchmark if address == "benchmark-detail" else factories.make_optimization
    with inside(alpha, owner):
        job = make(owner, **(results.ENDED | {"result": result}))
    response = browser.get(reverse(f"edge_ai:{address}", args=[job.pk]))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_figures_stand_with_their_intervals_and_the_change_with_its_sentence(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    text = page_of(alpha, owner, browser_of(owner), "benchmark-detail", JUDGED)
    for said in (
        "0.4 points lower, not significant at n = 600",
        "Top-1 accuracy</th>",
        "70.00 % – 80.00 %",
        ">0.9877<",
        "classification, as the data set says",
        "Of 9 samples 8 were read.",
        "calibrated the model as well",
        "&lt;dog&gt;",
        "87.5 %",
    ):
        assert said in text, said


def test_a_result_of_old_has_figures_and_no_more(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    text = page_of(alpha, owner, browser_of(owner), "benchmark-detail", results.MEASURED)
    assert "98.80 %" in text
    assert "Confusion matrix" not in text
    assert judged_of(results.MEASURED | {"accuracy": None}) is None


def test_confusions_beyond_the_matrix_are_named_by_number() -> None:
    found = confusion_table(
        {"classes": 99, "matrix": None, "worst": [{"label": 7, "predicted": 98, "count": 2}], "unanswered": 0}, ["a"]
    )
    assert found is not None
    assert (found["rows"], found["worst"]) == ([], [{"label": "7", "predicted": "98", "count": 2}])


def test_calibration_data_is_reported_with_its_warnings(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    text = page_of(alpha, owner, browser_of(owner), "job-detail", results.OPTIMIZED | {"calibration": CALIBRATED})
    for said in (
        "3 of 200 samples are copies.",
        "-1.500 to 2.500",
        "99.91 %",
        "mean of image",
        "no numbers",
        "without any",
    ):
        assert said in text, said


def test_figures_are_written_in_their_own_units() -> None:
    assert wording.metric_value(0.5, "miou") == "50.00 %"
    assert wording.metric_value(12.3456, "mae") == "12.35"
    assert wording.metric_value(0.98, "roc_auc") == "0.9800"
    assert wording.metric_value(None, "roc_auc") == "–"


def test_a_zip_of_images_is_taken_in_and_nonsense_is_explained(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)

    def send(steps: object) -> str:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.png", b"never opened here, since resize tells the size")
            archive.writestr("labels.csv", "file,label\na.png,1\n")
            archive.writestr("preprocess.json", json.dumps(steps))
        file = SimpleUploadedFile("photos.zip", stream.getvalue())
        sent = browser.post(reverse("edge_ai:dataset-upload"), {"file": file, "kind": "both"}, follow=True)
        return " ".join(sent.content.decode().split())

    text = send({"resize": [8, 8]})
    assert "<dt>Content</dt><dd>Images</dd>" in text
    assert "the model’s only one" in text
    assert wording.shape([1, 3, 8, 8]) in text
    assert "“std”" in send({"resize": [8, 8], "std": 0})
