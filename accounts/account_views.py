"""One's own account: who one is, how one signs in, and where one is signed in."""

from __future__ import annotations

from typing import cast

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.forms import NameForm
from accounts.models import User
from accounts.sessions import end_sessions, sessions_of


@login_required
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Name, address and ways to sign in; the form changes the name."""
    user = cast(User, request.user)
    form = NameForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your name is saved.")
        return _to("accounts:account")
    factors = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    by_type = {each.type: each for each in factors}
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    found = {
        "form": form,
        "waiting_for": EmailAddress.objects.filter(user=user, verified=False).values_list("email", flat=True).first(),
        "app": by_type.get(Authenticator.Type.TOTP),
        "passkeys": [each.wrap() for each in factors if each.type == Authenticator.Type.WEBAUTHN],
        "recovery_codes": codes is not None,
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "session_count": len(sessions_of(user)),
    }
    return render(request, "accounts/account.html", found)


@login_required
@require_safe
def session_list(request: HttpRequest) -> HttpResponse:
    """Where one is signed in."""
    sessions = sessions_of(cast(User, request.user))
    current = request.session.session_key
    return render(request, "accounts/session_list.html", {"sessions": sessions, "current": current})


@login_required
@require_POST
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """End one of one's sessions; one's own is ended by signing out."""
    session = get_object_or_404(
        UserSession.objects.exclude(session_key=request.session.session_key), pk=session_id, user=request.user
    )
    end_sessions([session])
    messages.success(request, "That session has ended.")
    return _to("accounts:session-list")


@login_required
@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """End every session but this one."""
    end_sessions(list(UserSession.objects.filter(user=request.user).exclude(session_key=request.session.session_key)))
    messages.success(request, "All other sessions have ended.")
    return _to("accounts:session-list")


def _to(name: str) -> HttpResponse:
    response = redirect(name)
    response.status_code = 303
    return response
