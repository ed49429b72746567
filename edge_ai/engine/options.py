"""The options of an optimization, each declared once: its type, its bounds and what it means. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from edge_ai.engine.errors import UserInputError

MIN_CALIBRATION_SAMPLES: Final = 1
MAX_CALIBRATION_SAMPLES: Final = 1000
MAX_SEED: Final = 2**32 - 1
MAX_LAYERS: Final = 200
MAX_LAYER_NAME: Final = 300


def refuse(field_name: str, reason: str, fix: str) -> UserInputError:
    """Return the error for a value that is out of bounds."""
    return UserInputError(reason, code="invalid_request", fix=fix, field=field_name)


@dataclass(frozen=True, kw_only=True)
class OptionRule:
    """What an option may be.

    Parameters
    ----------
    title
        What it is called in forms.
    help
        What it does, in one sentence.
    kind
        ``number``, ``integer``, ``boolean``, ``choice`` or ``names`` (a list of strings).
    low, high
        Bounds of numbers, both included.
    choices
        The values of a choice.
    optional
        ``None`` leaves the choice to the engine.
    """

    title: str
    help: str
    kind: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()
    optional: bool = False

    def check(self, name: str, value: object) -> None:
        """Refuse a value that the option cannot have.

        Raises
        ------
        UserInputError
            ``invalid_request``, naming the option.
        """
        if value is None and self.optional:
            return
        expected = self._fault(value)
        if expected is not None:
            shown = repr(value)[:80]
            raise refuse(f"options.{name}", f"options.{name} is {shown}; it must be {expected}.", f"Give {expected}.")

    def _fault(self, value: object) -> str | None:
        """Say what was expected, or ``None``."""
        if self.kind == "boolean":
            return None if isinstance(value, bool) else "true or false"
        if self.kind == "choice":
            known = not isinstance(value, bool) and value in self.choices
            return None if known else "one of " + ", ".join(map(str, self.choices))
        if self.kind == "names":
            right = (
                isinstance(value, (list, tuple))
                and len(value) <= MAX_LAYERS
                and all(isinstance(item, str) and 0 < len(item) <= MAX_LAYER_NAME for item in value)
            )
            return None if right else f"a list of at most {MAX_LAYERS} names"
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "integer" else (int, float)):
            return "a whole number" if self.kind == "integer" else "a number"
        low, high = self.low or 0, self.high or 0
        # false for NaN as well
        return None if low <= value <= high else f"a number from {_plain(low)} to {_plain(high)}"


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _option(default: Any, title: str, help: str, kind: str, **rule: Any) -> Any:
    return field(default=default, metadata={"rule": OptionRule(title=title, help=help, kind=kind, **rule)})


@dataclass(frozen=True, kw_only=True)
class OptimizeOptions:
    """The options of an optimization; :func:`option_rules` says what each means."""

    accuracy_budget: float = _option(
        0.02,
        "Accuracy budget",
        "How much of a labelled metric may be lost, as a fraction of 1.",
        "number",
        low=0,
        high=1,
    )
    calibration_samples: int = _option(
        200,
        "Calibration samples",
        "How many samples to calibrate on at most.",
        "integer",
        low=MIN_CALIBRATION_SAMPLES,
        high=MAX_CALIBRATION_SAMPLES,
    )
    search: bool = _option(
        True,
        "Try several settings",
        "Try the few settings that matter and keep the best; without it only the first that the other options allow.",
        "boolean",
    )
    seed: int = _option(0, "Seed", "Of the draw of samples and of made-up input.", "integer", low=0, high=MAX_SEED)
    calibration_method: str = _option(
        "auto",
        "Calibration",
        "How the range of an activation follows from the samples; auto tries minmax and percentile and keeps the better.",
        "choice",
        choices=("auto", "minmax", "percentile", "entropy"),
    )
    percentile: float = _option(
        99.99, "Percentile", "Which share of the activations percentile calibration covers.", "number", low=90, high=100
    )
    per_channel: bool | None = _option(
        None, "Scale per channel", "Integer weights with one scale a channel.", "boolean", optional=True
    )
    reduce_range: bool | None = _option(
        None,
        "Reduce the range of weights",
        "With int8 for ONNX: weights of 7 bits, whose products do not saturate on x86 processors without VNNI; automatic: "
        "where the device or this machine would saturate.",
        "boolean",
        optional=True,
    )
    symmetric_activations: bool = _option(
        False, "Symmetric activations", "Integer activations whose zero is 0, as some accelerators need.", "boolean"
    )
    exclude_layers: tuple[str, ...] = _option(
        (), "Layers kept in float", "Names of layers, or of operator types, that stay in float.", "names"
    )
    weight_only: bool = _option(
        False,
        "Weights only",
        "With int8: store the weights as integers and compute in float, widened when the model loads.",
        "boolean",
    )
    block_size: int = _option(
        32, "Block size", "With int4: how many weights share a scale.", "choice", choices=(16, 32, 64, 128)
    )
    fp16_mode: str = _option(
        "weights",
        "fp16 mode",
        "weights: stored in fp16, computed in float32; full: computed in fp16 as well, which is slower on most processors.",
        "choice",
        choices=("weights", "full"),
    )
    keep_io_float32: bool = _option(
        True, "Keep input and output in float32", "With fp16 in full: convert at the edges of the network.", "boolean"
    )
    integer_io: bool = _option(
        False, "Integer input and output", "With int8 for TensorFlow Lite: take and answer integers.", "boolean"
    )
    simplify: bool = _option(
        False, "Simplify the graph", "Fold constants, remove what does nothing, join equal nodes.", "boolean"
    )
    deduplicate: bool = _option(
        False, "Join equal weights", "Store weights that are equal, or tied, only once.", "boolean"
    )
    prune: str = _option(
        "none",
        "Prune",
        "Set the smallest weights to zero: unstructured, or two of each four (2:4).",
        "choice",
        choices=("none", "unstructured", "2:4"),
    )
    sparsity: float = _option(
        0.5, "Sparsity", "With unstructured pruning: the share of weights to set to zero.", "number", low=0, high=0.99
    )
    cluster: int = _option(
        0,
        "Cluster weights",
        "Store weights as a palette of 16 or 256 values and an index, unfolded when the model loads; 0: no.",
        "choice",
        choices=(0, 16, 256),
    )

    def __post_init__(self) -> None:
        for name, rule in option_rules().items():
            rule.check(name, getattr(self, name))
        # JSON has lists; what is frozen holds a tuple.
        object.__setattr__(self, "exclude_layers", tuple(self.exclude_layers))

    @property
    def compresses(self) -> bool:
        """Something is asked for that makes the network smaller whatever its precision."""
        return self.simplify or self.deduplicate or self.prune != "none" or self.cluster > 0

    @classmethod
    def read(cls, options: Mapping[str, object]) -> OptimizeOptions:
        """Return the options of a request.

        Raises
        ------
        UserInputError
            ``invalid_request``, naming the option.
        """
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise refuse(
                    f"options.{name}", f"{name!r} is no option; there are {', '.join(known)}.", "Leave it out."
                )
        given: dict[str, Any] = dict(options)
        return cls(**given)


def option_rules() -> dict[str, OptionRule]:
    """Return what each option may be, by name, in the order in which they are declared."""
    return {item.name: item.metadata["rule"] for item in fields(OptimizeOptions)}
