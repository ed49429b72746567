"""Doing the same to several rows of a list: what is offered, the page that asks, and what is said afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts.access import MemberRequest
from accounts.models import User
from edge_ai.services.bulk import Outcome, each, note_bulk
from edge_ai.web.listing import SIZES, ListOf
from edge_ai.web.pages import page, see_other

#: No more than a page can show.
MOST = max(SIZES)
REASONS_SHOWN = 5

Refusal = Callable[[User, Any], str]


def of_a_colleague(user: User, row: Any) -> str:
    """Why a row stays as it is: it is somebody else's."""
    return "" if row.owner_id == user.pk else "it belongs to a colleague"


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that can be done to several rows.

    Parameters
    ----------
    verb, done
        What the button says, and what is said of a row that it was done to.
    act
        What does it to one row; a domain error says why not.
    refusal
        Why it will not be done to a row, in words, as far as that is known before; empty where nothing is in the way.
    consequence
        What goes with it, for the page that asks.
    """

    name: str
    verb: str
    done: str
    icon: str
    act: Callable[[User, Any], object]
    consequence: Callable[[User, Sequence[Any]], str]
    refusal: Refusal = of_a_colleague
    danger: bool = False


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """What a list offers to do to the rows that are chosen.

    Parameters
    ----------
    address
        Name of the URL that takes the choice.
    title
        What a row is called by.
    page
        Name of the URL of a row's own page; empty where it has none.
    others
        What leads to another page instead, as names and words.
    """

    of: ListOf
    address: str
    title: Callable[[Any], str]
    actions: Sequence[Action]
    page: str = ""
    others: Sequence[tuple[str, str, str]] = ()

    @property
    def url(self) -> str:
        """Where the choice is sent."""
        return reverse(self.address)


def bulk_for(request: MemberRequest, bulk: Bulk) -> Bulk | None:
    """Return what the person is offered: nothing to those who may only look."""
    return bulk if request.membership.may_write else None


def chosen_ids(request: HttpRequest) -> list[UUID]:
    """Return the ids of the rows that were chosen, each once; what is no id is passed over."""
    found = []
    for text in request.POST.getlist("row")[:MOST]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return list(dict.fromkeys(found))


def do_in_bulk(request: MemberRequest, bulk: Bulk, rows: QuerySet[Any]) -> HttpResponse:
    """Ask, naming what goes; or, when that was answered, do it and say what came of it.

    Parameters
    ----------
    rows
        Those that the person sees.
    """
    action = next((each for each in bulk.actions if each.name == request.POST.get("action")), None)
    chosen = list(rows.filter(pk__in=chosen_ids(request)))
    chosen.sort(key=lambda row: bulk.title(row).lower())
    if action is None or not chosen:
        messages.warning(request, f"Nothing was done: choose {bulk.of.many} in the list, and what to do with them.")
        return see_other(bulk.of.address)
    if request.POST.get("confirmed") == "yes":
        outcome = each(chosen, lambda row: action.act(request.user, row))
        note_bulk(request.workspace, outcome, what=action.name, rows=bulk.of.many)
        _say(request, bulk, action, outcome)
        return see_other(bulk.of.address)
    refused = {row.pk: action.refusal(request.user, row) for row in chosen}
    ready = [row for row in chosen if not refused[row.pk]]
    context = {
        "bulk": bulk,
        "action": action,
        "ready": [_named(bulk, row) for row in ready],
        "stay": [_named(bulk, row) | {"reason": refused[row.pk]} for row in chosen if refused[row.pk]],
        "counted": _counted(bulk, ready),
        "consequence": action.consequence(request.user, ready) if ready else "",
    }
    return page(request, "edge_ai/bulk_confirm.html", context)


def _named(bulk: Bulk, row: Any) -> dict[str, Any]:
    return {
        "pk": row.pk,
        "title": bulk.title(row),
        "address": reverse(bulk.page, args=[row.pk]) if bulk.page else "",
    }


def _counted(bulk: Bulk, rows: Collection[Any]) -> str:
    return f"{len(rows)} {bulk.of.one if len(rows) == 1 else bulk.of.many}"


def _say(request: HttpRequest, bulk: Bulk, action: Action, outcome: Outcome[Any]) -> None:
    if outcome.done:
        one = len(outcome.done) == 1
        what = f"“{bulk.title(outcome.done[0])}” is" if one else f"{_counted(bulk, outcome.done)} are"
        messages.success(request, f"{what} {action.done}.")
    for row, error in outcome.refused[:REASONS_SHOWN]:
        messages.error(request, f"“{bulk.title(row)}” stays as it is. {error.message} {error.fix}".strip())
    rest = len(outcome.refused) - REASONS_SHOWN
    if rest > 0:
        messages.error(request, f"{rest} more {'stays' if rest == 1 else 'stay'} for reasons such as these.")
