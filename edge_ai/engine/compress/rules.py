"""Which ways of making a network smaller go together with which precision and target. Standard library only."""

from __future__ import annotations

from typing import Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.options import OptimizeOptions, option_rules
from edge_ai.engine.routes import Route
from edge_ai.engine.spec import Format, Precision

IN_FLOAT: Final = frozenset({Precision.FP32, Precision.FP16})
"""Precisions that leave clustered weights as they are."""

HALF_OF_FOUR: Final = "2:4"


def check_options(options: OptimizeOptions, precision: Precision, route: Route) -> None:
    """Refuse combinations of options for compression that make no sense.

    Parameters
    ----------
    precision
        As it was resolved; with ``auto``, what depends on it is not checked.
    route
        The way that the model goes.

    Raises
    ------
    UserInputError
        ``invalid_request``, naming the option, and in ``details["nearest"]`` what works.
    """
    _check_sparsity(options)
    if not options.compresses:
        return
    if Format.ONNX not in route.formats:
        names = {"simplify": options.simplify, "deduplicate": options.deduplicate, "prune": options.prune != "none"}
        first = next((name for name, chosen in names.items() if chosen), "cluster")
        raise _refuse(
            first,
            f"{_title(first)} works on ONNX graphs, and the way from {route.source} to {route.lane.target} has none.",
            "Choose ONNX as the target format, or leave this out.",
            nearest={"target_format": Format.ONNX.value},
        )
    if options.cluster:
        _check_cluster(options, precision, route.lane.target)


def _check_sparsity(options: OptimizeOptions) -> None:
    usual = OptimizeOptions().sparsity
    if options.prune == "unstructured":
        if options.sparsity == 0:
            raise _refuse("sparsity", "Pruning with a sparsity of 0 changes nothing.", "Give a share above 0.")
    elif options.sparsity != usual:
        reason = (
            "With 2:4 pruning, half of the weights become zero."
            if options.prune == HALF_OF_FOUR
            else "Nothing is pruned, so there is no share of weights to set to zero."
        )
        raise _refuse(
            "sparsity", f"options.sparsity is {options.sparsity:g}. {reason}", "Leave it out, or prune unstructured."
        )


def _check_cluster(options: OptimizeOptions, precision: Precision, target_format: Format) -> None:
    if target_format is not Format.ONNX:
        raise _refuse(
            "cluster",
            f"Clustered weights are unfolded while a model is converted to {target_format}: the file would not be smaller.",
            "Choose ONNX as the target format, or leave this out.",
            nearest={"target_format": Format.ONNX.value, "precision": Precision.FP32.value},
        )
    if precision not in IN_FLOAT | {Precision.AUTO}:
        raise _refuse(
            "cluster",
            f"Clustered weights are computed with in float, so they cannot become {precision} as well.",
            "Choose fp32 or fp16 as the precision, or leave this out.",
            nearest={"target_format": Format.ONNX.value, "precision": Precision.FP32.value},
        )
    if precision is Precision.FP16 and options.fp16_mode == "full":
        raise _refuse(
            "cluster",
            "With fp16 in full, processors widen the weights again at every run, and clustered ones are unfolded first.",
            "Let fp16_mode be weights, or leave this out.",
            nearest={"options": {"fp16_mode": "weights"}},
        )


def _title(option: str) -> str:
    return option_rules()[option].title


def _refuse(option: str, reason: str, fix: str, *, nearest: dict[str, Any] | None = None) -> UserInputError:
    details = None if nearest is None else {"nearest": nearest}
    return UserInputError(reason, code="invalid_request", fix=fix, field=f"options.{option}", details=details)
