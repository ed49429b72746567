"""Where somebody is signed in: one row for each session, seen again every few minutes at most."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.signals import password_changed, password_reset, password_set
from allauth.usersessions.models import UserSession
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from config.database.identity import acting_as_system

SEEN = "seen_at"
# Writing down every visit would make each read a write.
SEEN_RESOLUTION_SECONDS = 300.0


def sessions_of(user: User) -> list[UserSession]:
    """The sessions of a person that still work, the one seen last first; two queries."""
    known = list(UserSession.objects.filter(user=user).order_by("-last_seen_at"))
    alive = set(
        Session.objects.filter(
            session_key__in=[each.session_key for each in known], expire_date__gt=timezone.now()
        ).values_list("session_key", flat=True)
    )
    return [each for each in known if each.session_key in alive]


def end_sessions(sessions: Sequence[UserSession]) -> None:
    """End sessions at once: their next request is a stranger's."""
    with acting_as_system():
        Session.objects.filter(session_key__in=[each.session_key for each in sessions]).delete()
        UserSession.objects.filter(pk__in=[each.pk for each in sessions]).delete()


def note_seen(request: HttpRequest) -> None:
    """Write down that a session was used and from where, if that was last done a while ago."""
    seen = request.session.get(SEEN)
    if seen is None or time.time() - seen < SEEN_RESOLUTION_SECONDS:
        return
    request.session[SEEN] = time.time()
    with acting_as_system():
        UserSession.objects.filter(session_key=request.session.session_key).update(
            last_seen_at=timezone.now(), ip=get_adapter().get_client_ip(request)
        )


def _begin(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    if "REMOTE_ADDR" not in request.META:
        return  # no visitor: a program that makes a session
    request.session[SEEN] = time.time()
    with acting_as_system():
        UserSession.objects.create_from_request(request, user=user)


def _end_others(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    with acting_as_system():
        others = UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key or "")
        end_sessions(list(others))


def listen() -> None:
    """Hear of sign-ins and new passwords; called once, when the app is ready."""
    user_logged_in.connect(_begin, dispatch_uid="accounts.sessions.begin")
    for signal in (password_changed, password_set, password_reset):
        signal.connect(_end_others, dispatch_uid="accounts.sessions.end_others")
