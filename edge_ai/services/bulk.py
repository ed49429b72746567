"""The same done to several rows, each by itself: what is refused for one is done for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.core.exceptions import ObjectDoesNotExist

from accounts.models import Workspace
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.models import AuditAction
from edge_ai.services.audit import note

R = TypeVar("R")


@dataclass(kw_only=True)
class Outcome(Generic[R]):
    """What was done, and what was refused and why."""

    done: list[R] = field(default_factory=list)
    refused: list[tuple[R, EngineError]] = field(default_factory=list)


def note_bulk(workspace: Workspace, outcome: Outcome[Any], *, what: str, rows: str) -> None:
    """Keep in the audit trail that something was done to several rows at once, and to how many."""
    told = {"what": what, "rows": rows, "done": len(outcome.done), "refused": len(outcome.refused)}
    note(AuditAction.BULK_DONE, workspace, after=told)


def each(rows: Iterable[R], act: Callable[[R], object]) -> Outcome[R]:
    """Do ``act`` to every row, in a transaction of its own."""
    outcome: Outcome[R] = Outcome()
    for row in rows:
        try:
            act(row)
        except EngineError as error:
            outcome.refused.append((row, error))
        except ObjectDoesNotExist:
            gone = UserInputError("It is gone already.", code="not_found", fix="There is nothing left to do.")
            outcome.refused.append((row, gone))
        else:
            outcome.done.append(row)
    return outcome
