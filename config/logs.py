"""What the log looks like: a line or a JSON object for each entry, with who and what it is about, and without secrets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger

HIDDEN = "[hidden]"
#: What an entry is about.
FACTS = ("request_id", "workspace", "user", "job")
_facts: ContextVar[Mapping[str, str]] = ContextVar("facts", default={})  # noqa: B039 - never changed in place

_NAMES = (
    r"authorization|proxy-authorization|cookie|set-cookie|x-csrftoken|csrfmiddlewaretoken|csrftoken|sessionid|"
    r"password\d?|passwd|pwd|passphrase|secret(?:[_-]?(?:access[_-]?)?key)?|api[_-]?key|access[_-]?key(?:[_-]?id)?|"
    r"(?:access|refresh|auth|invitation|share)?[_-]?token|webhook-signature|otp|recovery[_-]?codes?"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # A key of ours stays recognisable by its beginning.
    (re.compile(r"\b(eas_[a-z2-7]{8}_)[A-Za-z0-9_-]{20,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), f"whsec_{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic|Token)\s+[A-Za-z0-9._~+/=-]{6,}", re.I), rf"\1 {HIDDEN}"),
    (re.compile(r"\bv1a?,[A-Za-z0-9+/=]{16,}"), f"v1,{HIDDEN}"),
    # Whatever a name of a secret is followed by, in a header, a form, an address, JSON or Python's own words.
    (
        re.compile(rf"(?<![A-Za-z])({_NAMES})(['\"]?\s*[:=]\s*)(\[?\(?b?)(\"[^\"]*\"|'[^']*'|[^\s,;&'\")}}\]]+)", re.I),
        rf"\1\2\3{HIDDEN}",
    ),
    (re.compile(r"\b((?:set-)?cookie)(['\"]?\s*[:=]\s*)[^\r\n]*", re.I), rf"\1\2{HIDDEN}"),
    (
        re.compile(
            r"\b(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|sig)=[^&\s\"']+", re.I
        ),
        rf"\1={HIDDEN}",
    ),
    # Links that open something for whoever has them: signed files, shared comparisons, invitations, links from mails.
    (re.compile(r"(/(?:files|graph/model|shared|invitations|confirm-email|reset/key)/)[^/\s\"'?]{6,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(\w{1,20}://[^\s/:@]{0,200}:)[^\s@/]+@"), rf"\1{HIDDEN}@"),
    # Bytes in an error's words are a file's.
    (re.compile(r"\bb('[^']{24,}'|\"[^\"]{24,}\")"), f"b'{HIDDEN}'"),
)


def scrub(text: str) -> str:
    """Return a text without keys, passwords, cookies, signatures, and bytes of files."""
    for rule, instead in _RULES:
        text = rule.sub(instead, text)
    return text


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Say what entries inside the block are about: ``workspace``, ``user``, ``job``."""
    token = _facts.set({**_facts.get(), **{name: str(value) for name, value in facts.items() if value}})
    try:
        yield
    finally:
        _facts.reset(token)


def facts_of(record: logging.LogRecord) -> dict[str, str]:
    """Return what an entry is about, as far as that is known."""
    from config.middleware import current_request_id

    found = {"request_id": current_request_id(), **_facts.get()}
    # Django writes of an answer when the request is over.
    request: Any = getattr(record, "request", None)
    if request is not None:
        found["request_id"] = getattr(request, "request_id", found["request_id"])
        workspace, user = getattr(request, "workspace", None), getattr(request, "_cached_user", None)
        if workspace is not None:
            found["workspace"] = workspace.slug
        if user is not None and user.pk:
            found["user"] = str(user.pk)
    return {name: found[name] for name in FACTS if found.get(name, "-") != "-"}


class FactsFilter(logging.Filter):
    """Put what it is about on every entry."""

    def filter(self, record: logging.LogRecord) -> bool:
        facts = facts_of(record)
        record.facts = facts
        record.request_id = facts.get("request_id", "-")
        return True


class TextFormatter(logging.Formatter):
    """A line, for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Write an entry."""
        if not hasattr(record, "request_id"):
            FactsFilter().filter(record)
        return scrub(super().format(record))


class JsonFormatter(logging.Formatter):
    """A JSON object on a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """Write an entry."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **(getattr(record, "facts", None) or facts_of(record)),
            "process": record.process,
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = record.exc_info[0].__name__
            entry["traceback"] = scrub(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = scrub(self.formatStack(record.stack_info))
        return json.dumps(entry, ensure_ascii=False)


def formatter(kind: str) -> logging.Formatter:
    """Return what writes entries, by the word in ``STUDIO_LOG_FORMAT``."""
    return JsonFormatter() if kind == "json" else TextFormatter()


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn has no type information
    """The web server's own words, written as all others are."""

    def setup(self, cfg: Any) -> None:
        """Set its handlers up."""
        super().setup(cfg)
        from config import settings

        for handler in self.error_log.handlers:
            handler.setFormatter(formatter(settings.LOG_FORMAT))
