"""Asking once more who is there, before something that matters."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.http import urlencode


def proven(request: HttpRequest) -> bool:
    """Tell whether somebody has proven within five minutes that it is still he who signed in."""
    return bool(did_recently_reauthenticate(request))


def proof_address(request: HttpRequest, back_to: str) -> str:
    """Return where that is asked; it leads back. Somebody without any way to prove it chooses a password first."""
    ways = get_adapter().get_reauthentication_methods(request.user)
    address = ways[0]["url"] if ways else "/accounts/reset/"
    return f"{address}?{urlencode({'next': back_to})}"


def ask_for_proof(request: HttpRequest, back_to: str) -> HttpResponseRedirect:
    """Lead there."""
    response = redirect(proof_address(request, back_to))
    response.status_code = 303
    return response
