"""What a job's engine says, on its way into the job's story: bounded, free of secrets, and written a batch at a time."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from edge_ai.models import EventKind, JobEvent

log = logging.getLogger(__name__)

#: Lines of one attempt, of each kind, that are kept. An honest job writes a few dozen.
MAX_LINES: Mapping[EventKind, int] = {EventKind.STAGE: 1000, EventKind.LOG: 1000}
MAX_MESSAGE = 1000
#: While the database is away, so many lines wait for it.
MAX_UNWRITTEN = 500
HIDDEN = "[hidden]"
#: Settings whose values are secrets. Where one is a mapping, everything in it that is called like a secret.
SECRETS = (
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "DATABASES",
    "DATABASE_OWNER_PASSWORD",
    "DATABASE_WEB_PASSWORD",
    "STORAGES",
    "BLOB_STORAGES",
    "SENTRY_DSN",
    "EMAIL_HOST_PASSWORD",
    "IMPORT_S3_SECRET_ACCESS_KEY",
)
CALLED_SECRET = re.compile(r"pass|secret|token|key|dsn", re.IGNORECASE)
#: Anything that looks like a key of ours, a webhook's secret, a bearer token, or an address with a password in it.
LOOKS_SECRET = re.compile(
    r"eas_[0-9A-Za-z]{8}_[\w-]+|whsec_[\w+/=-]+|(?i:bearer)\s+[\w.~+/=-]{8,}|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"
)
SHORTEST_SECRET = 6
#: Terminals obey these; a log is for reading.
UNREADABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")


class Story:
    """Lines of one attempt's engine, for its job's story. Not responsible for changes of status.

    Parameters
    ----------
    folder
        Where the engine works; in what it says, this becomes ``…``.
    """

    def __init__(self, job_id: uuid.UUID, *, attempt: int, folder: str) -> None:
        self._job_id = job_id
        self._attempt = attempt
        self._left = dict(MAX_LINES)
        self._unwritten: list[JobEvent] = []
        hidden = {secret for secret in secrets_of_settings() if len(secret) >= SHORTEST_SECRET}
        self._secrets = re.compile(
            "|".join(re.escape(each) for each in sorted(hidden, key=len, reverse=True)) or r"\A\B"
        )
        self._folder = folder

    def stage(self, stage: str, progress: int, message: str) -> None:
        """Tell that a stage began or came further."""
        self._add(EventKind.STAGE, message=message, stage=stage, progress=progress)

    def log(self, level: str, message: str) -> None:
        """Tell what the engine or a library of its said; ``debug`` is library output."""
        self._add(EventKind.LOG, message=message, level=level)

    def clean(self, text: str) -> str:
        """Return a text without secrets, paths of this host and what is not for reading."""
        text = self._secrets.sub(HIDDEN, UNREADABLE.sub("", text))
        return LOOKS_SECRET.sub(HIDDEN, text).replace(self._folder, "…")

    def write(self) -> None:
        """Write what was added. While the database is away it is kept, and written by a later call."""
        if not self._unwritten:
            return
        try:
            JobEvent.objects.bulk_create(self._unwritten)
        except (OperationalError, InterfaceError):
            log.warning("The story of job %s waits for the database.", self._job_id)
            connection.close()
            del self._unwritten[:-MAX_UNWRITTEN]
            return
        self._unwritten = []

    def close(self) -> None:
        """Write the rest; what cannot be written now is lost."""
        try:
            self.write()
        except DatabaseError:
            log.warning("The end of the story of job %s was not written.", self._job_id, exc_info=True)

    def _add(self, kind: EventKind, *, message: str, **fields: Any) -> None:
        left = self._left[kind]
        self._left[kind] = left - 1
        if left < 0:
            return
        if left == 0:
            kind, fields = EventKind.LOG, {"level": "warning"}
            message = "It says more than is kept; the rest is left out."
        self._unwritten.append(
            JobEvent(
                job_id=self._job_id,
                kind=kind,
                attempt=self._attempt,
                message=self.clean(message)[:MAX_MESSAGE],
                **fields,
            )
        )


def secrets_of_settings() -> Iterator[str]:
    """Return every value of the settings that nobody may read in a job's log."""
    for name in SECRETS:
        yield from _secrets_in(getattr(settings, name, None), named=True)


def _secrets_in(value: Any, *, named: bool) -> Iterator[str]:
    if isinstance(value, str):
        if named and value:
            yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets_in(item, named=bool(CALLED_SECRET.search(str(name))))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_in(item, named=named)
