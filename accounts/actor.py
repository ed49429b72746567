"""Who acts, and how: what the middleware found out, for whoever keeps a record of changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.http import HttpRequest


class How(models.TextChoices):
    """By which door somebody came."""

    SESSION = "session", "In the browser"
    API_KEY = "api_key", "By an API key"
    SYSTEM = "system", "The studio itself"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who is at work. The one without any fields is the studio itself: a worker, a schedule, a command."""

    how: How = How.SYSTEM
    user_id: UUID | None = None
    name: str = ""
    api_key: str = ""
    """The recognisable beginning of the key, never its secret."""
    address: str = ""


_STUDIO = Actor()
_current: ContextVar[Actor] = ContextVar("actor", default=_STUDIO)


def current_actor() -> Actor:
    """Return who this thread is working for."""
    return _current.get()


@contextmanager
def acted_by(actor: Actor) -> Iterator[None]:
    """Let what happens inside the block be this actor's doing."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)


def actor_of(request: HttpRequest) -> Actor:
    """Return who sent a request whose user and key are known already."""
    user: Any = request.user
    key: Any = getattr(request, "api_key", None)
    known = {"user_id": user.pk, "name": user.email} if user.is_authenticated else {}
    return Actor(
        how=How.SESSION if key is None else How.API_KEY,
        api_key="" if key is None else key.prefix,
        address=address_of(request),
        **known,
    )


def address_of(request: HttpRequest) -> str:
    """Return the address that a request came from: behind trusted proxies, the one that the outermost of them saw."""
    forwarded = request.headers.get("X-Forwarded-For", "").split(",") if settings.TRUST_PROXY else []
    # What stands further left was written by the client.
    seen = forwarded[-settings.PROXIES].strip() if len(forwarded) >= settings.PROXIES else ""
    return (seen or request.META.get("REMOTE_ADDR", ""))[:45]
