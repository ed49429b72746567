"""Authenticator apps, passkeys and recovery codes: what allauth asks the studio, and forms in the studio's words."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base import forms as code_forms
from allauth.mfa.totp import forms as totp_forms
from allauth.mfa.webauthn import forms as key_forms
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import cache

from accounts.sign_in_forms import Wording


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no type information
    """Keeps the secrets of authenticator apps encrypted: a copy of the database alone signs nobody in."""

    error_messages = DefaultMFAAdapter.error_messages | {"incorrect_code": "The code or the key is not right."}

    def encrypt(self, text: str) -> str:
        return _box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _box().decrypt(encrypted_text.encode()).decode()

    def _get_site_name(self) -> str:
        return "Edge AI Studio"

    def generate_authenticator_name(self, user: AbstractBaseUser, type: str) -> str:
        return "Passkey"


def _box() -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _derived(key: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(f"accounts.second_factor:{key}".encode()).digest())


CODE = {"code": "Code"}


class Once:
    """Takes a code once. allauth forgets a code after one period, and takes it for three, so that clocks may differ."""

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]  # the form's beside this class
        taken = f"second-factor-code:{self.user.pk}:{code}"  # type: ignore[attr-defined]
        if not cache.add(taken, True, timeout=5 * 60):
            raise get_adapter().validation_error("incorrect_code")
        return code


class CodeForm(Once, Wording, code_forms.AuthenticateForm):  # type: ignore[misc]  # allauth has no type information
    """A code of the app, or a recovery code, at sign-in."""

    labels = CODE
    hints = {"code": "Six digits from your app, or one of your recovery codes."}


class CodeAgainForm(Once, Wording, code_forms.ReauthenticateForm):  # type: ignore[misc]  # allauth has no type information
    """The same of somebody who is signed in, before something that matters."""

    labels = CODE
    hints = CodeForm.hints


class AddAppForm(Wording, totp_forms.ActivateTOTPForm):  # type: ignore[misc]  # allauth has no type information
    """The first code of an app, which proves that it has taken the secret."""

    labels = CODE
    hints = {"code": "What the app shows now."}


class WholeCredential:
    """Refuses what no browser sends, on which the library stops."""

    def clean_credential(self) -> Any:
        try:
            return super().clean_credential()  # type: ignore[misc]  # the form's beside this class
        except (KeyError, TypeError, ValueError) as error:
            raise get_adapter().validation_error("incorrect_code") from error


class PasskeyForm(WholeCredential, key_forms.AuthenticateWebAuthnForm):  # type: ignore[misc]  # allauth has no type information
    """A passkey as the second factor."""


class PasskeyAloneForm(WholeCredential, key_forms.LoginWebAuthnForm):  # type: ignore[misc]  # allauth has no type information
    """A passkey in place of address and password."""


class PasskeyAgainForm(WholeCredential, key_forms.ReauthenticateWebAuthnForm):  # type: ignore[misc]  # allauth has no type information
    """A passkey of somebody who is signed in, before something that matters."""


class AddPasskeyForm(Wording, key_forms.AddWebAuthnForm):  # type: ignore[misc]  # allauth has no type information
    """A new passkey and what it is called."""

    labels = {"name": "Name", "passwordless": "Sign in with it alone, without the password"}
    hints = {"name": "Which device it is, such as “phone”."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["passwordless"].initial = True

    def clean(self) -> dict[str, Any]:
        try:
            return dict(super().clean() or {})
        except (KeyError, TypeError, ValueError) as error:
            raise get_adapter().validation_error("incorrect_code") from error
