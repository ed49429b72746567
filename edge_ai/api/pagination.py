"""Lists by keyset: each page begins where the last one ended, so that the hundredth costs what the first one does.

The position is the row's values in every column of the order, the id last, so rows of equal value are neither lost nor
shown twice, and rows that come and go meanwhile shift nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db.models import F, Model, Q
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import refuse

SALT = "edge_ai.api.pagination"
DEFAULT_SIZE = 50
MAX_SIZE = 200
MAX_KEYS = 3
#: Query parameters that every list understands.
PARAMETERS = ("cursor", "page_size", "ordering")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A column of the order. Rows without a value come last, whichever way the column runs."""

    name: str
    descending: bool
    nullable: bool

    def clause(self, *, backwards: bool) -> Any:
        """Return what ``order_by`` takes."""
        descending = self.descending != backwards
        if not self.nullable:
            return f"-{self.name}" if descending else self.name
        nulls = {"nulls_first": True} if backwards else {"nulls_last": True}
        return F(self.name).desc(**nulls) if descending else F(self.name).asc(**nulls)

    def equal(self, value: Any) -> Q:
        """Rows at the position, in this column."""
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})

    def beyond(self, value: Any, *, backwards: bool) -> Q | None:
        """Rows after the position (before it, going backwards), in this column; ``None`` when there can be none."""
        if value is None:
            return Q(**{f"{self.name}__isnull": False}) if backwards else None
        comparison = "lt" if self.descending != backwards else "gt"
        past = Q(**{f"{self.name}__{comparison}": value})
        return past | Q(**{f"{self.name}__isnull": True}) if self.nullable and not backwards else past

    def bound(self, value: Any, *, backwards: bool) -> Q:
        """A plain limit that an index can begin at; says no more than the whole condition does."""
        if self.nullable:
            return Q()
        comparison = "lte" if self.descending != backwards else "gte"
        return Q(**{f"{self.name}__{comparison}": value})


class StudioCursorPagination(BasePagination):
    """Pages of a list view, in one of the orders that the view's ``ordering_fields`` allow."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Return one page; one more row than the page holds is read to know whether another one follows."""
        self.request = request
        size = _page_size(request)
        ordering = request.query_params.get("ordering") or ",".join(view.ordering)
        self.ordering = ordering
        self.keys = _keys(ordering, queryset.model, view.ordering_fields)
        backwards, position = self._position(queryset.model)
        queryset = queryset.order_by(*(key.clause(backwards=backwards) for key in self.keys))
        if position is not None:
            queryset = queryset.filter(_beyond(self.keys, position, backwards=backwards))
        rows = list(queryset[: size + 1])
        more, rows = len(rows) > size, rows[:size]
        if backwards:
            rows.reverse()
        self.next = self._link(rows[-1], "next") if rows and (more or backwards) else None
        earlier = more if backwards else position is not None
        self.previous = self._link(rows[0], "previous") if rows and earlier else None
        if not rows and position is not None:
            # What followed is gone: the way back is to begin anew.
            self.previous = remove_query_param(request.build_absolute_uri(), "cursor") if not backwards else None
            self.next = remove_query_param(request.build_absolute_uri(), "cursor") if backwards else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        """Wrap a page."""
        return Response({"next": self.next, "previous": self.previous, "results": data})

    def get_results(self, data: dict[str, Any]) -> Any:
        """Unwrap it."""
        return data["results"]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "The next page, or null on the last one."},
                "previous": {**link, "description": "The page before, or null on the first one."},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the query parameters."""
        fields = [*view.ordering_fields, *(f"-{name}" for name in view.ordering_fields)]
        return [
            _parameter("cursor", {"type": "string"}, "From the links `next` and `previous`; never made by hand."),
            _parameter(
                "page_size",
                {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE},
                "How many results one page holds.",
            ),
            _parameter(
                "ordering",
                {"type": "string", "default": ",".join(view.ordering), "examples": fields[:1]},
                f"Up to {MAX_KEYS} of {', '.join(view.ordering_fields)}, separated by commas; a minus turns one around.",
            ),
        ]

    def _position(self, model: type[Model]) -> tuple[bool, list[Any] | None]:
        token = self.request.query_params.get("cursor")
        if not token:
            return False, None
        try:
            direction, ordering, values = signing.loads(token, salt=SALT)
        except (signing.BadSignature, ValueError, TypeError):
            raise _bad_cursor("The cursor is not one that this studio made.") from None
        if ordering != self.ordering:
            raise _bad_cursor("The cursor belongs to another order.")
        fields = [model._meta.get_field(key.name) for key in self.keys]
        return direction == "previous", [
            None if value is None else field.to_python(value)  # type: ignore[union-attr]  # columns, never relations
            for field, value in zip(fields, values, strict=True)
        ]

    def _link(self, row: Model, direction: str) -> str:
        values = []
        for key in self.keys:
            field: Any = row._meta.get_field(key.name)
            values.append(None if getattr(row, key.name) is None else field.value_to_string(row))
        token = signing.dumps([direction, self.ordering, values], salt=SALT, compress=True)
        return replace_query_param(self.request.build_absolute_uri(), "cursor", token)


def _page_size(request: Request) -> int:
    given = request.query_params.get("page_size")
    if given is None:
        return DEFAULT_SIZE
    if not given.isascii() or not given.isdigit() or len(given) > len(str(MAX_SIZE)) or not 1 <= int(given) <= MAX_SIZE:
        raise refuse(
            "page_size", f"page_size must be a whole number from 1 to {MAX_SIZE}.", "Ask for the rest by `next`."
        )
    return int(given)


def _keys(ordering: str, model: type[Model], allowed: Sequence[str]) -> tuple[Key, ...]:
    names = [name.strip() for name in ordering.split(",")]
    plain = [name.removeprefix("-") for name in names]
    if len(names) > MAX_KEYS or len(set(plain)) < len(plain) or not set(plain) <= set(allowed):
        raise refuse(
            "ordering",
            f"ordering takes up to {MAX_KEYS} different fields of {', '.join(allowed)}.",
            "Separate them by commas; a minus in front turns one around.",
        )
    if "id" not in plain:
        names.append("id")
    return tuple(
        Key(
            name=name.removeprefix("-"),
            descending=name.startswith("-"),
            nullable=bool(model._meta.get_field(name.removeprefix("-")).null),
        )
        for name in names
    )


def _beyond(keys: Sequence[Key], position: Sequence[Any], *, backwards: bool) -> Q:
    """Return the rows past a position: past it in the first column, or equal there and past it in the second, …"""
    found = Q(pk__in=[])
    equal = Q()
    for key, value in zip(keys, position, strict=True):
        past = key.beyond(value, backwards=backwards)
        if past is not None:
            found |= equal & past
        equal &= key.equal(value)
    return keys[0].bound(position[0], backwards=backwards) & found


def _bad_cursor(reason: str) -> UserInputError:
    return refuse("cursor", reason, "Begin again without a cursor.")


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
