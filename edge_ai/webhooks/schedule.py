"""When a delivery that failed is tried again. Pure functions."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: Waits before each attempt, about three days in all.
WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (0, 5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
#: By how much a wait differs from its nominal length, so that what failed together is not tried again together.
JITTER = 0.1
LONGEST_WAIT = timedelta(hours=24)
#: An endpoint is disabled when it fails for so long without a success.
DISABLED_AFTER = timedelta(days=5)


def wait_after(attempts: int, *, asked: timedelta | None = None) -> timedelta | None:
    """Return how long to wait after so many failed attempts; ``None``: enough is enough.

    Parameters
    ----------
    attempts
        Made so far in this schedule, at least 1.
    asked
        What the receiver asked for by ``Retry-After``. It makes a wait longer, up to a day, and never shorter.
    """
    if attempts >= len(WAITS):
        return None
    wait = WAITS[attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
    return wait if asked is None else max(wait, min(asked, LONGEST_WAIT))


def retry_after(header: str | None, *, now: datetime) -> timedelta | None:
    """Read ``Retry-After``: seconds or a date. What cannot be read, and what lies in the past, is nothing."""
    text = (header or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(moment - now, LONGEST_WAIT) if moment > now else None
