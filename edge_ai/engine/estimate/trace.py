"""Which operators ONNX Runtime makes of a model, with the shapes that they meet: one run here, whose times are not used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.estimate.work import OperatorWork, TensorShape, work_of

_KERNEL_SUFFIX: Final = "_kernel_time"
#: Their time is that of the operators within, which are told one by one.
CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})


@dataclass(frozen=True, kw_only=True)
class Traced:
    """An operator of the runtime's own graph: its work, its tensors, and how long each call took, in microseconds."""

    work: OperatorWork
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    durations_us: tuple[int, ...]


def trace(
    model: Path,
    *,
    ort_format: bool,
    feeds: Sequence[Mapping[str, Any]],
    prefix: Path,
    threads: int = 1,
    prepack: bool = False,
) -> list[Traced]:
    """Run a model on each feed once and return its operators, in the order in which they first ran.

    Parameters
    ----------
    model
        An ONNX file, or one of the ORT format.
    feeds
        Inputs by name; the first run is left out of the durations when there are more.
    prefix
        What the name of the runtime's profile begins with; the file is deleted after it has been read.
    prepack
        Let the runtime pack weights when it loads them, as it does in earnest. Packed weights are missing in what it tells
        of an operator's inputs, so that shapes are only complete without.
    """
    import onnxruntime

    from edge_ai.engine.measure.session import explained

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if ort_format:
        options.add_session_config_entry("session.load_model_format", "ORT")
    with explained("load", {"model_path": str(model)}):
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    with explained("run", {"model_path": str(model)}):
        for feed in feeds:
            session.run(None, dict(feed))
    path = Path(session.end_profiling())
    try:
        return read_trace(json.loads(path.read_bytes()), skip_runs=1 if len(feeds) > 1 else 0)
    finally:
        path.unlink(missing_ok=True)


def read_trace(events: Iterable[Mapping[str, Any]], *, skip_runs: int = 0) -> list[Traced]:
    """Return the operators of a parsed profile; the first ``skip_runs`` runs are left out."""
    events = list(events)
    runs = sorted(int(event["ts"]) for event in events if event.get("name") == "model_run")
    begin_us = runs[skip_runs] if skip_runs < len(runs) else 0
    counted = max(1, len(runs) - skip_runs)
    # Operators within loops run with other shapes each time, so that shapes are part of what tells calls apart.
    found: dict[tuple[str, ...], list[int]] = {}
    shapes: dict[tuple[str, ...], tuple[list[TensorShape], list[TensorShape]]] = {}
    for event in events:
        name, args = str(event.get("name", "")), event.get("args") or {}
        if event.get("cat") != "Node" or not name.endswith(_KERNEL_SUFFIX) or int(event["ts"]) < begin_us:
            continue
        kind = str(args.get("op_name", ""))
        if kind in CONTROL_FLOW:
            continue
        inputs, outputs = _tensors(args.get("input_type_shape")), _tensors(args.get("output_type_shape"))
        key = (name.removesuffix(_KERNEL_SUFFIX), kind, str(args.get("node_index", "")), str(outputs))
        found.setdefault(key, []).append(int(event["dur"]))
        shapes.setdefault(key, (inputs, outputs))
    return [
        Traced(
            work=work_of(key[0] or key[1], key[1], *shapes[key], calls=len(durations) / counted),
            inputs=tuple(shapes[key][0]),
            outputs=tuple(shapes[key][1]),
            durations_us=tuple(durations),
        )
        for key, durations in found.items()
    ]


def _tensors(told: object) -> list[TensorShape]:
    """Return the tensors of ``[{"float": [1, 3]}, …]``; what was left out is ``{}`` there, and keeps its place."""
    tensors = []
    for item in told if isinstance(told, list) else []:
        dtype, shape = next(iter(item.items()), ("", [0]))
        tensors.append(TensorShape(dtype=str(dtype), shape=tuple(int(axis) for axis in shape)))
    return tensors
