"""Why a variant is slower: what its profile and its graph tell beside those of its baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_ai.engine.doctor.findings import Finding, Remedy
from edge_ai.engine.doctor.onnx_graph import CORE, DEQUANTIZE, IN_INTEGERS, QUANTIZE, Graph
from edge_ai.engine.doctor.profiled import Profiled
from edge_ai.engine.measure.slow_facts import Facts, Times
from edge_ai.engine.measure.why_slow import FAMILIES, WORTH_TELLING, weighed_reasons
from edge_ai.engine.spec import Format, OptimizationLevel, Precision

CONVERSIONS: Final = QUANTIZE | DEQUANTIZE
#: What rearranges memory and computes nothing.
LAYOUT: Final = frozenset({"Transpose", "ReorderInput", "ReorderOutput", "Reorder"})
#: What runtimes fold into the operator before it where they can.
FUSIBLE: Final = frozenset(
    {
        *("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Add", "Mul", "Sub", "Div"),
        *("BatchNormalization", "Erf", "Sqrt", "Pow", "ReduceMean", "Softmax"),
    }
)
_CORE_IN_FLOAT: Final = frozenset({"Conv", "FusedConv", "NhwcFusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm"})
_NAMED: Final = 8


@dataclass(frozen=True, kw_only=True)
class SlowCase:
    """A variant that takes longer, and what is known of it.

    Parameters
    ----------
    graph
        The variant's, where it is ONNX.
    owner
        The baseline's layer for the variant's nodes; see :func:`edge_ai.engine.doctor.align.align`.
    facts
        What the optimizer's own list of reasons goes by.
    """

    facts: Facts
    before: Profiled | None
    after: Profiled | None
    graph: Graph | None = None
    ratio: float | None = None


def causes(case: SlowCase) -> list[Finding]:
    """Return everything that explains a part of the time."""
    found = [finding for look in _LOOKS if (finding := look(case)) is not None]
    told = {finding.code for finding in found}
    known = {"qdq_islands": "conversions", "weights_unpacked": "conversions", "left_in_float": "left_in_float"}
    covered = {known[code] for code in told & known.keys()}
    for weight, reason in weighed_reasons(case.facts):
        if reason["code"] not in told | covered:
            found.append(
                Finding(
                    code=reason["code"],
                    title=reason["detail"],
                    evidence=_evidence_of(reason["code"], case),
                    fix=reason["fix"],
                    weight=weight,
                    remedy=remedy_of(reason["code"], case),
                )
            )
    return found


def _islands(case: SlowCase) -> Finding | None:
    """Conversions of activations that are left when the network runs, and what makes them necessary."""
    if case.graph is None or case.after is None:
        return None
    rows = [row for row in case.after.rows if row["type"] in CONVERSIONS and not _unpacks(case.graph, row)]
    share = sum(row["share"] for row in rows)
    if share < WORTH_TELLING:
        return None
    islands = case.graph.islands()
    places = list(case.graph.transitions())
    computed = _computed_in_float(case.graph, case.after)
    types = sorted({layer.type for island in islands for layer in island} | set(computed))
    between = f": the runtime computes {', '.join(types[:5])} in float between layers in integers" if types else ""
    return Finding(
        code="qdq_islands",
        title=f"{len(rows)} conversions between integers and float take {share:.0%} of the time{between}.",
        evidence={
            "conversions": len(rows),
            "share": round(share, 4),
            "ms": _ms(rows, case.after),
            "islands": [[layer.name for layer in island][:_NAMED] for island in islands[:_NAMED]],
            "island_count": len(islands),
            "transitions": len(places),
            "operators_in_float": types,
            "without_integer_kernel": computed,
        },
        fix="Try every way to place the integers and keep the fastest by measurement; where all are slower, fp16 costs no "
        "time.",
        weight=share,
        remedy=_float_again(case) if _core_slower(case) else _fastest_int8(case),
    )


def _unpacked_weights(case: SlowCase) -> Finding | None:
    if case.graph is None or case.after is None:
        return None
    rows = [row for row in case.after.rows if row["type"] in DEQUANTIZE and _unpacks(case.graph, row)]
    share = sum(row["share"] for row in rows)
    if share < WORTH_TELLING:
        return None
    return Finding(
        code="weights_unpacked",
        title=f"{len(rows)} weights are unpacked from integers at every run, which takes {share:.0%} of the time.",
        evidence={
            "weights": [row["name"] for row in rows[:_NAMED]],
            "count": len(rows),
            "share": round(share, 4),
            "ms": _ms(rows, case.after),
        },
        fix="Store the weights so that they are unpacked once, when the model loads: a palette of 256 values has the size of "
        "int8 and the speed of float.",
        weight=share,
        remedy=Remedy(target_format=Format.ONNX, precision=Precision.FP32, options={"cluster": 256}),
    )


def _fell_back(case: SlowCase) -> Finding | None:
    """Layers that the file has in integers and the runtime computes in float all the same."""
    if case.graph is None or case.after is None:
        return None
    layers = {layer.name: layer for layer in case.graph.layers if layer.in_integers and layer.type in CORE}
    rows = [
        (name, row)
        for name in layers
        for row in case.after.runs_as.get(name, ())
        if row["type"] in _CORE_IN_FLOAT and str(row["reads"] or "float32").startswith("float")
    ]
    share = sum(row["share"] for _, row in rows)
    if share < WORTH_TELLING:
        return None
    return Finding(
        code="fell_back_to_float",
        title=f"{len(rows)} of {len(layers)} layers that the file has in integers are computed in float by the runtime and "
        f"take {share:.0%} of the time.",
        evidence={
            "layers": [{"name": name, "runs_as": row["type"]} for name, row in rows[:_NAMED]],
            "count": len(rows),
            "of": len(layers),
            "share": round(share, 4),
        },
        fix="The runtime has no integer kernel for these layers as they are written: their output, or their weights, are not "
        "quantized with them. Quantize again with int8, whose pattern it knows.",
        weight=share,
        remedy=_fastest_int8(case),
    )


def _left_in_float(case: SlowCase) -> Finding | None:
    """Layers with weights that nobody turned into integers, in a variant where others are."""
    if case.graph is None or case.after is None:
        return None
    core = [layer for layer in case.graph.layers if layer.type in CORE]
    left = [layer for layer in core if not layer.in_integers]
    total_ms = case.after.times.total_ms or 1.0
    share = sum(case.after.by_layer.get(layer.name, 0.0) for layer in left) / total_ms
    if len(left) == len(core) or share < WORTH_TELLING * 2:
        return None
    return Finding(
        code="left_in_float",
        title=f"{len(left)} of {len(core)} layers with weights are in float in the file and take {share:.0%} of the time, so "
        "integers gain little.",
        evidence={
            "layers": [{"name": layer.name, "type": layer.type} for layer in left[:_NAMED]],
            "count": len(left),
            "of": len(core),
            "share": round(share, 4),
        },
        fix="Quantize them as well, or keep all of the network in float: fp16 has half the size at the same speed.",
        weight=share * 0.5,
        remedy=_dynamic(case) if {layer.type for layer in left} <= {"MatMul", "Gemm", "LSTM"} else _fastest_int8(case),
    )


def _unfused(case: SlowCase) -> Finding | None:
    """Operators that are folded into others in the baseline, and stand alone in the variant."""
    if case.before is None or case.after is None or case.facts.source is not case.facts.target:
        return None
    before, after = _in_float(case.before.times), _in_float(case.after.times)
    more = {
        name: {
            "before": before.counts.get(name, 0),
            "after": after.counts[name],
            "ms": round(after.ms[name] - before.ms.get(name, 0.0), 6),
        }
        for name in FUSIBLE
        if after.counts.get(name, 0) > before.counts.get(name, 0)
    }
    lost = sum(max(0.0, float(one["ms"])) for one in more.values())
    share = lost / (after.total_ms or 1.0)
    if share < WORTH_TELLING:
        return None
    told = ", ".join(f"{one['after'] - one['before']:g} {name}" for name, one in sorted(more.items()))
    return Finding(
        code="unfused",
        title=f"{told} that the runtime folds into other operators in the baseline, or that are not there, stand alone in "
        f"the variant and take {share:.0%} of its time.",
        evidence={"operators": more, "share": round(share, 4)},
        fix="Fold the graph before it is quantized, and quantize only the layers with weights, so that the runtime finds the "
        "patterns that it fuses.",
        weight=share,
        remedy=_fastest_int8(case) if _quantized(case) else _float_again(case),
    )


def _layouts(case: SlowCase) -> Finding | None:
    """Work that only rearranges memory, and that the baseline has less of."""
    if case.after is None:
        return None
    after = sum(case.after.times.ms.get(name, 0.0) for name in LAYOUT)
    before = 0.0 if case.before is None else sum(case.before.times.ms.get(name, 0.0) for name in LAYOUT)
    share = (after - before) / (case.after.times.total_ms or 1.0)
    if share < WORTH_TELLING:
        return None
    rows = [row for row in case.after.rows if row["type"] in LAYOUT]
    return Finding(
        code="layout_transposes",
        title=f"{len(rows)} operators that only rearrange memory take {share:.0%} more of the time than in the baseline.",
        evidence={
            "operators": [{"name": row["name"], "type": row["type"]} for row in rows[:_NAMED]],
            "count": len(rows),
            "before_ms": round(before, 6),
            "after_ms": round(after, 6),
            "share": round(share, 4),
        },
        fix="Simplify the graph, which joins and removes transposes, and let the layers on both sides of one have the same "
        "precision.",
        weight=share,
        remedy=Remedy(
            target_format=case.facts.target,
            precision=Precision.FP16,
            options={"simplify": True} if case.facts.source is Format.ONNX else {},
        ),
    )


_LOOKS: Final[Sequence[Callable[[SlowCase], Finding | None]]] = (
    _islands,
    _unpacked_weights,
    _fell_back,
    _left_in_float,
    _unfused,
    _layouts,
)


def remedy_of(code: str, case: SlowCase) -> Remedy | None:
    """Return the remedy for one of the optimizer's own reasons."""
    target = case.facts.target
    match code:
        case "dynamic_convolution" | "signed_activations" | "int16_activations":
            return _fastest_int8(case)
        case "recurrent_in_openvino":
            return Remedy(target_format=Format.ONNX, precision=Precision.INT8_DYNAMIC)
        case "ort_format":
            return Remedy(target_format=Format.ONNX, precision=Precision.FP16)
        case "other_runtime":
            return Remedy(target_format=target, precision=Precision.FP32)
        case "conversions" | "slower_kernels" | "casts" | "no_integer_instructions" | "tiny" | "left_in_float":
            return _float_again(case)
        case _:
            return None


def unexplained(case: SlowCase) -> Finding:
    """Return what is said of a variant that is slower for no reason that was found."""
    return Finding(
        code="unexplained",
        title="The variant is slower, and neither its operators nor its graph tell why.",
        evidence=_evidence_of("unexplained", case),
        fix="Choose fp16, which costs no time, or try every way and keep the fastest by measurement.",
        weight=0.1,
        remedy=_float_again(case),
    )


def _evidence_of(code: str, case: SlowCase) -> dict[str, Any]:
    """Return the times of the types of operators that changed most, or of the family that a reason is about."""
    evidence: dict[str, Any] = {}
    before, after = (None if one is None else one.times for one in (case.before, case.after))
    if after is not None:
        earlier: Mapping[str, float] = {} if before is None else before.ms
        changed = sorted(
            after.ms.keys() | earlier.keys(), key=lambda name: -abs(after.ms.get(name, 0.0) - earlier.get(name, 0.0))
        )
        evidence["operators"] = {
            name: {
                "count": after.counts.get(name, 0),
                "before_ms": None if before is None else round(earlier.get(name, 0.0), 6),
                "after_ms": round(after.ms.get(name, 0.0), 6),
            }
            for name in changed[:_NAMED]
        }
    if code == "no_integer_instructions":
        evidence["cpu_flags"] = list(case.facts.cpu_flags)
    if code in {"signed_activations", "int16_activations"}:
        evidence["activations"] = sorted(case.facts.activations)
    return evidence


def _in_float(times: Times) -> Times:
    """Return the times with what computes the same in integers counted as what it stands for."""
    ms: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, value in times.ms.items():
        plain = IN_INTEGERS.get(name, name)
        ms[plain] = ms.get(plain, 0.0) + value
        counts[plain] = counts.get(plain, 0) + times.counts.get(name, 0)
    return Times(ms=ms, counts=counts)


def _computed_in_float(graph: Graph, profiled: Profiled) -> dict[str, int]:
    """Return the types of layers that the file has between integers and that the runtime computes in float, and how many."""
    found: dict[str, int] = {}
    for layer in graph.layers:
        rows = profiled.runs_as.get(layer.name, ())
        if layer.in_integers and any(row["type"] == layer.type and row["reads"] == "float32" for row in rows):
            found[layer.type] = found.get(layer.type, 0) + 1
    return found


def _unpacks(graph: Graph, row: Mapping[str, Any]) -> bool:
    """Tell whether a conversion reads a weight."""
    node = next((node for node in graph.nodes if node.name == row["name"] and node.op_type in DEQUANTIZE), None)
    return node is not None and node.input[0] in graph.stored


def _core_slower(case: SlowCase) -> bool:
    """Tell whether the layers with weights alone take longer than they did."""
    if case.before is None or case.after is None:
        return False
    names = frozenset[str]().union(*FAMILIES.values())
    before, after = (sum(one.times.ms.get(name, 0.0) for name in names) for one in (case.before, case.after))
    return after > before


def _quantized(case: SlowCase) -> bool:
    return case.after is not None and any(
        name.startswith("QLinear") or name in CONVERSIONS for name in case.after.times.ms
    )


def _ms(rows: Sequence[Mapping[str, Any]], profiled: Profiled) -> float:
    return round(sum(float(row["total_ms"]) for row in rows) / profiled.runs, 6)


def _float_again(case: SlowCase) -> Remedy:
    return Remedy(target_format=case.facts.target, precision=Precision.FP16)


def _fastest_int8(case: SlowCase) -> Remedy:
    return Remedy(
        target_format=case.facts.target, precision=Precision.INT8, level=OptimizationLevel.SPEED, calibrated=True
    )


def _dynamic(case: SlowCase) -> Remedy:
    return Remedy(target_format=case.facts.target, precision=Precision.INT8_DYNAMIC)
