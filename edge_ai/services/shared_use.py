"""Deleting what a colleague uses without one's knowing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError

from edge_ai.engine.errors import UserInputError


@contextmanager
def refusing_what_others_use(name: str) -> Iterator[None]:
    """Turn the database's objection into a conflict.

    A colleague's private job may refer to a row that was shared. Row level security hides that job, so only the foreign
    key, checked when the transaction commits, knows of it.

    Raises
    ------
    UserInputError
        ``conflict``.
    """
    try:
        yield
    except IntegrityError as error:
        raise UserInputError(
            f"“{name}” is used by a colleague's job.",
            code="conflict",
            fix="Make it private instead, or ask your colleagues to delete their jobs on it.",
        ) from error
