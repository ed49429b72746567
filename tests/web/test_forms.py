"""Forms: what they take, what they refuse and how they say so, and where they lead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.engine.options import option_rules
from edge_ai.engine.routes import targets_of
from edge_ai.engine.spec import Format
from edge_ai.models import BenchmarkRun, Dataset, Job, Model, OptimizationJob, Priority
from edge_ai.sample import CALIBRATION_DATA, ONNX_MODEL
from edge_ai.web.row_fields import OFFERED
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import Rows, make_rows

Browser = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything."""
    return make_rows(alpha, owner)


def uploaded(path: Path) -> SimpleUploadedFile:
    return SimpleUploadedFile(path.name, path.read_bytes())


def incoming() -> list[Path]:
    """What lies in the upload folder."""
    return [path for path in Path(settings.UPLOAD_DIR).iterdir() if path.is_file()]


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def test_an_upload_leads_to_the_model(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).post(to("model-upload"), {"file": uploaded(ONNX_MODEL), "name": "Digits"})
    assert response.status_code == 303
    with inside(alpha, owner):
        model = Model.objects.get(name="Digits")
    assert response["Location"] == to("model-detail", model.pk)
    assert (model.format, model.status, model.visibility) == ("onnx", "uploaded", "private")
    text = browser_of(owner).get(response["Location"]).content.decode()
    assert "hx-get" in text
    assert 'http-equiv="refresh"' in text


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"just some words, " * 40, 422, "model_unreadable"), (b"", 422, "")],
    ids=["text", "empty"],
)
def test_a_file_that_is_no_model_is_explained_at_the_field(
    content: bytes, status: int, code: str, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    response = browser_of(owner).post(to("model-upload"), {"file": SimpleUploadedFile("net.onnx", content)})
    assert response.status_code == status
    text = response.content.decode()
    assert 'id="upload-form"' in text
    assert 'role="alert"' in text
    assert 'aria-invalid="true"' in text
    assert f"#{code}" in text
    with inside(alpha, owner):
        assert not Model.objects.exists()
    assert incoming() == []


def test_no_file_at_all_is_explained_too(owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).post(to("model-upload"), {})
    assert response.status_code == 422
    assert "Choose a model file first." in response.content.decode()


@override_settings(MAX_UPLOAD_BYTES=2048)
def test_a_file_that_is_too_large_is_a_413(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).post(to("model-upload"), {"file": uploaded(ONNX_MODEL)})
    assert response.status_code == 413
    assert "at most 2,048" in response.content.decode()
    with inside(alpha, owner):
        assert not Model.objects.exists()


def test_a_data_set_is_taken_or_explained(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    response = browser.post(to("dataset-upload"), {"file": uploaded(CALIBRATION_DATA), "kind": "calibration"})
    assert response.status_code == 303
    with inside(alpha, owner):
        assert Dataset.objects.get().sample_count == 200
    refused = browser.post(to("dataset-upload"), {"file": SimpleUploadedFile("x.npz", b"PK no archive")})
    assert refused.status_code == 422
    assert "#dataset_unreadable" in refused.content.decode()


def test_the_optimize_page_shows_the_plan_before_anything_is_sent(rows: Rows, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(to("optimization-create", rows.model.pk)).content.decode()
    assert "Expected size" in text
    assert "Compare with the original" in text


def test_a_changed_form_gets_the_plan_alone(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    response = browser_of(owner).post(
        to("optimization-create", rows.model.pk),
        {"device_profile": host.pk, "precision": "int8", "dataset": rows.dataset.pk, "action": "plan"},
        headers=HTMX,
    )
    text = response.content.decode()
    assert response.status_code == 200
    assert text.strip().startswith('<section id="plan"')
    assert "<html" not in text
    assert "Calibrate" in text


def test_planning_queues_nothing(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        before = Job.objects.count()
        host = factories.host_device()
    browser_of(owner).post(
        to("optimization-create", rows.model.pk), {"device_profile": host.pk, "precision": "fp16", "action": "plan"}
    )
    with inside(alpha, owner):
        assert Job.objects.count() == before


def test_a_refused_plan_says_why_and_what_works(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    asked = {"device_profile": host.pk, "precision": "int8", "dataset": "", "action": "plan"}
    text = browser_of(owner).post(to("optimization-create", rows.model.pk), asked, headers=HTMX).content.decode()
    assert "A data set is needed" in text
    assert "int8_dynamic or fp16" in text


def test_an_optimization_is_queued_and_watched(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    asked = {
        "device_profile": host.pk,
        "precision": "int8",
        "optimization_level": "size",
        "dataset": rows.dataset.pk,
        "calibration_samples": "50",
        "name": "Small one",
        "priority": "2",
    }
    response = browser_of(owner).post(to("optimization-create", rows.model.pk), asked)
    with inside(alpha, owner):
        job = OptimizationJob.objects.get(name="Small one")
    assert response.status_code == 303
    assert response["Location"] == to("job-detail", job.pk)
    assert (job.precision, job.optimization_level, job.options) == ("int8", "size", {"calibration_samples": 50})
    assert job.priority == Priority.HIGH
    text = browser_of(owner).get(response["Location"]).content.decode()
    assert 'hx-trigger="every 1s"' in text
    assert "Queued" in text


def test_what_another_person_owns_cannot_be_chosen(
    alpha: Workspace, rows: Rows, owner: User, colleague: User, browser_of: Browser
) -> None:
    with inside(alpha, colleague):
        foreign = factories.make_dataset(colleague)
        host = factories.host_device()
    asked = {"device_profile": host.pk, "precision": "int8", "dataset": foreign.pk}
    response = browser_of(owner).post(to("optimization-create", rows.model.pk), asked)
    assert response.status_code == 422
    assert "Select a valid choice" in response.content.decode()


def test_a_benchmark_is_queued(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    asked = {
        "device_profile": host.pk,
        "dataset": rows.dataset.pk,
        "baseline": rows.benchmark.pk,
        "threads": "1",
        "name": "B",
    }
    response = browser_of(owner).post(to("benchmark-create", rows.variant.pk), asked)
    with inside(alpha, owner):
        run = BenchmarkRun.objects.get(name="B")
    assert response.status_code == 303
    assert response["Location"] == to("benchmark-detail", run.pk)
    assert (run.threads, run.batch_size, run.min_seconds, run.max_seconds) == (1, 1, 3, 60)
    assert run.profile_operators is False, "an unticked box means no"
    assert run.priority == Priority.NORMAL
    low = browser_of(owner).post(to("benchmark-create", rows.variant.pk), asked | {"priority": "0", "name": "Low"})
    with inside(alpha, owner):
        assert BenchmarkRun.objects.get(name="Low").priority == Priority.LOW
    assert "low priority" in browser_of(owner).get(low["Location"]).content.decode()


@pytest.mark.parametrize("name", ["optimization-create", "benchmark-create"])
def test_a_strange_priority_is_refused_where_it_is_seen(
    name: str, alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    response = browser_of(owner).post(to(name, rows.model.pk), {"device_profile": host.pk, "priority": "9"})
    assert response.status_code == 422
    text = response.content.decode()
    assert text.partition("Advanced options")[0].rpartition("<details")[2].split(">")[0].endswith(" open")
    assert "id_priority_error" in text


def test_a_device_that_is_not_here_is_refused_at_its_field(rows: Rows, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).post(to("benchmark-create", rows.model.pk), {"device_profile": rows.device.pk})
    text = response.content.decode()
    assert response.status_code == 422
    assert "#device_not_here" in text
    assert "This machine" in text


BAD_OPTIMIZATIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"precision": "int8", "dataset": None}, "dataset", "dataset_required"),
    ({"precision": "fp32"}, "precision", "unsupported_precision"),
    ({"precision": "int16x8"}, "precision", "unsupported_precision"),
    ({"precision": "fp16", "target_format": "gguf"}, "target_format", "unsupported_conversion"),
    ({"precision": "fp16", "target_format": "coreml"}, "device_profile", "unsupported_conversion"),
]
BAD_OPTIONS: list[dict[str, Any]] = [
    {"calibration_samples": 5000},
    {"calibration_samples": "many"},
    {"calibration_method": "guess"},
    {"accuracy_budget": 2},
    {"percentile": 10},
    {"per_channel": "perhaps"},
    {"seed": -1},
    {"exclude_layers": [f"layer{number}" for number in range(201)]},
    {"block_size": 48},
    {"fp16_mode": "half"},
    {"keep_io_float32": "perhaps"},
    {"prune": "most"},
    {"sparsity": 0.3},
    {"sparsity": 1.5, "prune": "unstructured"},
    {"cluster": 7},
    {"cluster": 16, "fp16_mode": "full"},
]


def form_value(value: Any) -> str:
    """What a browser sends for a value."""
    return "\n".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(
    ("asked", "options", "field", "code"),
    [
        *((asked, {}, field, code) for asked, field, code in BAD_OPTIMIZATIONS),
        *(({"precision": "fp16"}, options, next(iter(options)), "invalid_request") for options in BAD_OPTIONS),
    ],
)
def test_both_doors_refuse_with_the_same_code(
    asked: dict[str, Any],
    options: dict[str, Any],
    field: str,
    code: str,
    alpha: Workspace,
    rows: Rows,
    owner: User,
    browser_of: Browser,
    script_of: Callable[..., Client],
) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    form = {name: value for name, value in asked.items() if value is not None} | {"device_profile": host.pk}
    form |= {name: form_value(value) for name, value in options.items()}
    page = browser_of(owner).post(to("optimization-create", rows.model.pk), form)
    assert page.status_code == 422
    errors = page.context["form"].errors.as_data()
    assert [error.code for error in errors[field]] == [code]
    body = asked | {
        "model": str(rows.model.pk),
        "device_profile": str(host.pk),
        "options": options,
        "target_format": asked.get("target_format", "onnx"),
    }
    answer = script_of(owner).post("/api/edge/v1/optimization-jobs/", json.dumps(body), content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    said = [error["field"] for error in answer.json()["errors"]]
    assert said == [f"options.{field}" if options else field]
    assert answer.json()["errors"][0]["detail"].startswith(errors[field][0].messages[0]), "in the same words"


def test_every_option_can_be_given_and_arrives_as_it_was_meant(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    given: dict[str, tuple[str, Any]] = {
        "accuracy_budget": ("0.05", 0.05),
        "calibration_samples": ("50", 50),
        "seed": ("7", 7),
        "search": ("false", False),
        "calibration_method": ("entropy", "entropy"),
        "percentile": ("99.9", 99.9),
        "per_channel": ("false", False),
        "reduce_range": ("true", True),
        "symmetric_activations": ("on", True),
        "exclude_layers": ("conv1\nconv, 2\n", ["conv1", "conv, 2"]),
        "weight_only": ("on", True),
        "block_size": ("64", 64),
        "fp16_mode": ("full", "full"),
        "keep_io_float32": ("false", False),
        "integer_io": ("on", True),
        "simplify": ("on", True),
        "deduplicate": ("on", True),
        "prune": ("unstructured", "unstructured"),
        "sparsity": ("0.25", 0.25),
        "cluster": ("0", None),
    }
    assert set(given) == set(option_rules())
    with inside(alpha, owner):
        host = factories.host_device()
    asked = {"device_profile": host.pk, "precision": "fp16", "name": "All of them"}
    response = browser_of(owner).post(
        to("optimization-create", rows.model.pk), asked | {name: sent for name, (sent, _) in given.items()}
    )
    assert response.status_code == 303, response.context["form"].errors
    with inside(alpha, owner):
        job = OptimizationJob.objects.get(name="All of them")
    assert job.options == {name: meant for name, (_, meant) in given.items() if meant is not None}


def test_what_is_left_as_it_was_is_not_sent_along(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    """A form that is sent as it came asks for what a request without options asks for."""
    browser = browser_of(owner)
    form = browser.get(to("optimization-create", rows.model.pk)).context["form"]
    sent = {name: value for name in form.fields if (value := form[name].value()) not in (None, False)}
    response = browser.post(to("optimization-create", rows.model.pk), sent | {"name": "As it came"})
    assert response.status_code == 303, response.context["form"].errors
    with inside(alpha, owner):
        job = OptimizationJob.objects.get(name="As it came")
    assert (job.options, job.target_format, job.precision) == ({}, "onnx", "auto")


def test_the_choices_follow_from_the_model(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        lite = factories.make_model(owner, format="tflite", file_name="net.tflite")
        gguf = factories.make_model(owner, format="gguf", file_name="words.gguf")
    browser = browser_of(owner)
    form = browser.get(to("optimization-create", lite.pk)).context["form"]
    assert {tile["value"] for tile in form.targets()} == {format.value for format in targets_of(Format.TFLITE)}
    assert [tile["value"] for tile in form.targets() if tile["checked"]] == ["tflite"]
    off = {tile["value"] for tile in form.precisions() if tile["off"]}
    assert off == {"fp8"}, "made for ONNX, which it can become, but not for TensorFlow Lite"
    page = browser.get(to("optimization-create", gguf.pk))
    assert page.context["form"].targets() == []
    assert "Nothing here makes another format of this one." in page.content.decode()


def test_another_format_brings_its_precisions_with_the_plan(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    asked = {"device_profile": host.pk, "target_format": "openvino", "precision": "int4", "action": "plan"}
    text = browser_of(owner).post(to("optimization-create", rows.model.pk), asked, headers=HTMX).content.decode()
    assert 'id="precisions" hx-swap-oob="true"' in text
    assert "Not for the chosen format; made for" in text
    assert "target_format=openvino&amp;precision=fp16" in text, "the nearest that works is a link"
    assert "Make it in fp16</a>" in text
    nearest = text.partition("target_format=openvino&amp;precision=fp16")[0].rpartition('href="')[2]
    again = browser_of(owner).get(nearest + "target_format=openvino&precision=fp16")
    assert "Makes <span" in again.content.decode(), "and leads to a plan"


def test_only_what_the_format_s_quantizer_has_is_offered(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    browser, address = browser_of(owner), to("optimization-create", rows.model.pk)
    assert 'value="entropy"' in browser.get(address).content.decode()
    assert 'value="entropy"' not in browser.get(address, {"target_format": "tflite"}).content.decode()
    asked = {
        "device_profile": host.pk,
        "dataset": rows.dataset.pk,
        "target_format": "tflite",
        "precision": "int8",
        "calibration_method": "entropy",
    }
    text = browser.post(address, asked | {"action": "plan"}, headers=HTMX).content.decode()
    assert '<div id="calibration" hx-swap-oob="true">' in text
    assert 'value="entropy"' not in text
    assert "Makes <span" in text, "the plan is for what is offered now"
    refused = browser.post(address, asked | {"action": "submit"})
    assert refused.status_code == 422
    assert "not with entropy" in refused.content.decode(), "what was sent is never changed in silence"


def test_the_plan_says_how_long_by_what_ran_before(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    """The rows hold one int8 job, which took four seconds."""
    with inside(alpha, owner):
        host = factories.host_device()
    asked = {"device_profile": host.pk, "dataset": rows.dataset.pk, "action": "plan"}
    browser = browser_of(owner)
    address = to("optimization-create", rows.model.pk)
    assert "By one job like it." in browser.post(address, asked | {"precision": "int8"}, headers=HTMX).content.decode()
    text = browser.post(address, asked | {"precision": "fp16"}, headers=HTMX).content.decode()
    assert "No optimization from onnx to onnx in fp16 has been completed here yet." in text
    assert "No worker serves this queue at the moment." in text


def test_a_full_disk_is_told_before_anything_runs(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser, settings: Any
) -> None:
    asked = {"precision": "fp16", "action": "plan"}
    with inside(alpha, owner):
        asked["device_profile"] = str(factories.host_device().pk)
    browser, address = browser_of(owner), to("optimization-create", rows.model.pk)
    told = "disk has little room left"
    assert told not in browser.post(address, asked, headers=HTMX).content.decode()
    settings.DISK_RESERVE_BYTES = 2**62
    assert told in browser.post(address, asked, headers=HTMX).content.decode()


def test_the_form_and_its_plan_take_few_queries(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser, address = browser_of(owner), to("optimization-create", rows.model.pk)
    browser.get(address)
    counts = []
    for more in (0, 20):
        with inside(alpha, owner):
            for _ in range(more):
                factories.make_dataset(owner)
                factories.make_optimization(owner, rows.model)
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(address).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert counts[0] < 30, counts


def test_of_very_many_data_sets_the_newest_are_offered_and_the_one_that_is_named(
    alpha: Workspace, owner: User, rows: Rows, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        for number in range(OFFERED):
            factories.make_dataset(owner, name=f"later {number}")
    browser = browser_of(owner)
    address, oldest = to("optimization-create", rows.model.pk), f'<option value="{rows.dataset.pk}"'
    usual = browser.get(address).content.decode()
    assert usual.count("later ") == OFFERED and oldest not in usual
    assert f"Of more, the {OFFERED} newest are offered." in usual
    named = browser.get(address, {"dataset": str(rows.dataset.pk)}).content.decode()
    assert f"{oldest} selected>" in named
    sent = {"device_profile": str(rows.optimization.device_profile_id), "dataset": str(rows.dataset.pk)}
    assert browser.post(address, sent).status_code == 303
