"""Fields that the serializers share. They parse and present; what is allowed is decided by the services and the engine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import TextChoices
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.utils import html

from edge_ai.engine.options import MAX_LAYER_NAME, MAX_LAYERS, OptimizeOptions, OptionRule, option_rules
from edge_ai.engine.spec import MAX_OPTIONS
from edge_ai.models import Priority

MAX_NAME = 200
MAX_DESCRIPTION = 4000
MAX_TAGS = 20
MAX_TAG = 40
MAX_OPTION_VALUES = 1000
MAX_WHOLE = 2**63 - 1
#: What Django's own forms send along.
NOT_OURS = frozenset({"csrfmiddlewaretoken"})


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know: a misspelt one would otherwise be left out in silence."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the values, or say which fields are at fault."""
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            strangers = [str(name) for name in data if name not in known | NOT_OURS]
            if strangers:
                raise serializers.ValidationError(
                    {
                        name[:100]: [
                            serializers.ErrorDetail(
                                f"There is no such field to set; there are {', '.join(sorted(known))}.", "unknown_field"
                            )
                        ]
                        for name in strangers[:20]
                    }
                )
        return super().to_internal_value(data)


class EnumField(serializers.ChoiceField):
    """A word of a closed set; described once in the schema, under the name of the set."""

    def __init__(self, enum: type[TextChoices], **options: Any) -> None:
        self.enum = enum
        words = ", ".join(enum.values)
        options.setdefault("error_messages", {})["invalid_choice"] = f"Must be one of {words}."
        super().__init__(choices=enum.choices, **options)


class PriorityField(serializers.ChoiceField):
    """A priority by its word."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=[(each.name.lower(), each.label) for each in Priority], **options)

    def to_internal_value(self, data: Any) -> Any:
        """Return the priority."""
        return Priority[str(super().to_internal_value(data)).upper()]

    def to_representation(self, value: Any) -> str:
        """Return the word."""
        return Priority(value).name.lower()


class NumberField(serializers.FloatField):
    """A finite number."""

    default_error_messages = {"not_finite": "Must be a finite number."}

    def to_internal_value(self, data: Any) -> float:
        """Return the number."""
        try:
            number = super().to_internal_value(data)
        except OverflowError:
            self.fail("not_finite")
        if not math.isfinite(number):
            self.fail("not_finite")
        return number


@extend_schema_field({"type": ["string", "null"]})
class KnownText(serializers.CharField):
    """Text that is null where nothing is known."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: Any) -> Any:
        """Present an empty text as null."""
        return value or None


class TagsField(serializers.ListField):
    """Tags: a list in JSON; in a form the field ``tags`` several times, or once with commas."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=serializers.CharField(max_length=MAX_TAG), max_length=MAX_TAGS, **options)

    def get_value(self, dictionary: Any) -> Any:
        """Find the tags in a form or a document."""
        found = super().get_value(dictionary)
        if html.is_html_input(dictionary) and isinstance(found, list):
            return [tag for item in found for tag in str(item).split(",") if tag.strip()] or empty
        return found

    def to_internal_value(self, data: Any) -> list[str]:
        """Return each tag once, in the order given."""
        return list(dict.fromkeys(super().to_internal_value(data)))


def options_schema() -> dict[str, Any]:
    """Describe the options of an optimization, from the engine's own rules."""
    usual = OptimizeOptions()
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _option_schema(rule) | {"default": _plain(getattr(usual, name)), "description": _told(rule)}
            for name, rule in option_rules().items()
        },
    }


def _option_schema(rule: OptionRule) -> dict[str, Any]:
    if rule.kind == "names":
        items = {"type": "string", "minLength": 1, "maxLength": MAX_LAYER_NAME}
        return {"type": "array", "items": items, "maxItems": MAX_LAYERS}
    if rule.kind == "choice":
        whole = all(isinstance(choice, int) for choice in rule.choices)
        return {"type": "integer" if whole else "string", "enum": list(rule.choices)}
    kind: str | list[str] = [rule.kind, "null"] if rule.optional else rule.kind
    if rule.kind == "boolean":
        return {"type": kind}
    return {"type": kind, "minimum": rule.low, "maximum": rule.high}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _told(rule: OptionRule) -> str:
    return f"{rule.help} null: the engine decides." if rule.optional else rule.help


@extend_schema_field(options_schema())
class OptionsField(serializers.DictField):
    """Named options. Which there are, the engine knows; here they are only held to what the database can keep."""

    default_error_messages = {
        "too_many": f"At most {MAX_OPTIONS} options are read.",
        "too_large": f"At most {MAX_OPTION_VALUES} values are read in all.",
        "not_json": "Holds text or a number that cannot be stored.",
    }

    def to_internal_value(self, data: Any) -> dict[Any, Any]:
        """Return the options."""
        options = super().to_internal_value(data)
        if len(options) > MAX_OPTIONS:
            self.fail("too_many")
        for count, value in enumerate(_leaves(options)):
            if count >= MAX_OPTION_VALUES:
                self.fail("too_large")
            if not _storable(value):
                self.fail("not_json")
        return options


def _leaves(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            yield from item.keys()
            waiting.extend(item.values())
        elif isinstance(item, list):
            yield len(item)
            waiting.extend(item)
        else:
            yield item


def _storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, int):
        return abs(value) <= MAX_WHOLE
    return not isinstance(value, float) or math.isfinite(value)


@extend_schema_field(
    {
        "type": ["object", "null"],
        "required": ["code", "detail", "fix"],
        "properties": {
            "code": {
                "type": "string",
                "description": "A stable code; see /docs/errors/.",
                "examples": ["parity_failed"],
            },
            "detail": {"type": "string", "description": "What happened."},
            "fix": {"type": "string", "description": "What to do about it."},
            "details": {"type": "object", "additionalProperties": True, "description": "Facts for programs."},
        },
    }
)
class FailureField(serializers.JSONField):
    """Why something failed, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: Any) -> Any:
        """Present the parts that are promised, whatever else the row keeps."""
        shown = {name: str(value.get(name, "")) for name in ("code", "detail", "fix")}
        return shown | {"details": value["details"]} if value.get("details") else shown
