"""The same request again: done once, and answered from what the first one came to.

Of requests with the same key that come at once, one is done while the others wait for its answer. The lock belongs to the
database session, so a killed process holds up nobody. Where the request is done in a transaction, its answer is written in
the same one: either both are there afterwards, or neither.
"""

from __future__ import annotations

import contextlib
import hmac
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import InterfaceError, OperationalError, connection, transaction

from accounts.models import User
from edge_ai.engine.errors import UserInputError
from edge_ai.models import KeptAnswer
from edge_ai.models.base import ClockTimestamp
from edge_ai.webhooks import vault

REMEMBERED = timedelta(hours=24)
#: How long a request waits for one with its key that is at it.
WAIT_SECONDS = 15.0
PAUSE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer as it is kept."""

    status: int
    headers: Mapping[str, str]
    body: str


def once(
    user: User, *, key: str, request_sha256: str, in_transaction: bool, do: Callable[[], Answer]
) -> tuple[Answer, bool]:
    """Return what ``do`` answered, now or within the last day, and whether it was now.

    Only success is kept: a refusal changed nothing, and the same request may be made again.

    Raises
    ------
    UserInputError
        ``conflict`` where the key was used for another request, or where the first is still being worked on.
    """
    with _alone(f"{connection.schema_name}:{user.pk}:{key}"):  # type: ignore[attr-defined]  # the tenant backend's
        earlier = _earlier(user, key, request_sha256)
        if earlier is not None:
            return earlier, False
        with transaction.atomic() if in_transaction else contextlib.nullcontext():
            answer = do()
            if answer.status < 400:
                kept = KeptAnswer(
                    owner=user,
                    key=key,
                    request_sha256=request_sha256,
                    status=answer.status,
                    headers=dict(answer.headers),
                    body=vault.close(answer.body),
                    created_at=ClockTimestamp(),
                )
                # In the place of one that is remembered no longer.
                KeptAnswer.objects.bulk_create(
                    [kept],
                    update_conflicts=True,
                    unique_fields=["owner", "key"],
                    update_fields=["request_sha256", "status", "headers", "body", "created_at"],
                )
        return answer, True


def forget_old() -> int:
    """Remove answers of the current workspace that are kept no longer; returns how many."""
    gone, _ = KeptAnswer.objects.filter(created_at__lt=ClockTimestamp() - REMEMBERED).delete()
    return gone


def _earlier(user: User, key: str, request_sha256: str) -> Answer | None:
    recent = KeptAnswer.objects.owned_by(user).filter(created_at__gt=ClockTimestamp() - REMEMBERED)
    kept = recent.filter(key=key).first()
    if kept is None:
        return None
    if not hmac.compare_digest(kept.request_sha256, request_sha256):
        raise UserInputError(
            "The key was used for another request less than a day ago.",
            code="conflict",
            fix="Send another Idempotency-Key, or the same request.",
        )
    try:
        return Answer(status=kept.status, headers=kept.headers, body=vault.open_(kept.body))
    except vault.SecretLostError:
        raise UserInputError(
            "The request was made before, but its answer can no longer be read.",
            code="conflict",
            fix="Look at what it made, then decide.",
        ) from None


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    until = time.monotonic() + WAIT_SECONDS
    while not _lock("pg_try_advisory_lock", name):
        if time.monotonic() > until:
            raise UserInputError(
                "A request with this key is still being worked on.", code="conflict", fix="Ask again in a moment."
            )
        time.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        # A connection that broke has let go already.
        with contextlib.suppress(OperationalError, InterfaceError):
            _lock("pg_advisory_unlock", name)


def _lock(function: str, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", ["edge_ai_repeat:" + name])
        return bool(cursor.fetchone()[0])
