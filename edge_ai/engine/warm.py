"""What a warm process imports before it forks a child per job, and what each fork does.

Only jobs that :func:`edge_ai.engine.warm_rules.needs_tensorflow` names are sent to it. Importing computes nothing: a
process whose TensorFlow has run an operation has threads, and must not fork. What is missing here is imported by the fork.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os

from edge_ai.engine.routes import EDGES, LANES
from edge_ai.engine.spec import Format

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

LIBRARIES = ("tensorflow", "keras", "tf2onnx", "tf_keras", "onnx", "ai_edge_litert.interpreter", "onnxruntime")
#: Lanes that load other libraries than these, some of which start threads.
NOT_HERE = frozenset({Format.OPENVINO, Format.NCNN, Format.COREML})
MODULES = (
    "edge_ai.engine.__main__",
    "edge_ai.engine.pipeline",
    "edge_ai.engine.optimize",
    "edge_ai.engine.runtime.tensorflow",
    "edge_ai.engine.runtime.litert",
    "edge_ai.engine.runtime.onnx",
    "edge_ai.engine.quantize.tflite_from_saved_model",
    *(edge.module for edge in EDGES if edge.tool in {"tensorflow", "tf2onnx"}),
    *(lane.module for lane in LANES.values() if lane.target not in NOT_HERE),
)


def preload() -> None:
    """Import what is installed.

    Raises
    ------
    ImportError
        There is no TensorFlow, and so no use for this process.
    """
    # The libraries advise on steps that are done elsewhere; what matters is told through progress.
    logging.disable(logging.WARNING)
    importlib.import_module(LIBRARIES[0])
    for name in (*LIBRARIES[1:], *MODULES):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def serve() -> int:
    """Answer the one spec on standard input, as ``python -m edge_ai.engine run`` does; returns the exit status."""
    from edge_ai.engine.__main__ import main

    return main(["run"])


preload()
