"""Both networks layer by layer: times, errors, precisions, and where these change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.doctor.align import align, plain
from edge_ai.engine.doctor.onnx_graph import Graph
from edge_ai.engine.doctor.profiled import Profiled, profile
from edge_ai.engine.doctor.taps import LayerError, Tap, measure_errors
from edge_ai.engine.errors import EngineError
from edge_ai.engine.formats.onnx import read_model, write_model
from edge_ai.engine.measure.layers import names_of_nodes
from edge_ai.engine.quantize.sensitivity import LayerLoss, screen_layers
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format

MAX_ROWS: Final = 1000
Side = tuple[Path, Format, Sequence[Feed]]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A layer of the baseline, and what became of it.

    Parameters
    ----------
    baseline_ms, variant_ms
        Of one inference; ``None`` where the runtime, or no name, tells.
    sqnr_db, cosine
        How far its values lie apart, errors of earlier layers included.
    alone_sqnr_db
        Of the answers, when this layer alone reads and answers the variant's integers.
    precision
        What the variant reads there; ``None`` where it has no such layer.
    runs_as
        What the variant's runtime runs for it.
    transition
        ``quantize`` or ``dequantize`` where what it answers becomes integers, or float again.
    """

    name: str
    type: str
    baseline_ms: float | None = None
    variant_ms: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    alone_sqnr_db: float | None = None
    precision: str | None = None
    runs_as: str | None = None
    transition: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row of the API."""
        rounded = {
            "baseline_ms": 6,
            "variant_ms": 6,
            "sqnr_db": 2,
            "cosine": 6,
            "alone_sqnr_db": 2,
        }
        row = asdict(self)
        return row | {name: round(row[name], digits) for name, digits in rounded.items() if row[name] is not None}


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was seen; ``reason`` says why there are no layers."""

    rows: Sequence[LayerRow] = ()
    reason: str | None = None
    before: Profiled | None = None
    after: Profiled | None = None
    baseline: Graph | None = None
    variant: Graph | None = None
    taps: Sequence[Tap] = ()
    errors: Mapping[str, LayerError] = field(default_factory=dict)
    losses: Sequence[LayerLoss] = ()
    transitions: int | None = None
    islands: int | None = None


def look_into(
    baseline: Side, variant: Side, *, threads: int, cpus: Sequence[int] | None, workdir: Path, wrong: bool
) -> Looked:
    """Profile both, and hold their values against each other where both are ONNX.

    Parameters
    ----------
    baseline, variant
        What the runtime opens, its format, and what it is fed.
    wrong
        Look as well for the layers that cost the answers most.
    """
    if baseline[1] is Format.ONNX and variant[1] is Format.ONNX:
        return _of_onnx(baseline, variant, threads=threads, cpus=cpus, workdir=workdir, wrong=wrong)
    before, after = (
        profile(path, format, feeds, threads=threads, cpus=cpus, workdir=workdir)
        for path, format, feeds in (baseline, variant)
    )
    if baseline[1] is Format.TFLITE and variant[1] is Format.TFLITE:
        # Only these need LiteRT.
        from edge_ai.engine.doctor.tflite_layers import tflite_rows

        rows = tflite_rows((baseline[0], baseline[2]), (variant[0], variant[2]))
        return Looked(rows=rows[:MAX_ROWS], before=before, after=after)
    if after is None:
        reason = f"Nothing here looks into {variant[1]} models layer by layer; their outputs were compared."
        return Looked(reason=reason, before=before)
    return Looked(
        rows=_by_name(before if baseline[1] == variant[1] else None, after)[:MAX_ROWS], before=before, after=after
    )


def _of_onnx(
    baseline: Side, variant: Side, *, threads: int, cpus: Sequence[int] | None, workdir: Path, wrong: bool
) -> Looked:
    ours, theirs = Graph(read_model(baseline[0])), Graph(read_model(variant[0]))
    profiles: list[Profiled | None] = []
    for graph, name, side in ((ours, "baseline.onnx", baseline), (theirs, "variant.onnx", variant)):
        # As they are, but for names where nodes had none: by them the time is told apart.
        write_model(graph.model, workdir / name)
        names = names_of_nodes(graph.nodes)
        profiles.append(
            profile(workdir / name, Format.ONNX, side[2], threads=threads, cpus=cpus, workdir=workdir, names=names)
        )
    fed = list(zip(baseline[2], variant[2], strict=True))
    return compare_graphs(ours, theirs, fed, workdir, profiles=(profiles[0], profiles[1]), wrong=wrong)


def compare_graphs(
    ours: Graph,
    theirs: Graph,
    feeds: Sequence[tuple[Feed, Feed]],
    workdir: Path,
    *,
    profiles: tuple[Profiled | None, Profiled | None] = (None, None),
    wrong: bool = True,
) -> Looked:
    """Hold the values of two ONNX networks against each other, and put them together with their times.

    Parameters
    ----------
    feeds
        What the baseline and what the variant is fed.
    """
    before, after = profiles
    owner, taps = align(ours, theirs)
    errors: dict[str, LayerError] = {}
    losses: list[LayerLoss] = []
    reason = None
    try:
        errors = measure_errors(ours, theirs, taps, feeds, workdir)
        if wrong:
            write_model(ours.model, workdir / "screened.onnx")
            losses = screen_layers(workdir / "screened.onnx", [feed for feed, _ in feeds], _ranges(ours, theirs))
    except EngineError as error:
        # A network whose inner values cannot be answered still has times and outputs.
        reason = f"The layers' values could not be compared: {error.message}"
    places = list(theirs.transitions())
    changes = {plain(tensor): change for tensor, change in places}
    return Looked(
        rows=_rows(ours, theirs, before, after, owner, errors, losses, changes)[:MAX_ROWS],
        reason=reason,
        before=before,
        after=after,
        baseline=ours,
        variant=theirs,
        taps=taps,
        errors=errors,
        losses=losses,
        transitions=len(places),
        islands=len(theirs.islands()),
    )


def _ranges(baseline: Graph, variant: Graph) -> dict[str, tuple[float, float]]:
    """Return what the variant's integers hold of each tensor of the baseline."""
    tensors = [value.name for value in baseline.model.graph.input if value.name not in baseline.stored]
    tensors += [name for node in baseline.nodes for name in node.output]
    found: dict[str, tuple[float, float]] = {}
    for name in tensors:
        flowing = variant.flowing(name)
        scale = None if flowing is None else variant.scale_of(flowing)
        if scale is not None and scale.scale.size == 1:
            found[name] = scale.range
    return found


def _rows(
    baseline: Graph,
    variant: Graph,
    before: Profiled | None,
    after: Profiled | None,
    owner: Mapping[str, str],
    errors: Mapping[str, LayerError],
    losses: Sequence[LayerLoss],
    changes: Mapping[str, str],
) -> list[LayerRow]:
    parts = {tensor: layer.name for layer in baseline.layers for tensor in layer.tensors}
    folded = {node.name: parts[node.output[0]] for node in baseline.nodes if node.output and node.output[0] in parts}
    ours_ms = _gathered(before, folded)
    theirs_ms = _gathered(after, owner)
    runs_as: dict[str, dict[str, None]] = {}
    for name, rows in (after.runs_as if after is not None else {}).items():
        for row in rows:
            runs_as.setdefault(owner.get(name, name), {})[row["type"]] = None
    alone = {loss.name: loss.sqnr_db for loss in losses}
    precisions: dict[str, str] = {}
    for layer in variant.layers:
        at = owner.get(layer.name)
        # Of what a layer was unfolded into, the part with the weights tells.
        if at is not None and (at not in precisions or layer.in_integers):
            precisions[at] = layer.precision
    found = []
    for layer in baseline.layers:
        error = errors.get(layer.name)
        found.append(
            LayerRow(
                name=layer.name,
                type=layer.type,
                baseline_ms=ours_ms.get(layer.name),
                variant_ms=theirs_ms.get(layer.name),
                sqnr_db=None if error is None else error.sqnr_db,
                cosine=None if error is None else error.cosine,
                alone_sqnr_db=alone.get(layer.name),
                precision=precisions.get(layer.name),
                runs_as=", ".join(runs_as.get(layer.name, ())) or None,
                transition=next((changes[tensor] for tensor in layer.tensors if tensor in changes), None),
            )
        )
    return found


def _gathered(profiled: Profiled | None, owner: Mapping[str, str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, ms in (profiled.by_layer if profiled is not None else {}).items():
        layer = owner.get(name)
        if layer is not None:
            found[layer] = found.get(layer, 0.0) + ms
    return found


def _by_name(before: Profiled | None, after: Profiled) -> list[LayerRow]:
    """Return the operators of a runtime as layers: those of both where they have the same names."""
    ours = before.by_layer if before is not None else {}
    return [
        LayerRow(
            name=row["name"],
            type=row["type"],
            baseline_ms=ours.get(row["name"]),
            variant_ms=row["total_ms"] / after.runs,
            precision=row["dtype"],
            runs_as=row["provider"],
        )
        for row in after.rows
    ]
