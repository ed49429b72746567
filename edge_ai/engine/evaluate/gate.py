"""When a variant is good enough to be called one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edge_ai.engine.errors import ParityError
from edge_ai.engine.evaluate.parity import NOT_CHECKED, Parity
from edge_ai.engine.plan import Caution
from edge_ai.engine.spec import Precision

FLOORS_DB: Final[Mapping[Precision, float]] = {
    Precision.FP32: 40.0,
    Precision.FP16: 25.0,
    Precision.INT16X8: 20.0,
    Precision.INT8: 8.0,
    Precision.INT8_DYNAMIC: 8.0,
    Precision.INT4: 4.0,
    Precision.FP8: 8.0,
}
"""Below it a variant is refused, in dB, when no labelled data decides."""

LABELLED_FLOOR_DB: Final = 3.0
"""Below it a variant is refused whatever the labels say, in dB: noise as large as the signal is luck."""

WARNING_DB: Final[Mapping[Precision, float]] = {
    Precision.FP32: 80.0,
    Precision.FP16: 45.0,
    Precision.INT16X8: 45.0,
    Precision.INT8: 20.0,
    Precision.INT8_DYNAMIC: 20.0,
    Precision.INT4: 20.0,
    Precision.FP8: 20.0,
}
LEAST_AGREEMENT: Final = 0.5
GOOD_AGREEMENT: Final = 0.99


def judge(parity: Parity, precision: Precision, *, accuracy_budget: float, thinned: bool = False) -> list[Caution]:
    """Let a variant pass or not.

    Parameters
    ----------
    accuracy_budget
        How much of a labelled metric may be lost, as a fraction of 1.
    thinned
        Weights were pruned or clustered, whatever else was done.

    Returns
    -------
    list
        What is worth knowing about a variant that passes.

    Raises
    ------
    ParityError
        ``parity_failed``, naming the figures and what to try.
    """
    fault = find_fault(parity, precision, accuracy_budget=accuracy_budget)
    if fault is not None:
        raise ParityError(
            f"The variant does not compute what the model computes: {fault}",
            code="parity_failed",
            fix=_advice(parity, precision, thinned=thinned),
            details={"parity": parity.to_json(), "precision": precision.value},
        )
    if parity.data == NOT_CHECKED:
        return [
            Caution(
                code="parity_not_checked",
                detail=" ".join(parity.notes),
                fix="Compare its answers with the original's on the device before you ship it.",
            )
        ]
    cautions = []
    if not parity.informative:
        cautions.append(
            Caution(
                code="uninformative_input",
                detail="The model answers the same to all the inputs that it was compared on, so being close proves little.",
                fix="Give a data set of real samples.",
            )
        )
    if parity.sqnr_db is not None and parity.sqnr_db < WARNING_DB[precision]:
        metric = parity.metric
        labelled = (
            ""
            if metric is None
            else f" On the labels top-1 accuracy went from {_percent(metric.reference)} to {_percent(metric.variant)}."
        )
        cautions.append(
            Caution(
                code="low_parity",
                detail=f"The outputs differ by more than is usual for {precision}: {parity.sqnr_db:.1f} dB, where "
                f"{WARNING_DB[precision]:.0f} dB is usual.{labelled}",
                fix=_advice(parity, precision, thinned=thinned),
            )
        )
    if parity.agreement is not None and parity.agreement < GOOD_AGREEMENT:
        cautions.append(
            Caution(
                code="low_agreement",
                detail=f"Only {100 * parity.agreement:.1f} % of the whole numbers that the model answers are the same.",
                fix=_advice(parity, precision, thinned=thinned),
            )
        )
    return cautions


def find_fault(parity: Parity, precision: Precision, *, accuracy_budget: float) -> str | None:
    """Say why a variant does not pass, or ``None``."""
    for output in parity.outputs:
        if not output.same_shape:
            return f"its output {output.name!r} has another shape."
        if not output.finite:
            return f"its output {output.name!r} has infinities or NaN in it."
    metric, sqnr_db = parity.metric, parity.sqnr_db
    if metric is not None and metric.drop > accuracy_budget:
        return (
            f"top-1 accuracy falls from {_percent(metric.reference)} to {_percent(metric.variant)} on {metric.samples} "
            f"labelled samples, by more than the {100 * accuracy_budget:g} points that may be lost."
        )
    floor = FLOORS_DB[precision] if metric is None else LABELLED_FLOOR_DB
    if sqnr_db is not None and sqnr_db < floor:
        return (
            f"its outputs are {sqnr_db:.1f} dB above their error on {parity.samples} samples, "
            f"where {floor:g} dB is the least."
        )
    if metric is None and parity.agreement is not None and parity.agreement < LEAST_AGREEMENT:
        return f"only {100 * parity.agreement:.1f} % of the whole numbers that it answers are the same."
    return None


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _advice(parity: Parity, precision: Precision, *, thinned: bool) -> str:
    if parity.data != "dataset":
        return "Give a data set of real samples: on made-up input the comparison itself may mislead."
    if thinned:
        return "Prune or cluster less, with a lower sparsity or a larger palette, or not at all."
    if precision in {Precision.INT8, Precision.INT16X8}:
        return "Try more representative samples, keep the worst layers in float, or choose int8_dynamic or fp16."
    if precision is Precision.INT4:
        return "Try a smaller block_size, int8, or fp16."
    if precision is Precision.INT8_DYNAMIC:
        return "Try int8 with calibration data, or fp16."
    return "Keep the model in fp32."
