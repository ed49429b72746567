"""Which converters are installed: told without loading any, and what a plan makes of it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from accounts.models import User, Workspace
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import TOOLS
from edge_ai.services import converters as service
from edge_ai.services.optimizations import OptimizationRequest, plan_optimization
from tests.conftest import inside
from tests.edge_ai import factories


def test_every_tool_is_listed_with_its_version() -> None:
    found = {converter.name: converter for converter in service.converters()}
    assert set(found) == set(TOOLS)
    assert found["onnxruntime"].version == version("onnxruntime")
    assert found["onnxruntime"].ready
    assert "onnx" in found["onnxruntime"].routes
    assert "onnx → tflite" in found["onnx2tf"].routes


def test_looking_loads_none_of_them() -> None:
    code = (
        "import sys; from edge_ai.services.converters import converters; converters();"
        "assert not {'onnx', 'onnxruntime', 'tensorflow', 'openvino', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_way_without_its_tool_is_refused_by_the_tool_s_name(
    alpha: Workspace, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.installed_version
    monkeypatch.setattr(service, "installed_version", lambda name: None if name == "openvino" else real(name))
    assert service.missing_tools() >= {"openvino"}
    with inside(alpha, owner):
        request = OptimizationRequest(
            model=factories.make_model(owner),
            device_profile=factories.host_device(),
            target_format="openvino",
            precision="fp16",
        )
        with pytest.raises(EngineError) as caught:
            plan_optimization(owner, request=request)
    assert (caught.value.code, caught.value.field) == ("unsupported_conversion", "target_format")
    assert "openvino" in caught.value.message
    assert caught.value.details == {"missing": ["openvino"]}
