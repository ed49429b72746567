"""Why a variant is slower than the model that it was made from, as far as its operators and this processor tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edge_ai.engine.measure.slow_facts import Facts, gather_facts
from edge_ai.engine.routes import RUNTIME_OF
from edge_ai.engine.spec import Format

Reason = dict[str, str]

MOST_REASONS: Final = 4

WORTH_TELLING: Final = 0.08
"""The share of the time from which on an operator is a reason."""

TINY_MS: Final = 0.1
"""A network this quick spends its time on calling operators rather than in them."""

_FASTER_WITH: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})

#: What does the same work in float and in integers, by the runtimes' names.
FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "convolutions": frozenset(
        {"Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv", "Convolution", "GroupConvolution"}
    ),
    "matrix products": frozenset(
        {
            "MatMul",
            "FusedMatMul",
            "Gemm",
            "FusedGemm",
            "MatMulInteger",
            "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul",
            "QLinearMatMul",
            "QGemm",
            "MatMulNBits",
            "FullyConnected",
        }
    ),
    "recurrent layers": frozenset(
        {
            "LSTM",
            "GRU",
            "RNN",
            "DynamicQuantizeLSTM",
            "LSTMSequence",
            "GRUSequence",
            "RNNSequence",
            "TensorIterator",
            "Loop",
        }
    ),
}
_IN_INTEGERS: Final = frozenset(
    {
        "ConvInteger",
        "QLinearConv",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearMatMul",
        "QGemm",
        "MatMulNBits",
        "DynamicQuantizeLSTM",
    }
)
_CONVERSIONS: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


def explain_slower(source: Path, source_format: Format, variant: Path, variant_format: Format) -> list[Reason]:
    """Find out why a variant is slower; both are run for a few seconds to see where the time goes.

    Parameters
    ----------
    source, variant
        What the runtimes open: a file, or a folder for SavedModel.

    Returns
    -------
    list of dict
        The reasons, the weightiest first, each with ``code``, ``detail`` and ``fix``; empty where nothing was found.
    """
    return reasons(gather_facts(source, source_format, variant, variant_format))


def reasons(facts: Facts) -> list[Reason]:
    """Return the reasons that follow from the facts, the weightiest first."""
    return [reason for _, reason in weighed_reasons(facts)[:MOST_REASONS]]


def weighed_reasons(facts: Facts) -> list[tuple[float, Reason]]:
    """Return every reason with its weight, about the share of the time that it explains; the weightiest first."""
    found = [reason for reason in (look(facts) for look in _LOOKS) if reason is not None]
    return sorted(found, key=lambda one: -one[0])


_Weighed = tuple[float, Reason]


def _dynamic_convolutions(facts: Facts) -> _Weighed | None:
    share = facts.after.share(frozenset({"ConvInteger"})) if facts.after else 0.0
    if share < WORTH_TELLING:
        return None
    return share, _reason(
        "dynamic_convolution",
        f"Convolutions quantized dynamically take {share:.0%} of the time: the runtime has no fast kernel for ConvInteger.",
        "Choose int8 with a data set to calibrate on, or keep Conv in float (exclude_layers).",
    )


def _conversions(facts: Facts) -> _Weighed | None:
    share = facts.after.share(_CONVERSIONS) if facts.after else 0.0
    if facts.after is None or share < WORTH_TELLING:
        return None
    return share, _reason(
        "conversions",
        f"{facts.after.named(_CONVERSIONS)} remain and take {share:.0%} of the time: the network goes back and forth "
        "between integers and float, or unpacks its weights at every run.",
        "Choose fp16, which costs no time; or keep the layers around them in float (exclude_layers)."
        if facts.after.counts.get("DynamicQuantizeLinear")
        else "Choose int8_dynamic, or keep the layers around them in float (exclude_layers); fp16 costs no time.",
    )


def _slower_kernels(facts: Facts) -> _Weighed | None:
    """Name the kind of work that takes longer in integers than it did in float."""
    if facts.before is None or facts.after is None:
        return None
    worst: tuple[float, float, str] | None = None
    for family, types in FAMILIES.items():
        before_ms, after_ms = (sum(times.ms.get(name, 0.0) for name in types) for times in (facts.before, facts.after))
        lost = (after_ms - before_ms) / (facts.after.total_ms or 1.0)
        if before_ms > 0 and lost >= WORTH_TELLING and (worst is None or lost > worst[0]):
            worst = lost, after_ms / before_ms, family
    if worst is None:
        return None
    lost, ratio, family = worst
    return lost, _reason(
        "slower_kernels",
        f"The {family} take {ratio:.1f} times as long as in the original ({facts.after.named(FAMILIES[family])}).",
        f"Keep them in float (exclude_layers) or choose fp16: this runtime computes the {family} faster in float here.",
    )


def _left_in_float(facts: Facts) -> _Weighed | None:
    if facts.after is None or not any(facts.after.counts.get(name) for name in _IN_INTEGERS | _CONVERSIONS):
        return None
    heavy = frozenset[str]().union(*FAMILIES.values()) - _IN_INTEGERS
    share = facts.after.share(heavy)
    if share < 0.3:
        return None
    return share * 0.5, _reason(
        "left_in_float",
        f"{facts.after.named(heavy)} still compute in float and take {share:.0%} of the time, so integers gain little.",
        "Choose fp16: the same speed at half the size. For MatMul, Gemm and LSTM int8_dynamic may be faster.",
    )


def _casts(facts: Facts) -> _Weighed | None:
    share = facts.after.share(frozenset({"Cast", "Convert"})) if facts.after else 0.0
    if share < WORTH_TELLING:
        return None
    return share, _reason(
        "casts",
        f"Conversions between fp16 and fp32 take {share:.0%} of the time: this processor's runtime computes in fp32.",
        "Choose fp16_mode weights, which stores fp16 and computes in fp32.",
    )


def _signed_activations(facts: Facts) -> _Weighed | None:
    if facts.target not in {Format.ONNX, Format.ORT} or "int8" not in facts.activations:
        return None
    return 0.2, _reason(
        "signed_activations",
        "The activations are signed integers, which onnxruntime computes more slowly than unsigned ones on x86 processors.",
        "Leave symmetric_activations off unless the accelerator needs it.",
    )


def _sixteen_bits(facts: Facts) -> _Weighed | None:
    if not facts.activations & {"int16", "uint16"}:
        return None
    return 0.9, _reason(
        "int16_activations",
        "Activations of 16 bits run in reference kernels here, which are made for accuracy and not for speed.",
        "Choose int8 or int8_dynamic where speed matters; keep int16x8 for processors that are made for it.",
    )


def _recurrent_in_openvino(facts: Facts) -> _Weighed | None:
    names = FAMILIES["recurrent layers"]
    if facts.target is not Format.OPENVINO or facts.after is None or not any(facts.after.counts.get(n) for n in names):
        return None
    return 0.8, _reason(
        "recurrent_in_openvino",
        f"OpenVINO runs recurrent layers ({facts.after.named(names)}) step by step, many times slower than onnxruntime.",
        "Choose ONNX as the target format for this network.",
    )


def _ort_format(facts: Facts) -> _Weighed | None:
    if facts.target is not Format.ORT or facts.source is not Format.ONNX:
        return None
    return 0.6, _reason(
        "ort_format",
        "The ORT format keeps the operators' layout as it was saved: onnxruntime cannot arrange them for this processor.",
        "Choose ONNX as the target format where the full onnxruntime is installed; ORT is for small builds of it.",
    )


def _other_runtime(facts: Facts) -> _Weighed | None:
    if facts.source == facts.target or RUNTIME_OF.get(facts.source) == RUNTIME_OF.get(facts.target):
        return None
    return 0.15, _reason(
        "other_runtime",
        f"The variant runs in {RUNTIME_OF.get(facts.target, facts.target)} and the original in "
        f"{RUNTIME_OF.get(facts.source, facts.source)}: part of the difference is the runtimes'.",
        f"Make a variant in {facts.target} with fp32 to see what the runtime alone costs.",
    )


def _converting_operators_of_tflite(facts: Facts) -> _Weighed | None:
    names = {name: count for name, count in facts.operators.items() if name.upper() in {"QUANTIZE", "DEQUANTIZE"}}
    whole = sum(facts.operators.values())
    share = sum(names.values()) / whole if whole else 0.0
    if facts.target is not Format.TFLITE or share < WORTH_TELLING:
        return None
    told = ", ".join(f"{count} {name}" for name, count in sorted(names.items()))
    return share, _reason(
        "conversions",
        f"{told} of {whole} operators only convert between integers and float.",
        "Choose int8_dynamic, which keeps activations in float and suits transformers, or fp16.",
    )


def _no_fast_instructions(facts: Facts) -> _Weighed | None:
    if not facts.cpu_flags or _FASTER_WITH & set(facts.cpu_flags):
        return None
    return 0.1, _reason(
        "no_integer_instructions",
        "This processor has no instructions for products of 8-bit integers (VNNI, AMX or the dot product of Arm).",
        "Measure on the device that the model is for; on processors like this one fp16 or fp32 may be as fast.",
    )


def _tiny(facts: Facts) -> _Weighed | None:
    if facts.before is None or facts.before.total_ms >= TINY_MS:
        return None
    return 0.12, _reason(
        "tiny",
        f"The original's operators take {facts.before.total_ms * 1e3:.0f} µs in all: what calling one more operator costs "
        "outweighs what integers gain.",
        "Keep the original, or choose fp16 for the size alone.",
    )


_LOOKS: Final[tuple[Callable[[Facts], _Weighed | None], ...]] = (
    _dynamic_convolutions,
    _conversions,
    _slower_kernels,
    _left_in_float,
    _casts,
    _signed_activations,
    _sixteen_bits,
    _recurrent_in_openvino,
    _ort_format,
    _other_runtime,
    _converting_operators_of_tflite,
    _no_fast_instructions,
    _tiny,
)


def _reason(code: str, detail: str, fix: str) -> Reason:
    return {"code": code, "detail": detail, "fix": fix}
