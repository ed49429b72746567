"""The options of an optimization, as the description of the API tells them."""

from __future__ import annotations

from typing import Any

import pytest

from edge_ai.api.schema import description
from edge_ai.engine.errors import EngineError
from edge_ai.engine.options import OptimizeOptions, OptionRule, option_rules

RULES = option_rules()


def described() -> dict[str, Any]:
    """The options in the request of an optimization."""
    schema = description()["components"]["schemas"]["OptimizationJobRequest"]["properties"]["options"]
    assert schema["additionalProperties"] is False
    found: dict[str, Any] = schema["properties"]
    return found


def test_every_option_is_described_with_what_it_is_when_nothing_is_said() -> None:
    assert list(described()) == list(RULES)
    usual = OptimizeOptions()
    for name, schema in described().items():
        default = getattr(usual, name)
        assert schema["default"] == (list(default) if isinstance(default, tuple) else default)
        assert schema["description"].startswith(RULES[name].help)


@pytest.mark.parametrize("name", RULES)
def test_what_the_description_allows_is_what_the_engine_takes(name: str) -> None:
    rule, schema = RULES[name], described()[name]
    for value in allowed(schema):
        OptimizeOptions.read({name: value})
    for value in forbidden(rule, schema):
        with pytest.raises(EngineError) as caught:
            OptimizeOptions.read({name: value})
        assert caught.value.field == f"options.{name}"


def allowed(schema: dict[str, Any]) -> list[Any]:
    """Values at the edges of what is described."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    found: list[Any] = [schema["default"]]
    if "enum" in schema:
        found += schema["enum"]
    elif "minimum" in schema:
        found += [schema["minimum"], schema["maximum"]]
    elif "array" in kinds:
        found += [["a"] * schema["maxItems"], ["a" * schema["items"]["maxLength"]]]
    else:
        found += [True, False]
    return found + ([None] if "null" in kinds else [])


def forbidden(rule: OptionRule, schema: dict[str, Any]) -> list[Any]:
    """Values just beyond them."""
    found: list[Any] = [{}] if rule.optional else [{}, None]
    if "enum" in schema:
        return [*found, "no such word", 3]
    if "minimum" in schema:
        return [*found, schema["minimum"] - 1, schema["maximum"] + 1, "1"]
    if rule.kind == "names":
        return [*found, ["a"] * (schema["maxItems"] + 1), ["a" * (schema["items"]["maxLength"] + 1)], [""], "a"]
    return [*found, 1, "true"]
