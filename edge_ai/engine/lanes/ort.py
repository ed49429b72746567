"""ORT variants: each way makes an ONNX file first, which onnxruntime then writes in its own format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnxruntime

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.installed import version_of
from edge_ai.engine.lanes import onnx as onnx_lane
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.measure.session import explained
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.spec import Format, Precision


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield what the ONNX lane would try, written as ORT files."""
    context.cautions.append(
        Caution(
            code="ort_slower_here",
            detail="ORT files keep none of the memory layouts that onnxruntime chooses for this processor: they were seen to "
            "run 1.1 to 4 times slower than the ONNX file on x86.",
            fix="Use ORT where the runtime is a small build without an ONNX parser; else keep the ONNX file.",
        )
    )
    folder = context.workdir / "onnx"
    folder.mkdir(exist_ok=True)
    for inner in onnx_lane.ways(replace(context, workdir=folder)):
        trial = Trial(
            name=inner.name,
            path=context.workdir / f"{inner.path.stem}.ort",
            settings={
                **inner.settings,
                "written_by": f"onnxruntime {version_of('onnxruntime')}",
                # onnxruntime writes its table of kernels in the order of a hash table with a seed of its own.
                "reproducible_bytes": False,
            },
            make=partial(_make, inner.make, inner.path),
        )
        yield trial
        # The lane looks at what came of its ways before it tries further ones.
        inner.parity, inner.failure, inner.fault = trial.parity, trial.failure, trial.fault


def _make(make: Callable[[Path], object], between: Path, target: Path) -> None:
    make(between)
    save_as_ort(between, target)
    between.unlink()


def save_as_ort(source: Path, target: Path) -> None:
    """Write an ONNX file in onnxruntime's format, with the optimizations that suit every processor.

    Raises
    ------
    EngineError
        ``unsupported_operator`` where onnxruntime cannot load the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        with explained("load", {"model_path": ""}):
            onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except EngineError as error:
        if error.code == "resource_limit":
            raise
        # The file was made here, so it is not the upload that is damaged.
        raise UnsupportedError(
            error.message,
            code="unsupported_operator",
            fix="Choose onnx as the target format, or another precision.",
            details={"nearest": {"target_format": Format.ONNX.value, "precision": Precision.FP16.value}},
        ) from error
