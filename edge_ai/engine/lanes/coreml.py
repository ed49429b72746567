"""Core ML programs, from SavedModels. They cannot be run on this machine, so what they compute is not compared."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.convert.tensorflow_freeze import (
    LOOPS,
    Frozen,
    argument_names,
    fixed_sizes,
    freeze,
    refuse_tables,
    replace_erfc,
)
from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.evaluate.parity import NOT_CHECKED
from edge_ai.engine.formats.saved_model_graph import find_folder, read_graph
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.quantize.trial import Trial, first_line
from edge_ai.engine.runtime.tensorflow import explain
from edge_ai.engine.spec import Format, Precision

SUFFIX: Final = ".mlpackage"
#: The oldest system that runs programs with int8 weights and fp16 arithmetic.
TARGET: Final = "iOS16"
#: Weights with fewer numbers stay as they are.
MIN_ELEMENTS: Final = 512
PRECISIONS: Final = (Precision.FP16, Precision.FP32, Precision.INT8)


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the way to make a ``.mlpackage`` folder: fp16 or fp32 arithmetic, or int8 weights with fp16 arithmetic.

    Raises
    ------
    UnsupportedError
        ``unsupported_precision``; ``unsupported_operator``.
    """
    if context.precision not in PRECISIONS:
        raise UnsupportedError(
            f"Core ML programs are not made in {context.precision} here.",
            code="unsupported_precision",
            fix="Choose fp16, fp32 or int8.",
            field="precision",
            details={"nearest": {"target_format": Format.COREML.value, "precision": Precision.FP16.value}},
        )
    quantized = context.precision is Precision.INT8
    arithmetic = "float32" if context.precision is Precision.FP32 else "float16"
    settings = {
        "converter": "coremltools",
        "arithmetic": arithmetic,
        "weights": "int8 per channel" if quantized else arithmetic,
        "minimum_deployment_target": TARGET,
        "parity": NOT_CHECKED,
    }
    name = f"int8 weights, {arithmetic} arithmetic" if quantized else f"{arithmetic} arithmetic"
    yield context.trial(0, name, settings, partial(_make, context), suffix=SUFFIX)


def _make(context: LaneContext, path: Path) -> None:
    folder = find_folder(context.model)
    graph = read_graph(folder)
    refuse_tables(graph, "Core ML")
    with context.timed("freeze", folder):
        frozen = freeze(folder, fixed_sizes(graph.inputs, context.sample))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            frozen = replace(frozen, graph_def=replace_erfc(frozen.graph_def))
            program = _program(frozen, context.precision)
            program.save(str(path))
    except EngineError:
        raise
    except Exception as error:
        explained = explain("convert", error)
        if explained.code == "resource_limit":
            raise explained from error
        loops = sorted(LOOPS & frozen.operators)
        what = "the network's recurrent layer or loop" if loops else f"this network ({first_line(error)})"
        raise UnsupportedError(
            f"coremltools cannot convert {what}.",
            code="unsupported_operator",
            fix="Choose tflite or onnx as the target format.",
            details={
                "operators": loops,
                "nearest": {"target_format": Format.TFLITE.value, "precision": Precision.FP16.value},
            },
        ) from error


def _program(frozen: Frozen, precision: Precision) -> Any:
    import coremltools as ct  # slow to import

    logging.getLogger("coremltools").setLevel(logging.ERROR)
    arithmetic = ct.precision.FLOAT32 if precision is Precision.FP32 else ct.precision.FLOAT16
    program = ct.convert(
        [frozen.function],
        source="tensorflow",
        convert_to="mlprogram",
        compute_precision=arithmetic,
        minimum_deployment_target=getattr(ct.target, TARGET),
        skip_model_load=True,
    )
    if precision is Precision.INT8:
        way = ct.optimize.coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", weight_threshold=MIN_ELEMENTS
        )
        program = ct.optimize.coreml.linear_quantize_weights(
            program, config=ct.optimize.coreml.OptimizationConfig(global_config=way)
        )
    return _named(ct, program, frozen)


def _named(ct: Any, program: Any, frozen: Frozen) -> Any:
    """Give the outputs the names that the SavedModel has for them, as far as Core ML allows: letters, digits and ``_``."""
    spec = program.get_spec()
    made = [item.name for item in spec.description.output]
    for old, name in zip(made, argument_names([item.name for item in frozen.outputs]), strict=True):
        if old != name:
            ct.utils.rename_feature(spec, old, name, rename_inputs=False)
    return ct.models.MLModel(spec, weights_dir=program.weights_dir, skip_model_load=True)
