"""Secrets of endpoints, encrypted at rest. A copy of the database alone signs nothing.

Unlike a password, a signing secret must be read again, so it cannot be a hash. The key is derived from ``SECRET_KEY``;
keys in ``SECRET_KEY_FALLBACKS`` still open what was closed with them.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"edge_ai.webhooks.vault"


class SecretLostError(Exception):
    """The secret was encrypted with a key that is not known any more."""


def close(secret: str) -> str:
    """Encrypt a secret with the present key."""
    return _box().encrypt(secret.encode()).decode()


def open_(closed: str) -> str:
    """Decrypt a secret.

    Raises
    ------
    SecretLostError
        When neither ``SECRET_KEY`` nor a fallback closed it.
    """
    try:
        return _box().decrypt(closed.encode()).decode()
    except InvalidToken:
        raise SecretLostError from None


def _box() -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _derived(key: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(key.encode())
    return base64.urlsafe_b64encode(derived)
