"""Recipes: all that it takes to make a variant again, as text that people can read and programs can follow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import yaml

from edge_ai.engine import shallow
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.installed import versions_of
from edge_ai.engine.options import OptimizeOptions, refuse
from edge_ai.engine.spec import MAX_OPTIONS, Format, OptimizationLevel, Precision

RECIPE_VERSION: Final = 1

MAX_RECIPE_CHARACTERS: Final = 512 << 10
"""A recipe lists steps and layers, never weights."""

MAX_VERSIONS: Final = 100
_MAX_NESTED: Final = 50

REQUEST: Final[Mapping[str, type[StrEnum]]] = {
    "source_format": Format,
    "target_format": Format,
    "precision": Precision,
    "optimization_level": OptimizationLevel,
}
HASHES: Final = ("source_sha256", "dataset_sha256", "variant_sha256")

_NEEDED: Final = ("recipe_version", "request", "options")
_KNOWN: Final = (*_NEEDED, "route", "steps", "versions", "hashes")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DISTRIBUTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FIX: Final = "Give the recipe as it came with a variant, or mend the field."


def to_json(recipe: Mapping[str, Any]) -> str:
    """Return a recipe as JSON; the same recipe gives the same text.

    Raises
    ------
    ValueError, TypeError
        For what JSON cannot say.
    """
    return json.dumps(recipe, indent=1, sort_keys=True, allow_nan=False) + "\n"


def to_yaml(recipe: Mapping[str, Any]) -> str:
    """Return a recipe as YAML; the same recipe gives the same text."""
    plain = json.loads(to_json(recipe))
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=True, width=120, default_flow_style=False)
    return text


def read_recipe(text: str) -> dict[str, Any]:
    """Read a recipe in JSON or YAML, and refuse whatever would not be followed as it stands.

    Returns
    -------
    dict
        With ``recipe_version``, ``request``, ``options``, ``route``, ``steps``, ``versions`` and ``hashes``; a hash that is not
        told is ``None``.

    Raises
    ------
    UserInputError
        ``invalid_request``, naming the field: not a recipe, of a version that is not known, with fields or options that
        are not known or of the wrong kind.
    """
    if len(text) > MAX_RECIPE_CHARACTERS:
        raise refuse(
            "recipe", f"The recipe is longer than {MAX_RECIPE_CHARACTERS:,} characters.", "Give the recipe alone."
        )
    data = _parse(text)
    _check_version(data)
    _only(data, _KNOWN, "recipe")
    _needed(data, _NEEDED, "recipe")
    options = _mapping(data, "options")
    if len(options) > MAX_OPTIONS:
        raise refuse("recipe.options", f"There are more than {MAX_OPTIONS} options.", _FIX)
    OptimizeOptions.read(options)
    return {
        "recipe_version": RECIPE_VERSION,
        "request": _read_request(_mapping(data, "request")),
        "options": dict(options),
        "route": _read_route(data.get("route", [])),
        "steps": _read_steps(data.get("steps", [])),
        "versions": _read_versions(_mapping(data, "versions")),
        "hashes": _read_hashes(_mapping(data, "hashes")),
    }


def spec_fields(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe says of :class:`~edge_ai.engine.spec.OptimizeSpec`: all but the paths."""
    return {name: enum(recipe["request"][name]) for name, enum in REQUEST.items()} | {
        "options": dict(recipe["options"])
    }


def differences(recipe: Mapping[str, Any], versions_now: Mapping[str, str] | None = None) -> list[str]:
    """Say which libraries have another version than the one that a recipe was made with.

    Parameters
    ----------
    recipe
        As :func:`read_recipe` returns it.
    versions_now
        By the names of distributions; those that are installed here where it is not given.

    Returns
    -------
    list of str
        A sentence for each, in the order of their names; with the same source, options and versions, a variant has the same
        bytes where its libraries allow that.
    """
    recorded: Mapping[str, str] = recipe["versions"]
    now = versions_of(recorded) if versions_now is None else versions_now
    found = []
    for name in sorted(recorded):
        here = now.get(name)
        if here is None:
            found.append(f"The recipe was made with {name} {recorded[name]}, which is not installed here.")
        elif here != recorded[name]:
            found.append(f"The recipe was made with {name} {recorded[name]}; here it is {here}.")
    return found


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice: aliases are hard to read, and are refused when a recipe is read."""

    def ignore_aliases(self, data: object) -> bool:
        return True


class _Loader(yaml.SafeLoader):
    """Reads plain data; no aliases, which can make a short text endless, no key twice, and nothing nested absurdly deep."""

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        # The scanner looks at every open bracket for each token: 20,000 take it half a minute.
        if self.flow_level >= _MAX_NESTED:
            raise yaml.YAMLError("it is nested too deep")
        super().fetch_flow_collection_start(token_class)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(map(str, keys))):
            raise yaml.YAMLError("a key occurs twice")
        return super().construct_mapping(node, deep=deep)


def _parse(text: str) -> dict[str, Any]:
    try:
        if text.lstrip().startswith("{"):
            data = shallow.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        else:
            data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader that accepts less
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        reason = next(iter(str(error).strip().splitlines()), "")[:120]
        raise refuse("recipe", f"The recipe is neither JSON nor YAML: {reason}.", _FIX) from None
    if not isinstance(data, dict):
        raise refuse("recipe", "The text is no recipe: it has no fields.", _FIX)
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check_version(data: Mapping[str, Any]) -> None:
    if "recipe_version" not in data:
        raise refuse("recipe.recipe_version", "The text is no recipe: it does not say its version.", _FIX)
    given = data["recipe_version"]
    if isinstance(given, bool) or given != RECIPE_VERSION:
        raise refuse(
            "recipe.recipe_version",
            f"The recipe has version {str(given)[:20]}; only version {RECIPE_VERSION} is known here.",
            "Use the release that made it, or make the variant anew.",
        )


def _only(data: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    for name in data:
        if name not in known:
            raise refuse(
                f"{where}.{str(name)[:60]}",
                f"{str(name)[:60]!r} is no field of a recipe here; there are {', '.join(known)}.",
                "Leave it out.",
            )


def _needed(data: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in names:
        if name not in data:
            raise refuse(f"{where}.{name}", f"The recipe does not say {name}.", _FIX)


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise refuse(f"recipe.{name}", f"{name} must be fields with values.", _FIX)
    return found


def _read_request(request: Mapping[str, Any]) -> dict[str, str]:
    _only(request, REQUEST, "recipe.request")
    _needed(request, REQUEST, "recipe.request")
    for name, enum in REQUEST.items():
        if request[name] not in list(enum):
            raise refuse(
                f"recipe.request.{name}",
                f"{name} is {str(request[name])[:40]!r}; it must be one of {', '.join(enum)}.",
                "Use one of these.",
            )
    return dict(request)


def _read_route(route: Any) -> list[str]:
    if not isinstance(route, list) or not all(isinstance(item, str) for item in route):
        raise refuse("recipe.route", "route must be a list of formats.", _FIX)
    return route


def _read_steps(steps: Any) -> list[dict[str, Any]]:
    if not isinstance(steps, list) or not all(isinstance(item, dict) for item in steps) or not _plain(steps):
        raise refuse("recipe.steps", "steps must be a list of what was done, with plain values.", _FIX)
    return steps


def _plain(value: Any) -> bool:
    """JSON can say it."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    return value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _read_versions(versions: Mapping[str, Any]) -> dict[str, str]:
    right = len(versions) <= MAX_VERSIONS and all(
        _DISTRIBUTION.fullmatch(name) and isinstance(value, str) and len(value) <= MAX_VERSIONS
        for name, value in versions.items()
    )
    if not right:
        raise _bad_versions()
    return dict(versions)


def _bad_versions() -> UserInputError:
    return refuse("recipe.versions", f"versions must be those of at most {MAX_VERSIONS} libraries, as texts.", _FIX)


def _read_hashes(hashes: Mapping[str, Any]) -> dict[str, str | None]:
    _only(hashes, HASHES, "recipe.hashes")
    for name, value in hashes.items():
        if value is not None and not (isinstance(value, str) and _SHA256.fullmatch(value)):
            raise refuse(f"recipe.hashes.{name}", f"{name} must be a SHA-256 in hexadecimal digits.", _FIX)
    return {name: hashes.get(name) for name in HASHES}
