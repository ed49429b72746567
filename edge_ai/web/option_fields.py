"""The options of an optimization as fields of a form, made of the engine's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms

from edge_ai.engine.options import OptimizeOptions, OptionRule, option_rules

GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "Calibration and judgement",
        (
            "accuracy_budget",
            "calibration_samples",
            "calibration_method",
            "percentile",
            "per_channel",
            "symmetric_activations",
            "exclude_layers",
            "seed",
        ),
    ),
    ("Precision", ("weight_only", "block_size", "fp16_mode", "keep_io_float32", "integer_io")),
    ("Compression", ("simplify", "deduplicate", "prune", "sparsity", "cluster")),
)
UNDECIDED: Final = "auto"
_WORDS: Final[Mapping[str, str]] = {"0": "no", "none": "no", UNDECIDED: "automatic", "true": "yes", "false": "no"}


def option_fields() -> dict[str, forms.Field]:
    """Return a field for every option, under the option's name."""
    defaults = OptimizeOptions()
    return {name: _field(rule, getattr(defaults, name)) for name, rule in option_rules().items()}


def read_options(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from their defaults, as the engine reads them."""
    given: dict[str, Any] = {}
    for name, rule in option_rules().items():
        value = _value(rule, cleaned.get(name))
        if value is not None and value != getattr(OptimizeOptions, name):
            given[name] = list(value) if isinstance(value, tuple) else value
    return given


def _field(rule: OptionRule, default: Any) -> forms.Field:
    common: dict[str, Any] = {"label": rule.title, "help_text": rule.help, "required": False, "initial": default}
    if rule.kind == "boolean" and default is False:
        return forms.BooleanField(**common)
    if rule.kind == "boolean":
        # A box that is not ticked is not sent, which must not read as a no.
        words = (UNDECIDED, "true", "false") if rule.optional else ("true", "false")
        return forms.ChoiceField(
            **(common | {"choices": [(word, _WORDS[word]) for word in words], "initial": words[0]})
        )
    if rule.kind == "choice":
        return forms.ChoiceField(
            choices=[(str(value), _WORDS.get(str(value), str(value))) for value in rule.choices], **common
        )
    if rule.kind == "names":
        note = f"{rule.help} Separated by commas."
        return forms.CharField(**(common | {"initial": "", "help_text": note}), max_length=4000)
    bounds = {"min": f"{rule.low:g}" if rule.low is not None else None, "max": f"{rule.high:g}" if rule.high else None}
    step = {} if rule.kind == "integer" else {"step": "any"}
    widget = forms.NumberInput(attrs={key: value for key, value in bounds.items() if value is not None} | step)
    return (forms.IntegerField if rule.kind == "integer" else forms.FloatField)(widget=widget, **common)


def _value(rule: OptionRule, cleaned: Any) -> Any:
    """Return what a field's value means; ``None`` where it was left empty."""
    if cleaned in (None, ""):
        return None
    if rule.kind == "names":
        return tuple(name.strip() for name in str(cleaned).split(",") if name.strip())
    if rule.kind == "boolean" and isinstance(cleaned, str):
        return {"true": True, "false": False}.get(cleaned)
    if rule.kind == "choice":
        return type(rule.choices[0])(cleaned)
    return cleaned
