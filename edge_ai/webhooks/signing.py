"""Signatures after the Standard Webhooks specification, which libraries of many languages verify."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """Make a secret, as receivers get it: ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, timestamp: int, body: bytes, *, keys: Iterable[str]) -> dict[str, str]:
    """Return the headers that prove a message's origin.

    Parameters
    ----------
    message_id
        The same at every attempt, so that a receiver knows a repetition.
    timestamp
        Of this attempt, in seconds since 1970, so that a receiver can refuse an old one sent again by a stranger.
    keys
        Secrets, each of which makes a signature; a receiver accepts the message when one of them is right.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(message_id, timestamp, body, key=key) for key in keys),
    }


def sign(message_id: str, timestamp: int, body: bytes, *, key: str) -> str:
    """Return one signature: ``v1,`` and the base64 of HMAC-SHA256 over id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()
