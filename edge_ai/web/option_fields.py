"""The options of an optimization as fields of a form, made of the engine's own rules. The engine alone judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from django import forms

from edge_ai.engine.feasible import ENTROPY_TARGETS
from edge_ai.engine.options import MAX_LAYER_NAME, MAX_LAYERS, OptimizeOptions, OptionRule, option_rules

GROUPS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (
        "Calibration and judgement",
        "How ranges are measured on samples, and what may be lost.",
        (
            "accuracy_budget",
            "calibration_samples",
            "calibration_method",
            "percentile",
            "per_channel",
            "reduce_range",
            "symmetric_activations",
            "search",
            "seed",
        ),
    ),
    (
        "Precision",
        "What becomes smaller numbers, and how.",
        ("weight_only", "block_size", "fp16_mode", "keep_io_float32", "integer_io", "exclude_layers"),
    ),
    (
        "Compression",
        "What makes the network itself smaller, on the way through ONNX.",
        ("simplify", "deduplicate", "prune", "sparsity", "cluster"),
    ),
)
UNDECIDED: Final = "auto"
ENTROPY: Final = "entropy"
_WORDS: Final[Mapping[object, str]] = {
    0: "No",
    "none": "No",
    "auto": "Automatic",
    "minmax": "Smallest and largest",
    "percentile": "Percentile",
    "entropy": "Entropy",
    "weights": "Weights only",
    "full": "Weights and arithmetic",
    "unstructured": "Unstructured",
    "2:4": "Two of each four (2:4)",
}


class OptionField(forms.Field):
    """One option: what is sent is read as far as it goes, and handed to the engine as it is where it goes no further."""

    def __init__(self, name: str, rule: OptionRule, default: Any) -> None:
        self.rule = rule
        super().__init__(
            label=rule.title,
            help_text=rule.help,
            required=False,
            initial=_shown(default),
            widget=_widget(rule, default),
        )
        self.name = name
        self.default = default

    def to_python(self, value: Any) -> Any:
        """Return the value in the engine's own type; ``None`` where nothing was chosen."""
        if isinstance(value, bool):
            return value
        text = "" if value is None else str(value).strip()
        if text in ("", UNDECIDED) and (self.rule.optional or not text):
            return None
        return _parsed(self.rule, text)


def option_fields() -> dict[str, forms.Field]:
    """Return a field for every option, under the option's name."""
    usual = OptimizeOptions()
    return {name: OptionField(name, rule, getattr(usual, name)) for name, rule in option_rules().items()}


def offer_within(field: forms.Field, target: str) -> None:
    """Offer of the ways to calibrate those that the target's quantizer has."""
    if target not in ENTROPY_TARGETS and isinstance(field.widget, forms.Select):
        field.widget.choices = [choice for choice in field.widget.choices if choice[0] != ENTROPY]


def read_options(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from what they are when nothing is said."""
    usual = OptimizeOptions()
    return {
        name: value
        for name in option_rules()
        if (value := cleaned.get(name)) is not None and value != _listed(getattr(usual, name))
    }


def shown_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the fields show for options that a request was made with; those that are not known are left out."""
    shown = {}
    for name, rule in option_rules().items():
        if name not in given or given[name] is None:
            continue
        value = given[name]
        if rule.kind == "names":
            shown[name] = "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        elif (
            rule.kind == "boolean"
            and isinstance(value, bool)
            and not isinstance(_usual_widget(name), forms.CheckboxInput)
        ):
            shown[name] = "true" if value else "false"
        else:
            shown[name] = value
    return shown


def _usual_widget(name: str) -> forms.Widget:
    return _widget(option_rules()[name], getattr(OptimizeOptions(), name))


def _parsed(rule: OptionRule, text: str) -> Any:
    if rule.kind == "names":
        return [name.strip() for name in text.splitlines() if name.strip()]
    if rule.kind == "boolean":
        return {"true": True, "on": True, "false": False}.get(text, text)
    whole = rule.kind == "integer" or (rule.kind == "choice" and isinstance(rule.choices[0], int))
    readers: list[Callable[[str], float]] = [int] if whole else [int, float] if rule.kind == "number" else []
    for read in readers:
        with suppress(ValueError):
            return read(text)
    return text


def _widget(rule: OptionRule, default: Any) -> forms.Widget:
    if rule.kind == "boolean" and default is False:
        return forms.CheckboxInput()
    if rule.kind == "boolean":
        # A box that is not ticked is not sent, which must not be read as a no.
        words = [("true", "Yes"), ("false", "No")]
        return forms.Select(choices=[(UNDECIDED, "Automatic"), *words] if rule.optional else words)
    if rule.kind == "choice":
        return forms.Select(choices=[(str(choice), _WORDS.get(choice, str(choice))) for choice in rule.choices])
    if rule.kind == "names":
        attributes = {"rows": 2, "maxlength": MAX_LAYERS * MAX_LAYER_NAME, "placeholder": "One name a line"}
        return forms.Textarea(attrs=attributes)
    bounds = {"min": f"{rule.low:g}", "max": f"{rule.high:.0f}" if rule.kind == "integer" else f"{rule.high:g}"}
    return forms.NumberInput(attrs=bounds | ({} if rule.kind == "integer" else {"step": "any"}))


def _shown(default: Any) -> Any:
    """Return what a field shows when nothing was chosen; a word for what HTML has no value for."""
    if default is None:
        return UNDECIDED
    if default is True:
        return "true"
    return "" if default == () else default


def _listed(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default
