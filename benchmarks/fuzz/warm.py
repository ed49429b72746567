"""What the fuzzer's warm process imports, and what each of its forks does: one mutant, by the engine's own protocol.

Everything that reads files in the engine is here but TensorFlow, which is loaded by the forks that run its models.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

# A process with threads must not fork, and importing NumPy starts some.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

MODULES = (
    "edge_ai.engine.__main__",
    "edge_ai.engine.pipeline",
    "edge_ai.engine.evaluate.dataset",
    "edge_ai.engine.runtime.onnx",
    "edge_ai.engine.runtime.litert",
    "edge_ai.engine.runtime.openvino",
    "edge_ai.engine.runtime.ncnn",
    "edge_ai.engine.measure.session",
    "edge_ai.engine.formats.tflite_analysis",
    "ai_edge_litert.schema_py_generated",
)


def preload() -> None:
    """Import it all; nothing is computed."""
    from edge_ai.engine.formats.base import HANDLERS

    logging.disable(logging.WARNING)
    for name in (*MODULES, *HANDLERS.values()):
        importlib.import_module(name)
    from edge_ai.engine.formats.coreml import load_messages

    load_messages()


def serve() -> int:
    """Do what standard input says; returns the exit status.

    A request with ``fuzz`` is the fuzzer's own: to read a data set, or to load and run a model once. Any other is a spec, as
    a worker sends it.
    """
    from edge_ai.engine.__main__ import answer, main

    told = sys.stdin.read()
    request: dict[str, Any] = json.loads(told)
    if "fuzz" in request:
        return answer(lambda _: {"type": "result", "result": FUZZ[request["fuzz"]](request), "files": []})
    # The engine reads its standard input itself.
    sys.stdin = io.StringIO(told)
    return main(["run"])


def read_dataset(request: dict[str, Any]) -> dict[str, Any]:
    """Read a data set and divide it, as a job does."""
    from edge_ai.engine.evaluate.dataset import divide, load_dataset

    found = load_dataset(Path(request["path"]))
    divide(found, calibration_samples=4, judgement_samples=4, seed=0)
    return {"samples": found.samples}


def run_once(request: dict[str, Any]) -> dict[str, Any]:
    """Load a model and run it on made-up input."""
    from edge_ai.engine.evaluate.representative import make_up_feeds
    from edge_ai.engine.formats.base import handler_of
    from edge_ai.engine.measure.session import explained
    from edge_ai.engine.spec import Format

    format, here = Format(request["format"]), Path.cwd()
    handler = handler_of(format)
    path = handler.unpack(here / request["path"], here)
    session = handler.load(path, threads=1)
    with explained("run", {"model_path": str(path), "format": format.value}):
        feeds = make_up_feeds(session.inputs, count=1, seed=0, ranges={}).feeds
        answers = session.run(feeds[0])
    return {"outputs": len(answers)}


FUZZ = {"dataset": read_dataset, "run": run_once}

preload()
