"""What can go wrong, as exceptions. All of them are :class:`StudioError`; their text is fit to be shown to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StudioError(Exception):
    """Anything that kept the studio from doing what was asked."""


class NotConfigured(StudioError):
    """No address or no key was given, in none of the places where they are looked for."""


class Unreachable(StudioError):
    """The studio did not answer, and asking again did not help."""


class Refused(StudioError):
    """The studio answered with a problem (RFC 9457).

    Attributes
    ----------
    status
        The HTTP status.
    code
        The stable code, such as ``unsupported_precision``; documented under ``/docs/errors/`` of the studio.
    detail
        What happened and what to do.
    errors
        ``[{"field", "code", "detail"}]`` for each field at fault.
    request_id
        Where to look in the studio's log.
    by_studio
        Whether the studio said so itself, and not a proxy before it or whatever else has its address.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http_{status}")
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or self.title or f"The studio answered {status}.")
        self.errors: list[dict[str, Any]] = list(problem.get("errors") or [])
        self.request_id = problem.get("request_id")
        self.problem = dict(problem)
        self.by_studio = "code" in problem
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [f"{self.detail} [{self.code}]"]
        fields = [(f"{each.get('field')}: {each.get('detail')}", each.get("detail")) for each in self.errors]
        lines += [f"  {words}" for words, detail in fields if self.detail not in {words, detail}]
        if self.request_id and self.status >= 500:
            lines.append(f"  request {self.request_id}")
        return "\n".join(lines)


class NotAuthenticated(Refused):
    """The key is missing, unknown, expired or revoked."""


class NotPermitted(Refused):
    """The key or the role does not reach so far."""


class NotFound(Refused):
    """There is no such thing, or not for this key."""


class TooMany(Refused):
    """A limit or a quota is reached."""


class NoSuchName(StudioError):
    """Nothing, or more than one thing, has the name that was given."""


class AnalysisFailed(StudioError):
    """The file that was uploaded is not a model that the studio can read; ``code`` says why."""

    def __init__(self, name: str, error: Mapping[str, Any]) -> None:
        self.code = str(error.get("code") or "unknown")
        self.error = dict(error)
        super().__init__(f"“{name}”: {told(error)}")


class JobFailed(StudioError):
    """A job ended as failed or cancelled; ``code`` says why, ``job`` is the job as the studio last told it."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        error = job.get("error") or {}
        self.job = dict(job)
        self.code = str(error.get("code") or job.get("status"))
        super().__init__(f"The job {job.get('id')} is {job.get('status')}: {told(error)}")


class WaitedTooLong(StudioError):
    """The time to wait was over before the end came. Nothing is stopped by that."""


class Corrupt(StudioError):
    """What arrived is not what the studio holds: the checksums differ."""


def told(error: Mapping[str, Any]) -> str:
    """Return the words of a model's or job's ``error``: what happened, and its fix."""
    words = str(error.get("detail") or error.get("message") or "no reason was given")
    fix = error.get("fix")
    code = error.get("code")
    return words + (f" {fix}" if fix and fix not in words else "") + (f" [{code}]" if code else "")


def refusal(status: int, problem: Mapping[str, Any]) -> Refused:
    """Return the exception for a problem."""
    kinds: dict[int, type[Refused]] = {
        401: NotAuthenticated,
        402: TooMany,
        403: NotPermitted,
        404: NotFound,
        429: TooMany,
    }
    return kinds.get(status, Refused)(status, problem)
