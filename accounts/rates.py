"""How often each key, and each person in a browser, may use the API: counted in the database, so over all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse

from config.errors import error_response, is_api
from edge_ai.engine.errors import UserInputError

WINDOW_SECONDS = 60
#: One statement, so that no two requests count as one. The clock is the database's.
COUNT = """
INSERT INTO public.studio_api_rate AS r (subject, holder, began, used) VALUES (%(subject)s, %(holder)s, clock_timestamp(), 1)
ON CONFLICT (subject) DO UPDATE SET
  used = CASE WHEN r.began <= clock_timestamp() - %(window)s * interval '1 second' THEN 1 ELSE r.used + 1 END,
  began = CASE WHEN r.began <= clock_timestamp() - %(window)s * interval '1 second' THEN clock_timestamp() ELSE r.began END
RETURNING used, ceil(extract(epoch FROM began + %(window)s * interval '1 second' - clock_timestamp()))
"""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far somebody is within a minute."""

    limit: int
    used: int
    reset_seconds: int

    def headers(self) -> dict[str, str]:
        """Return it as every answer tells it."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "RateLimit-Reset": str(self.reset_seconds),
        }


def count(subject: UUID, *, holder: UUID, limit: int) -> Standing:
    """Count one request of a key, or of a person, whose holder acts."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"subject": subject, "holder": holder, "window": WINDOW_SECONDS})
        used, reset = cursor.fetchone()
    return Standing(limit=limit, used=int(used), reset_seconds=max(1, min(WINDOW_SECONDS, int(reset))))


class RateLimitMiddleware:
    """Refuses what comes too often, whatever it asks of the API, and tells everybody how far they are."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        standing = self._count(request) if is_api(request) and request.user.is_authenticated else None
        if standing is None:
            return self.get_response(request)
        if standing.used > standing.limit:
            error = UserInputError(
                f"More than {standing.limit:,} requests in a minute.",
                code="rate_limited",
                fix=f"Wait {standing.reset_seconds} s, as Retry-After says, then go on.",
            )
            response = error_response(request, error)
            response["Retry-After"] = str(standing.reset_seconds)
        else:
            response = self.get_response(request)
        for name, value in standing.headers().items():
            response[name] = value
        return response

    def _count(self, request: HttpRequest) -> Standing | None:
        key: Any = getattr(request, "api_key", None)
        limit = settings.API_RATE_PER_MINUTE if key is None else key.rate
        if not limit:
            return None
        holder: Any = request.user.pk
        return count(holder if key is None else key.pk, holder=holder, limit=limit)
