"""TensorFlow Lite variants: with TensorFlow's converter from a SavedModel, with ai-edge-quantizer from a float file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.runtime.litert import open_session
from edge_ai.engine.spec import Format, Precision


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield what is worth trying; see :mod:`edge_ai.engine.lanes`."""
    # Each loads what the other does without.
    if context.format is Format.TFLITE:
        from edge_ai.engine.quantize.tflite import ways as from_float

        return from_float(context)
    from edge_ai.engine.quantize.tflite_from_saved_model import ways as from_saved_model

    if context.precision is not Precision.INT4:
        return from_saved_model(context)
    return _by_way_of_float(context)


def _by_way_of_float(context: LaneContext) -> Iterator[Trial]:
    """TensorFlow's converter has no int4: it makes a float file, which the other quantizer takes on."""
    from edge_ai.engine.quantize.tflite import ways as from_float
    from edge_ai.engine.quantize.tflite_from_saved_model import ways as from_saved_model

    folder = context.workdir / "float"
    folder.mkdir(exist_ok=True)
    plain = next(from_saved_model(replace(context, precision=Precision.FP32, workdir=folder)))
    with context.timed("convert saved_model to tflite", plain.path):
        plain.make(plain.path)
    session = open_session(plain.path, Format.TFLITE, threads=1)
    yield from from_float(
        replace(
            context,
            model=plain.path,
            format=Format.TFLITE,
            inputs=tuple(session.inputs),
            outputs=tuple(session.outputs),
            calibration=(),
        )
    )
