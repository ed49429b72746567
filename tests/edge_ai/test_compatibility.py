"""What a model can become, and where that runs: each answer is that of the plan, and none costs a query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User, Workspace
from edge_ai.engine.errors import EngineError
from edge_ai.engine.plan import DeviceFacts
from edge_ai.engine.routes import LANES
from edge_ai.engine.spec import Format
from edge_ai.models import DeviceProfile
from edge_ai.services.compatibility import Compatibility, Target, cells_for, compatibility_of, targets_for
from edge_ai.services.optimizations import OptimizationRequest, plan_optimization
from tests.conftest import inside
from tests.edge_ai import factories

BOARD = DeviceFacts(
    name="Board",
    is_host=False,
    architecture="arm64",
    extensions=(),
    formats=("onnx", "tflite"),
    precisions=("fp32", "fp16", "int8"),
    memory_mb=None,
)


def targets(source: Format = Format.ONNX, **changes: Any) -> dict[str, Target]:
    found = targets_for(factories.ANALYSIS | changes, size_bytes=5000, source=source)
    return {target.format: target for target in found}


def statuses(found: Target) -> dict[str, str]:
    return {answer.precision: answer.status for answer in found.precisions}


def test_every_target_and_precision_has_an_answer() -> None:
    found = targets()
    assert set(found) == {format.value for format in LANES}
    assert statuses(found["onnx"])["fp16"] == "works"
    assert statuses(found["onnx"])["int8"] == "needs_dataset"
    assert statuses(found["onnx"])["fp32"] == "refused", "there is nothing to reduce"
    assert statuses(found["tflite"])["fp32"] == "works", "a conversion is something"
    assert found["tflite"].route == ("onnx", "tflite")
    assert found["coreml"].runtime is None


def test_a_refusal_says_why() -> None:
    found = targets(Format.GGUF, operators={})
    assert {status for target in found.values() for status in statuses(target).values()} == {"refused"}
    assert all(target.route == () and target.reason for target in found.values())
    text = targets(Format.SAVED_MODEL, inputs=[{"name": "words", "dtype": "string", "shape": [None]}])
    answer = text["tflite"].precisions[0]
    assert (answer.status, answer.code) == ("refused", "unsupported_operator")
    assert answer.reason is not None
    assert "text" in answer.reason


def test_a_device_takes_away_what_it_does_not_run() -> None:
    cells = {cell.format: cell for cell in cells_for(BOARD, list(targets().values()), factories.ANALYSIS)}
    assert {answer.precision for answer in cells["onnx"].possible} == {"fp16", "int8"}
    assert cells["onnx"].one_refusal is None
    refusal = cells["openvino"].one_refusal
    assert refusal is not None
    assert refusal.reason == "Board does not run openvino models; it runs onnx, tflite."
    assert refusal.fix == "Choose onnx as the target format, or another device."
    anything = cells_for(replace(BOARD, formats=(), precisions=()), list(targets().values()), factories.ANALYSIS)
    assert all(cell.possible for cell in anything)


def test_a_device_with_less_memory_than_the_model_takes_refuses_it() -> None:
    found = targets(weight_bytes=8 << 20, weight_bytes_by_dtype={"float32": 8 << 20}, peak_activation_bytes=1 << 20)
    large = factories.ANALYSIS | {
        "weight_bytes": 8 << 20,
        "weight_bytes_by_dtype": {"float32": 8 << 20},
        "peak_activation_bytes": 1 << 20,
    }
    [cell] = cells_for(replace(BOARD, memory_mb=3), [found["tflite"]], large)
    assert {answer.precision for answer in cell.possible} == {"int8"}
    refused = next(answer for answer in cell.refused if answer.precision == "fp16")
    assert (refused.code, refused.status) == ("resource_limit", "refused")
    assert refused.reason is not None
    assert "at least 4.5 MiB" in refused.reason


def test_the_page_s_answers_are_those_of_a_plan(alpha: Workspace, owner: User) -> None:
    """No cell promises what a request is refused, and none refuses what a request is granted."""
    with inside(alpha, owner):
        model = factories.make_model(owner)
        found = compatibility_of(owner, model=model)
        rows = [row for row in found.devices if row.device.slug in {"this-machine", "raspberry-pi-5"}] or list(
            found.devices[:2]
        )
        assert rows
        for row in rows:
            for cell in row.cells:
                for answer in cell.precisions:
                    request = OptimizationRequest(
                        model=model,
                        device_profile=row.device,
                        target_format=cell.format,
                        precision=answer.precision,
                    )
                    assert answer.status == _asked(owner, request), (row.device.name, cell.format, answer)


def _asked(owner: User, request: OptimizationRequest) -> str:
    try:
        plan_optimization(owner, request=request)
    except EngineError as error:
        return "needs_dataset" if error.code == "dataset_required" else "refused"
    return "works"


def test_it_costs_one_query_however_many_devices(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        with CaptureQueriesContext(connection) as queries:
            few = compatibility_of(owner, model=model)
        for number in range(5):
            factories.make_device(owner, slug=f"board-{number}", name=f"Board {number}")
        with CaptureQueriesContext(connection) as more:
            many = compatibility_of(owner, model=model)
    assert len(queries) == len(more) == 1
    assert len(many.devices) == len(few.devices) + 5


def test_a_category_and_a_format_narrow_and_an_analysis_is_awaited(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        phones = compatibility_of(owner, model=model, category="phone")
        assert {row.device.category for row in phones.devices} == {"phone"}
        narrow = compatibility_of(owner, model=model, target_format="tflite")
        assert [target.format for target in narrow.targets] == ["tflite"]
        assert {tuple(cell.format for cell in row.cells) for row in narrow.devices} == {("tflite",)}
        waiting = compatibility_of(owner, model=factories.make_model(owner, status="analyzing", analysis=None))
        assert waiting == Compatibility(decided=False, targets=(), devices=())
        failed = factories.make_model(owner, status="failed", error={"code": "model_unreadable", "detail": "Cut."})
        with pytest.raises(EngineError) as caught:
            compatibility_of(owner, model=failed)
        assert caught.value.code == "model_unreadable"
        assert DeviceProfile.objects.count() >= len(phones.devices)
