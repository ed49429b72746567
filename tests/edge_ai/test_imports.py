"""What web and worker processes never load: it works on strangers' bytes, and belongs into the engine child."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = ("onnx", "onnxruntime", "tensorflow", "keras", "tf2onnx", "ai_edge_litert", "numpy", "sklearn")


@pytest.mark.parametrize(
    "modules",
    ["config.wsgi, config.urls", "edge_ai.worker.tasks, edge_ai.worker.supervisor", "edge_ai.services.models"],
    ids=["web", "worker", "services"],
)
def test_what_works_on_models_stays_in_the_engine_child(modules: str) -> None:
    code = (
        f"import django; django.setup()\nimport sys, {modules}\n"
        f"print(','.join(sorted(name for name in {HEAVY!r} if name in sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
