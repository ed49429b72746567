"""From the OpenAPI description to what the reference page shows. Pure functions of the description."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

Described = Mapping[str, Any]
VERBS = ("get", "post", "patch", "put", "delete")
JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A parameter, or a field of a shape. ``shape`` is the one that its type leads to."""

    name: str
    kind: str
    shape: str
    required: bool
    description: str
    place: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an operation may answer with."""

    status: str
    shape: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request as one types it."""

    title: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A verb at an address."""

    id: str
    verb: str
    path: str
    summary: str
    description: str
    parameters: tuple[Entry, ...]
    body: tuple[Entry, ...]
    media_type: str
    examples: tuple[Example, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """The operations on one resource."""

    name: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An object, or a closed set of words."""

    name: str
    description: str
    fields: tuple[Entry, ...]
    words: tuple[str, ...]


def sections(api: Described) -> tuple[Section, ...]:
    """Return every operation, by resource."""
    found = [
        (operation["tags"][0], _operation(api, path, verb, operation))
        for path, verbs in api["paths"].items()
        for verb, operation in verbs.items()
        if verb in VERBS
    ]
    return tuple(
        Section(name=name, operations=tuple(operation for _, operation in group))
        for name, group in groupby(found, key=lambda pair: pair[0])
    )


def shapes(api: Described) -> tuple[Shape, ...]:
    """Return every shape that bodies and answers have."""
    return tuple(
        Shape(
            name=name,
            description=marked(schema.get("description", "") if "enum" not in schema else ""),
            fields=tuple(_fields(schema)),
            words=tuple(str(word) for word in schema.get("enum", ())),
        )
        for name, schema in api["components"]["schemas"].items()
    )


def _operation(api: Described, path: str, verb: str, operation: Described) -> Operation:
    content: Described = operation.get("requestBody", {}).get("content", {})
    media_type = next(iter(content), "")
    body = _resolved(api, content[media_type]["schema"]) if content else {}
    return Operation(
        id=operation["operationId"],
        verb=verb.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=marked(operation.get("description", "")),
        parameters=tuple(
            Entry(
                name=item["name"],
                kind=kind_of(item["schema"]),
                shape=shape_of(item["schema"]),
                required=item.get("required", False),
                description=marked(_without_words(item.get("description", ""))),
                place=item["in"],
            )
            for item in operation.get("parameters", ())
        ),
        body=tuple(_fields(body)),
        media_type=media_type,
        examples=tuple(_examples(path, verb, media_type, content)),
        answers=tuple(
            Answer(
                status=status,
                shape=next((shape_of(kind.get("schema", {})) for kind in answer.get("content", {}).values()), ""),
                description=marked(answer.get("description", "")),
            )
            for status, answer in operation["responses"].items()
        ),
    )


def _examples(path: str, verb: str, media_type: str, content: Described) -> Iterator[Example]:
    for example in content.get(media_type, {}).get("examples", {}).values():
        lines = [f"curl -X {verb.upper()} $STUDIO{path}", '-H "Authorization: Bearer $KEY"']
        if media_type == JSON:
            said = json.dumps(example["value"], indent=1, ensure_ascii=False)
            lines += ['-H "Content-Type: application/json"', f"-d '{said}'"]
        elif isinstance(example["value"], str):
            lines += [f'-H "Content-Type: {media_type}"', "--data-binary @FILE"]
        else:
            for name, value in example["value"].items():
                for item in value if isinstance(value, list) else [value]:
                    lines.append(f'-F "{name}=@FILE"' if name == "file" else f'-F "{name}={item}"')
        yield Example(title=example.get("summary", ""), command=" \\\n  ".join(lines))


def _fields(schema: Described, prefix: str = "") -> Iterator[Entry]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield Entry(
            name=prefix + name,
            kind=kind_of(field),
            shape=shape_of(field),
            required=name in required,
            description=marked(_without_words(field.get("description", ""))),
        )
        yield from _fields(field, f"{prefix}{name}.")
        yield from _fields(field.get("items", {}), f"{prefix}{name}[].")


def marked(text: str) -> SafeString:
    """Return text for a page; what stands between backticks is code."""
    pieces = text.split("`")
    return format_html_join("", "{}{}{}", (_piece(place, piece) for place, piece in enumerate(pieces)))


def _piece(place: int, piece: str) -> tuple[SafeString, str, SafeString]:
    code = place % 2 == 1
    return mark_safe('<code class="num">' if code else ""), piece, mark_safe("</code>" if code else "")  # noqa: S308 - constants


def _resolved(api: Described, schema: Described) -> Described:
    name = shape_of(schema)
    found: Described = api["components"]["schemas"][name] if name else schema
    return found


def shape_of(schema: Described) -> str:
    """Return the name of the shape that a schema refers to, itself or for its items."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    for one in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        if "$ref" in one:
            return shape_of(one)
    return shape_of(schema["items"]) if "items" in schema else ""


def kind_of(schema: Described) -> str:
    """Say in words what a schema takes."""
    kinds = schema.get("type", "object" if "properties" in schema else "")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    words = schema.get("enum") or schema.get("items", {}).get("enum")
    if words:
        text = " | ".join(str(word) for word in words)
        return f"any of {text}" if "items" in schema else text
    if "items" in schema:
        inner = kind_of(schema["items"])
        names = [f"list of {inner}" if name == "array" and inner else name for name in names]
    elif schema.get("format") in {"uuid", "date-time", "uri", "binary", "email"}:
        names = [str(schema["format"]) if name == "string" else name for name in names]
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = (
        f" {low if low is not None else '…'} to {high if high is not None else '…'}"
        if (low, high) != (None, None)
        else ""
    )
    length = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return " or ".join(name for name in names if name) + bounds + length


def _without_words(text: str) -> str:
    """Leave out the list of words, which the kind already has."""
    return text.partition("\n\n* ")[0] if not text.startswith("* ") else ""
