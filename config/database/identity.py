"""Who acts on the default connection: typed doors to what :mod:`config.database.backend.base` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from django.db import connection
from django_tenants.utils import schema_context

from config.database.backend.base import SYSTEM, USER_ROLE, DatabaseWrapper, Identity


def current() -> DatabaseWrapper:
    """Return this thread's default connection."""
    return cast(DatabaseWrapper, connection)


@contextmanager
def acting_as_system() -> Iterator[None]:
    """Act with the rights of the studio itself: reaper, sign-in, admin."""
    with current().acting(SYSTEM):
        yield


@contextmanager
def acting_as_user(user_id: UUID | None) -> Iterator[None]:
    """Act for one user."""
    with current().acting(Identity(USER_ROLE, "" if user_id is None else str(user_id))):
        yield


@contextmanager
def workspace_as_system(schema_name: str) -> Iterator[None]:
    """Enter a workspace's schema with the rights of the studio itself."""
    with schema_context(schema_name), acting_as_system():
        yield
