"""Lists: search, filters, order, pages and how long they are, all through the URL, so that a view can be kept and shared.

A list says once what it can be asked for (:class:`ListOf`); :func:`listing` reads the URL by that, and what it does not
know it passes over. What a page costs does not grow with the list: it reads no rows but those it shows, and counts no
further than :attr:`ListOf.counted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import reverse

#: How many rows a page may show.
SIZES = (25, 50, 100, 200)
SEARCH_LENGTH = 200
MAX_DIGITS = 6
#: What the URL of a list says that shows everything, so that it is told from one that says nothing.
EVERYTHING = "view=all"

Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One thing that a list can be narrowed by, named after a field.

    Parameters
    ----------
    choices
        Values and words; none where the value is a date.
    every
        The words of the choice that narrows nothing.
    narrow
        What a value leaves of the rows.
    aside
        It is folded away until it is used.
    """

    name: str
    title: str
    narrow: Callable[[Any, str], Any]
    choices: Choices = ()
    every: str = ""
    aside: bool = False

    @property
    def is_date(self) -> bool:
        """The value is a day."""
        return not self.choices and not self.every

    def read(self, given: str) -> str:
        """Return the value in the URL, or an empty string for one that cannot be."""
        if not self.is_date:
            return given if any(given == value for value, _ in self.choices) else ""
        try:
            return date.fromisoformat(given).isoformat()
        except ValueError:
            return ""

    def word(self, value: str) -> str:
        """Return how a person reads a value."""
        return dict(self.choices).get(value, value)


def by_field(name: str, title: str, choices: Choices, *, every: str, column: str = "", aside: bool = False) -> Filter:
    """Narrow by equality with a column."""
    lookup = column or name
    return Filter(
        name=name,
        title=title,
        choices=choices,
        every=every,
        narrow=lambda rows, value: rows.filter(**{lookup: value}),
        aside=aside,
    )


def since_day(title: str) -> Filter:
    """Narrow to what was made on a day or later, by the clock of the studio."""
    return Filter(
        name="created_after",
        title=title,
        narrow=lambda rows, value: rows.filter(
            created_at__gte=datetime.combine(date.fromisoformat(value), time(), tzinfo=UTC)
        ),
        aside=True,
    )


@dataclass(frozen=True, kw_only=True)
class ListOf:
    """What a list can be asked for.

    Parameters
    ----------
    address
        Name of the list's URL.
    one, many
        What its rows are called.
    hint
        What is searched, in words.
    found
        The rows that hold the words searched for; without it there is no search.
    columns
        The names that the URL may sort by, and the field behind each. Rows that are equal are told apart by their key, so
        that no row is on two pages.
    default
        How it is sorted when the URL says nothing, or something that is not known.
    nullable
        Those of the columns that may be empty; such rows come last, whichever way the column runs.
    orders
        Orders to choose from by name, for lists that are no table.
    modes
        Ways to show the rows, such as cards and a table; the first is meant when the URL names none.
    counted
        Rows are counted up to this; beyond, it is said that there are more.
    """

    address: str
    one: str
    many: str
    columns: Mapping[str, str]
    default: str
    hint: str = ""
    found: Callable[[str], Q] | None = None
    filters: Sequence[Filter] = ()
    nullable: frozenset[str] = frozenset()
    orders: Choices = ()
    modes: Choices = ()
    size: int = SIZES[0]
    counted: int = 1000


@dataclass(frozen=True, kw_only=True)
class Control:
    """A filter as the page shows it."""

    filter: Filter
    value: str

    @property
    def chosen_word(self) -> str:
        """The value in words."""
        return self.filter.word(self.value)


@dataclass(kw_only=True)
class Listing:
    """One page of a list: its rows, and everything that the page says around them."""

    of: ListOf
    path: str
    search: str
    values: Mapping[str, str]
    ordering: str
    size: int
    number: int
    mode: str = ""
    rows: list[Any] = field(default_factory=list)
    more: bool = False
    count: int = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    @property
    def filtered(self) -> bool:
        """Something narrows it."""
        return bool(self.search) or any(self.values.values())

    @property
    def empty(self) -> bool:
        """There is nothing at all, not even what filters hide."""
        return not self.rows and not self.filtered

    @property
    def controls(self) -> list[Control]:
        """The filters that are in sight."""
        return [Control(filter=each, value=self.values[each.name]) for each in self.of.filters if not each.aside]

    @property
    def controls_aside(self) -> list[Control]:
        """The filters that are folded away."""
        return [Control(filter=each, value=self.values[each.name]) for each in self.of.filters if each.aside]

    @property
    def aside_used(self) -> bool:
        """One of the filters that are folded away narrows the list."""
        return any(control.value for control in self.controls_aside)

    @property
    def view(self) -> dict[str, str]:
        """What tells this view from the list as it is by default; the page's number is not part of it."""
        kept = {"search": self.search} | dict(self.values)
        kept["ordering"] = self.ordering if self.ordering != self.of.default else ""
        kept["page_size"] = str(self.size) if self.size != self.of.size else ""
        kept["view"] = self.mode
        return {name: value for name, value in kept.items() if value}

    def link(self, **changes: object) -> str:
        """Return the address of this view with some of it changed; an empty value takes it away."""
        parameters = QueryDict(mutable=True)
        merged: dict[str, object] = self.view | changes
        for name, value in merged.items():
            if value not in ("", None):
                parameters[name] = str(value)
        return f"{self.path}?{parameters.urlencode() or EVERYTHING}"

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """What narrows the list: what it is called, the value in words, and the address without it."""
        found = [("Search", f"“{self.search}”", self.link(search=""))] if self.search else []
        return found + [
            (each.title, each.word(value), self.link(**{each.name: ""}))
            for each in self.of.filters
            if (value := self.values[each.name])
        ]

    @property
    def everything(self) -> str:
        """The address that shows all rows, in this order."""
        return self.link(search="", **dict.fromkeys(self.values, ""))

    @property
    def first(self) -> int:
        """Place of the first row shown."""
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        """Place of the last row shown."""
        return self.first + len(self.rows) - 1

    @property
    def previous(self) -> str:
        """Address of the page before; empty on the first."""
        return self.link(page=self.number - 1) if self.number > 1 else ""

    @property
    def next(self) -> str:
        """Address of the page that follows; empty on the last."""
        return self.link(page=self.number + 1) if self.more else ""

    @property
    def sizes(self) -> list[tuple[int, str]]:
        """How many rows a page may show, and the addresses."""
        return [(size, self.link(page_size=size if size != self.of.size else "")) for size in SIZES]

    @property
    def other_modes(self) -> list[tuple[str, str]]:
        """The ways to show the rows that are not in use, in words, and the addresses."""
        default = self.of.modes[0][0] if self.of.modes else ""
        return [
            (words, self.link(view=mode if mode != default else ""))
            for mode, words in self.of.modes
            if mode != (self.mode or default)
        ]

    @property
    def total(self) -> str:
        """How many rows there are, in words."""
        if self.count > self.of.counted:
            return f"more than {self.of.counted:,} {self.of.many}"
        return f"{self.count:,} {self.of.one if self.count == 1 else self.of.many}"


def listing(
    request: HttpRequest, rows: QuerySet[Any], of: ListOf, *, path: str = "", keys: QuerySet[Any] | None = None
) -> Listing:
    """Return the page of a list that the URL asks for.

    Parameters
    ----------
    rows
        What the person may see, before it is narrowed.
    path
        Where the list is, for one whose address takes an id.
    keys
        Where the ids of the rows are looked for, when that is another table.
    """
    # A zero byte is what no text holds, and what PostgreSQL refuses.
    search = request.GET.get("search", "").replace("\0", "").strip()[:SEARCH_LENGTH] if of.found else ""
    values = {each.name: each.read(request.GET.get(each.name, "")) for each in of.filters}
    narrowed = rows if keys is None else keys
    if of.found is not None and search:
        narrowed = narrowed.filter(of.found(search))
    for each in of.filters:
        if values[each.name]:
            narrowed = each.narrow(narrowed, values[each.name])
    ordering = request.GET.get("ordering", "")
    if ordering.removeprefix("-") not in of.columns:
        ordering = of.default
    size = _number(request.GET.get("page_size", ""))
    mode = request.GET.get("view", "")
    shown = Listing(
        of=of,
        path=path or reverse(of.address),
        search=search,
        values=values,
        ordering=ordering,
        size=size if size in SIZES else of.size,
        number=max(1, _number(request.GET.get("page", ""))),
        mode=mode if mode in dict(of.modes[1:]) else "",
    )
    _fill(shown, rows, narrowed.order_by(_clause(of, ordering), "pk"))
    return shown


def _number(given: str) -> int:
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= MAX_DIGITS else 0


def _clause(of: ListOf, ordering: str) -> Any:
    name = ordering.removeprefix("-")
    column = F(of.columns[name])
    nulls = {"nulls_last": True} if name in of.nullable else {}
    return column.desc(**nulls) if ordering.startswith("-") else column.asc(**nulls)


def _fill(shown: Listing, rows: QuerySet[Any], ordered: QuerySet[Any]) -> None:
    """Read the page, and count; a page beyond the end is the last one that is known.

    First the ids alone, with as many before them as are counted: rows are long, and their policies ask other tables.
    """
    keys = ordered.values_list("pk", flat=True)
    start = (shown.number - 1) * shown.size
    skipped = start if start + shown.size > shown.of.counted else 0
    most = shown.of.counted + shown.size + 1
    known = list(keys[skipped : skipped + most])
    if skipped and not known:
        skipped, known = 0, list(keys[:most])
    shown.count = min(skipped + len(known), shown.of.counted + 1)
    if start >= skipped + len(known):
        shown.number = max(1, -(-shown.count // shown.size))
        start = (shown.number - 1) * shown.size
    place = start - skipped
    chosen = known[place : place + shown.size]
    shown.more = len(known) > place + shown.size
    found = {row.pk: row for row in rows.filter(pk__in=chosen)}
    # What was removed in between is not there any more.
    shown.rows = [found[key] for key in chosen if key in found]
