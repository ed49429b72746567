"""NCNN variants from ONNX, with the pnnx binary."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edge_ai.engine.convert.onnx_prepare import drop_weight_inputs, flatten_biases, fold, lift_constants
from edge_ai.engine.errors import ResourceError, UnsupportedError
from edge_ai.engine.formats.onnx import read_model, true_inputs, write_model
from edge_ai.engine.installed import version_of
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.runtime.ncnn import BIN_NAME, PARAM_NAME
from edge_ai.engine.spec import Format, Precision

TIMEOUT_SECONDS: Final = 300
#: Layers whose weights pnnx keeps in fp16.
LAYERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})
#: The least number that fp16 keeps with all its digits.
LEAST_NORMAL: Final = 2.0**-14
MAX_TINY_SHARE: Final = 0.1
#: What pnnx calls the types of inputs that are not float32.
TYPES: Final[dict[int, str]] = {int(onnx.TensorProto.INT64): "i64", int(onnx.TensorProto.INT32): "i32"}


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the one way there is: pnnx decides the rest."""
    halve = context.precision is Precision.FP16
    settings = {"converter": "pnnx", "version": version_of("pnnx"), "weights": "fp16" if halve else "float32"}
    name = "fp16 weights" if halve else "float32"
    yield context.trial(0, name, settings, partial(_make, context, halve))


def _make(context: LaneContext, halve: bool, target: Path) -> None:
    folder = context.workdir / "pnnx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shapes = _prepare(context, folder, halve)
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


def _prepare(context: LaneContext, folder: Path, halve: bool) -> list[str]:
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
    enlarged = _enlarge_small_weights(model.graph) if halve else 0
    if enlarged:
        context.steps.append({"step": "enlarge small weights", "layers": enlarged})
    write_model(model, folder / "model.onnx")
    return shapes


def _enlarge_small_weights(graph: onnx.GraphProto) -> int:
    """Multiply layers with tiny weights by a power of two and divide what they answer by it; returns how many there were.

    pnnx and NCNN take the numbers that fp16 keeps with fewer digits, those below 6.1e-5, for zero.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes, enlarged = [], 0
    for place, node in enumerate(graph.node):
        nodes.append(node)
        names = [name for name in node.input[1:3] if name] if node.op_type in LAYERS else []
        held = [tensors[name] for name in names if name in tensors]
        if not held or len(held) != len(names):
            continue
        factor = _factor(numpy_helper.to_array(held[0]))
        if factor == 1:
            continue
        enlarged += 1
        for number, tensor in enumerate(held, 1):
            scaled = (numpy_helper.to_array(tensor).astype(np.float64) * factor).astype(np.float32)
            node.input[number] = f"{node.input[number]}::times{place}"
            graph.initializer.append(numpy_helper.from_array(scaled, node.input[number]))
        answer = node.output[0]
        node.output[0] = f"{answer}::times{place}"
        back = numpy_helper.from_array(np.array(1 / factor, np.float32), f"{answer}::back{place}")
        graph.initializer.append(back)
        nodes.append(onnx.helper.make_node("Mul", [node.output[0], back.name], [answer]))
    if enlarged:
        # The nodes are copied first: removing them from the graph would empty them.
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return enlarged


def _factor(weights: npt.NDArray[Any]) -> float:
    """Return the power of two that brings weights near 1 where too many are tiny, else 1."""
    sizes = np.abs(weights[weights != 0]) if weights.dtype == np.float32 else np.empty(0)
    if not sizes.size or not np.isfinite(sizes).all() or float(np.mean(sizes < LEAST_NORMAL)) < MAX_TINY_SHARE:
        return 1.0
    return float(2.0 ** -np.ceil(np.log2(float(sizes.max()))))


def _binary() -> Path:
    """Return the program inside the package, whose Python half needs torch and is never imported."""
    found = distribution("pnnx")
    return Path(str(found.locate_file("pnnx/pnnx")))
