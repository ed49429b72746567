"""What can be found out about a variant that is slower than its source: where the time goes, and what the file holds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_ai.engine.errors import EngineError
from edge_ai.engine.measure.environment import read_processor
from edge_ai.engine.measure.inputs import made_up_feeds, store_feeds
from edge_ai.engine.measure.loaded import StepError
from edge_ai.engine.measure.operators import NO_PROFILE, OTHER_NAMES, measure_operators
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format

PROFILED_RUNS: Final = 12


@dataclass(frozen=True, kw_only=True)
class Times:
    """The time of one inference by type of operator, in ms, and how many operators of each type ran in it."""

    ms: Mapping[str, float]
    counts: Mapping[str, int]

    @property
    def total_ms(self) -> float:
        """Of all operators."""
        return sum(self.ms.values())

    def share(self, types: frozenset[str]) -> float:
        """Return the part of the time that operators of these types take."""
        return sum(self.ms.get(name, 0.0) for name in types) / (self.total_ms or 1.0)

    def named(self, types: frozenset[str]) -> str:
        """Return how many operators of these types there are, in words."""
        found = sorted((name for name in types if self.counts.get(name)), key=lambda name: -self.ms.get(name, 0.0))
        return ", ".join(f"{self.counts[name]} {name}" for name in found)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a variant and its source.

    Parameters
    ----------
    before, after
        Times of the source and of the variant; ``None`` where the runtime tells none.
    activations
        The integer types that activations are quantized to.
    operators
        How many operators of each type the variant's file holds, where that is all that is known.
    cpu_flags
        The processor's vector instruction sets.
    """

    source: Format
    target: Format
    before: Times | None = None
    after: Times | None = None
    activations: frozenset[str] = frozenset()
    operators: Mapping[str, int] = field(default_factory=dict)
    cpu_flags: Sequence[str] = ()


def gather_facts(source: Path, source_format: Format, variant: Path, variant_format: Format) -> Facts:
    """Run both for a moment, where their runtimes tell times by operator, and look into the variant's file.

    They run in this process, which has their runtime loaded: what counts is each operator's share.

    Parameters
    ----------
    source, variant
        What the runtimes open: a file, or a folder for SavedModel.
    """
    before = _times(source, source_format) if source_format == variant_format else None
    after = _times(variant, variant_format)
    activations, operators = look_into_file(variant, variant_format)
    return Facts(
        source=source_format,
        target=variant_format,
        before=before,
        after=after,
        activations=activations,
        operators=operators,
        cpu_flags=read_processor()[1],
    )


def _times(path: Path, format: Format) -> Times | None:
    """Profile a model on made-up input; ``None`` where that is not possible."""
    if format in NO_PROFILE or format in OTHER_NAMES or format not in RUNS_HERE:
        return None
    try:
        inputs = open_model(path, format, threads=1, optimize=False).inputs
        feeds = made_up_feeds(inputs, 1)
        names = [item.name for item in inputs]
        with tempfile.TemporaryDirectory() as folder:
            stored = Path(folder) / "inputs.npz"
            store_feeds(feeds, names, stored)
            task = {
                "model_path": str(path.resolve()),
                "format": str(format),
                "threads": 1,
                "inputs_path": str(stored),
                "input_names": names,
                "feed_count": len(feeds),
                "max_runs": PROFILED_RUNS,
                "profile_prefix": str(Path(folder) / "operators"),
            }
            measured = measure_operators(task, lambda phase: None)
    except (EngineError, StepError):
        return None
    ms: dict[str, float] = {}
    counts: dict[str, int] = {}
    for row in measured["operators"] or ():
        ms[row["type"]] = ms.get(row["type"], 0.0) + row["total_ms"] / measured["runs"]
        counts[row["type"]] = counts.get(row["type"], 0) + 1
    return Times(ms=ms, counts=counts)


def look_into_file(path: Path, format: Format) -> tuple[frozenset[str], Mapping[str, int]]:
    """Return the integer types of a variant's activations, and its operators where no profile tells of them."""
    if format is Format.ONNX:
        return _activations_of_onnx(path), {}
    if format is Format.TFLITE:
        return _look_into_tflite(path)
    return frozenset(), {}


def _activations_of_onnx(path: Path) -> frozenset[str]:
    import onnx  # another half a second, for slow variants only

    graph = onnx.load(str(path), load_external_data=False).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    return frozenset(
        onnx.TensorProto.DataType.Name(types[node.input[2]]).lower()
        for node in graph.node
        if node.op_type == "QuantizeLinear" and len(node.input) > 2 and node.input[2] in types
    )


def _look_into_tflite(path: Path) -> tuple[frozenset[str], Mapping[str, int]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    kinds = {detail["index"]: detail["dtype"].__name__ for detail in interpreter.get_tensor_details()}
    operators: dict[str, int] = {}
    made: set[str] = set()
    for operator in interpreter._get_ops_details():
        if operator["op_name"] != "DELEGATE":
            operators[operator["op_name"]] = operators.get(operator["op_name"], 0) + 1
            made |= {kinds[place] for place in operator["outputs"] if place in kinds}
    return frozenset(kind for kind in made if kind in {"int8", "uint8", "int16"}), operators
