"""Which jobs load TensorFlow, and so begin sooner in a process that has it. Standard library only."""

from __future__ import annotations

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.routes import find_route
from edge_ai.engine.spec import Format, OptimizeSpec, Spec

#: Run by TensorFlow, which answers the samples that every variant is compared on.
RUN_BY_TENSORFLOW = frozenset({Format.KERAS, Format.SAVED_MODEL})
TOOLS = frozenset({"tensorflow", "tf_keras", "tf2onnx", "coremltools"})


def needs_tensorflow(spec: Spec) -> bool:
    """Tell whether doing ``spec`` loads TensorFlow for certain, and may be done by a fork.

    An analysis reads files without it, and a benchmark must measure a fresh process.
    """
    if not isinstance(spec, OptimizeSpec):
        return False
    if spec.source_format in RUN_BY_TENSORFLOW:
        return True
    try:
        route = find_route(spec.source_format, spec.target_format)
    except UnsupportedError:
        return False
    return bool(TOOLS.intersection(route.tools))
