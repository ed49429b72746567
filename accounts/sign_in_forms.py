"""The forms of sign-in, in the studio's words. allauth does what they ask for."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as theirs
from django import forms
from django.http import HttpRequest, HttpResponse

from accounts.models import User

LONG_ENOUGH = "At least 10 characters, and none of the common ones."


class Wording(forms.Form):
    """Our labels and hints instead of placeholders, which disappear when somebody types."""

    labels: dict[str, str] = {}
    hints: dict[str, str] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.label = self.labels.get(name, field.label)
            field.help_text = self.hints.get(name, "")


class SignInForm(Wording, theirs.LoginForm):  # type: ignore[misc]  # allauth has no type information
    """Address and password."""

    labels = {"login": "Email"}


class SignUpForm(Wording, theirs.SignupForm):  # type: ignore[misc]  # allauth has no type information
    """Address, name and password of somebody new."""

    name = forms.CharField(
        max_length=150, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"}), label="Name"
    )
    field_order = ("name", "email", "password1")
    hints = {"name": "What colleagues see. May stay empty.", "password1": LONG_ENOUGH}

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        if self.account_already_exists:
            # As slow as for a new address: the time that an answer takes must not tell who has an account.
            User().set_password(self.cleaned_data["password1"])
        saved: tuple[User | None, HttpResponse | None] = super().try_save(request)
        return saved

    def custom_signup(self, request: HttpRequest, user: User) -> None:
        user.name = self.cleaned_data["name"]
        user.save(update_fields=["name"])


class ChangeAddressForm(Wording, theirs.AddEmailForm):  # type: ignore[misc]  # allauth has no type information
    """A new address."""

    labels = {"email": "New email"}


NEW_PASSWORD_LABELS = {"password1": "New password", "password2": "New password, again"}


class ChangePasswordForm(Wording, theirs.ChangePasswordForm):  # type: ignore[misc]  # allauth has no type information
    """A new password of somebody who knows the old one."""

    labels = NEW_PASSWORD_LABELS | {"oldpassword": "Current password"}
    hints = {"password1": LONG_ENOUGH}


class SetPasswordForm(Wording, theirs.SetPasswordForm):  # type: ignore[misc]  # allauth has no type information
    """A first password of somebody who signed in without one."""

    labels = NEW_PASSWORD_LABELS
    hints = {"password1": LONG_ENOUGH}


class ResetPasswordForm(Wording, theirs.ResetPasswordForm):  # type: ignore[misc]  # allauth has no type information
    """The address of somebody who has forgotten the password."""


class NewPasswordForm(Wording, theirs.ResetPasswordKeyForm):  # type: ignore[misc]  # allauth has no type information
    """A new password of somebody who came by the link in a mail."""

    labels = NEW_PASSWORD_LABELS
    hints = {"password1": LONG_ENOUGH}


class PasswordAgainForm(Wording, theirs.ReauthenticateForm):  # type: ignore[misc]  # allauth has no type information
    """The password of somebody who is signed in, before something that matters."""
