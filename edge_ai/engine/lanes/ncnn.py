"""NCNN variants from ONNX, with the pnnx binary."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Final

import onnx

from edge_ai.engine.convert.onnx_prepare import drop_weight_inputs, flatten_biases, fold, lift_constants
from edge_ai.engine.errors import ResourceError, UnsupportedError
from edge_ai.engine.formats.onnx import read_model, true_inputs, write_model
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.runtime.ncnn import BIN_NAME, PARAM_NAME
from edge_ai.engine.spec import Format, Precision

TIMEOUT_SECONDS: Final = 300
#: What pnnx calls the types of inputs that are not float32.
TYPES: Final[dict[int, str]] = {int(onnx.TensorProto.INT64): "i64", int(onnx.TensorProto.INT32): "i32"}


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the one way there is: pnnx decides the rest."""
    halve = context.precision is Precision.FP16
    settings = {"converter": "pnnx", "version": version("pnnx"), "weights": "fp16" if halve else "float32"}
    name = "fp16 weights" if halve else "float32"
    yield context.trial(0, name, settings, partial(_make, context, halve))


def _make(context: LaneContext, halve: bool, target: Path) -> None:
    folder = context.workdir / "pnnx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shapes = _prepare(context, folder)
    command = [str(_binary()), "model.onnx", f"inputshape={','.join(shapes)}", f"fp16={int(halve)}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise ResourceError(
            f"pnnx did not end within {TIMEOUT_SECONDS} seconds.", code="resource_limit", fix="Use a smaller model."
        ) from None
    param, weights = folder / PARAM_NAME, folder / BIN_NAME
    if done.returncode != 0 or not param.is_file() or not weights.is_file():
        how = "crashes on" if done.returncode < 0 else "cannot convert"
        raise _refusal(f"The converter to NCNN, pnnx, {how} this network.")
    left_over = _without_ncnn_form(param)
    if left_over:
        raise _refusal(f"NCNN has no form of the operators {', '.join(left_over[:8])}.", operators=left_over)
    target.mkdir()
    shutil.move(param, target / PARAM_NAME)
    shutil.move(weights, target / BIN_NAME)


def _without_ncnn_form(param: Path) -> list[str]:
    """Return the operators that pnnx left in its own notation, such as ``F.linear``, ``aten::where`` or ``pnnx.Expression``."""
    kinds = {line.split()[0] for line in param.read_text(encoding="utf-8").splitlines()[2:] if line.strip()}
    return sorted(kind for kind in kinds if "." in kind or "::" in kind)


def _refusal(message: str, *, operators: Sequence[str] = ()) -> UnsupportedError:
    details: dict[str, object] = {"nearest": {"target_format": Format.ONNX.value, "precision": Precision.FP16.value}}
    if operators:
        details["operators"] = list(operators)
    return UnsupportedError(
        message, code="unsupported_operator", fix="Choose onnx or tflite as the target format.", details=details
    )


def _prepare(context: LaneContext, folder: Path) -> list[str]:
    """Write a folded copy for pnnx, and return the shape of each input in its order, such as ``[1,3,224,224]``."""
    model = read_model(context.model)
    drop_weight_inputs(model)
    lift_constants(model)
    shapes = []
    for value in true_inputs(model.graph):
        sample = None if context.sample is None else context.sample.get(value.name)
        axes = value.type.tensor_type.shape.dim
        known = sample.shape if sample is not None and sample.ndim == len(axes) else [1] * len(axes)
        # Some exporters write -1 for a free size.
        sizes = [axis.dim_value if axis.dim_value > 0 else int(size) for axis, size in zip(axes, known, strict=True)]
        for axis, size in zip(axes, sizes, strict=True):
            axis.dim_value = size
        suffix = TYPES.get(int(value.type.tensor_type.elem_type), "")
        shapes.append(f"[{','.join(map(str, sizes))}]{suffix}")
    written = folder / "fixed.onnx"
    write_model(model, written)
    folded = folder / "folded.onnx"
    if fold(written, folded):
        model = read_model(folded)
    # pnnx takes a bias of one axis only.
    flatten_biases(model)
    write_model(model, folder / "model.onnx")
    return shapes


def _binary() -> Path:
    """Return the program inside the package, whose Python half needs torch and is never imported."""
    found = distribution("pnnx")
    return Path(str(found.locate_file("pnnx/pnnx")))
