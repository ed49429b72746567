"""The page that an invitation's link leads to: for who is signed in, who has an account, and who is new."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_http_methods

from accounts import invitations
from accounts.features import new_accounts
from accounts.middleware import SESSION_KEY
from accounts.models import Invitation, Membership, User
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError, UserInputError

FORBIDDEN = 403
NOT_FOUND = 404
UNPROCESSABLE = 422


class NewAccountForm(forms.Form):
    """What somebody new is called, and their password."""

    name = forms.CharField(
        max_length=150, help_text="What others see.", widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters, and none that everybody uses.",
    )

    def __init__(self, *args: object, email: str) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # handed on
        self.email = email

    def clean(self) -> None:
        """Ask for a password that holds, also against whoever knows name and address."""
        password = self.cleaned_data.get("password")
        if password:
            try:
                validate_password(password, User(email=self.email, name=self.cleaned_data.get("name", "")))
            except ValidationError as error:
                self.add_error("password", error)


@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Say who invites whom to what; accept."""
    found = invitations.find(token)
    if found is None:
        return _page(request, {}, status=NOT_FOUND)
    new = not request.user.is_authenticated and not invitations.has_account(found)
    if new and not new_accounts():
        # Who has an account may sign in and accept; nobody else gets one.
        return _page(
            request, {"invitation": found, "closed": True}, status=FORBIDDEN if request.method == "POST" else 200
        )
    form = NewAccountForm(*([request.POST] if request.method == "POST" else []), email=found.email) if new else None
    context: dict[str, object] = {"invitation": found, "form": form, "mine": _is_mine(request, found)}
    if request.method != "POST":
        return _page(request, context)
    if form is not None and not form.is_valid():
        return _page(request, context, status=UNPROCESSABLE)
    try:
        membership = _accept(request, token, form)
    except EngineError as error:
        if error.code == "not_found":  # used or revoked since the page was asked for
            return _page(request, {}, status=NOT_FOUND)
        return error_response(request, error) if form else _page(request, context, status=status_of(error.code))
    request.session[SESSION_KEY] = str(membership.workspace_id)
    messages.success(request, f"You belong to {membership.workspace.name} now.")
    return HttpResponseRedirect(resolve_url("edge_ai:overview"), status=303)


def _accept(request: HttpRequest, token: str, form: NewAccountForm | None) -> Membership:
    if form is not None:
        membership = invitations.accept_as_new(
            token=token, name=form.cleaned_data["name"], password=form.cleaned_data["password"]
        )
        login(request, membership.user, backend=settings.AUTHENTICATION_BACKENDS[0])
        return membership
    if not request.user.is_authenticated:
        raise UserInputError("Sign in first.", code="permission_denied", fix="Sign in, and open the link again.")
    return invitations.accept(request.user, token=token)


def _is_mine(request: HttpRequest, found: Invitation) -> bool:
    return request.user.is_authenticated and request.user.email == found.email


def _page(request: HttpRequest, context: dict[str, object], *, status: int = 200) -> HttpResponse:
    response = render(request, "accounts/invitation.html", context, status=status)
    response["Cache-Control"] = "no-store"
    # The address is a secret, told to no other site. Not "no-referrer", with which browsers post forms from nowhere.
    response["Referrer-Policy"] = "same-origin"
    return response
