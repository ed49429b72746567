"""Where allauth asks the studio: who may sign up, whose address is known, where links in mails lead."""

from __future__ import annotations

import logging
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import context as allauth_context
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.features import anybody_signs_up
from accounts.models import User
from config.database.identity import acting_as_system

log = logging.getLogger(__name__)


def ensure_address(user: User) -> None:
    """Take the address of somebody whom the operator or an invitation made known as one that has been proven.

    Who signs up himself has an address that is not, from the first moment on, and is left alone.
    """
    with acting_as_system():
        if not EmailAddress.objects.filter(user=user).exists():
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no type information
    """The studio's answers."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "account_inactive": "This account has been switched off.",
        "email_password_mismatch": "The email or the password is not right.",
        "incorrect_password": "The password is not right.",
        "enter_current_password": "The current password is not right.",
        "too_many_login_attempts": "That were too many attempts. Wait a few minutes, or reset your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return anybody_signs_up()

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        ensure_address(user)
        response: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return response

    def reauthenticate(self, user: User, password: str) -> bool:
        ensure_address(user)
        return bool(super().reauthenticate(user, password))

    def is_safe_url(self, url: str) -> bool:
        # Nowhere but here: other hosts that the studio answers to may be other workspaces'.
        request = allauth_context.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("edge_ai:overview")

    # -- mails -------------------------------------------------------------------------------------------------------
    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        return outside(request, reverse("account_confirm_email", args=[emailconfirmation.key]))

    def get_reset_password_from_key_url(self, key: str) -> str:
        uid, _, token = key.partition("-")
        address = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})
        return outside(allauth_context.request, address)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail; a mail server that fails is the operator's business, and tells nobody who has an account."""
        studio = outside(allauth_context.request, "").rstrip("/")
        try:
            super().send_mail(template_prefix, email, context | {"studio": studio})
        except (SMTPException, OSError):
            log.exception("The mail %s could not be sent.", template_prefix)


def outside(request: HttpRequest, path: str) -> str:
    """Return a path with the host under which people reach the studio, whatever host a request names."""
    return f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else request.build_absolute_uri(path or "/")
