"""Secrets of a studio that keeps house for itself: made once, kept in a file that only its owner can read."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path

FIELDS = ("secret_key", "database_owner_password", "database_web_password")


def load_or_create(data_dir: Path) -> dict[str, str]:
    """Return the secrets of ``data_dir``, making those that are missing.

    Several processes may start at once: the file is read and written under a lock, so all of them see the same values.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "secrets.json"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        content = stream.read()
        known: dict[str, str] = json.loads(content) if content else {}
        missing = [field for field in FIELDS if field not in known]
        if missing:
            known.update({field: secrets.token_urlsafe(48) for field in missing})
            stream.seek(0)
            stream.truncate()
            json.dump(known, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
    return known
