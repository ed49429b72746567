"""What web processes never load."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT

HEAVY = ("onnx", "onnxruntime", "tensorflow", "keras", "tf2onnx", "numpy", "sklearn")


def test_web_processes_never_load_what_works_on_models() -> None:
    code = (
        "import sys, config.wsgi, config.urls\n"
        f"print(','.join(sorted(name for name in {HEAVY!r} if name in sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == ""
