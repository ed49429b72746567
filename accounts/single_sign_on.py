"""Signing in by the operator's own OpenID provider: code flow with PKCE, and an id token that is checked in full.

allauth does the flow. What it leaves out because the token comes over TLS is done here: the signature, the nonce, and that the
answers are of the issuer that was set, about the same person.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from typing import Any

import jwt
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from accounts.adapter import ensure_address, outside
from accounts.features import anybody_signs_up, new_accounts
from accounts.models import Invitation, User
from config.database.identity import acting_as_system

log = logging.getLogger(__name__)
PROVIDER_ID = "sso"
#: Of keys that a provider publishes; never "none", nor one whose secret is the client's.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: Clocks differ.
LEEWAY_SECONDS = 60
NEEDED = ("iss", "aud", "sub", "exp", "iat", "nonce")


class OpenIdAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth has no type information
    """The flow's requests to the provider."""

    nonce = ""

    @property
    def openid_config(self) -> dict[str, Any]:
        """What the provider says of itself, of the issuer that was set and no other."""
        found: dict[str, Any] = super().openid_config
        if str(found.get("issuer", "")).rstrip("/") != settings.OIDC_ISSUER:
            raise OAuth2Error("The provider is another issuer than the one that is set.")
        return found

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return outside(request, self.get_provider().get_callback_url())

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        given = kwargs["response"].get("id_token")
        if not given:
            raise OAuth2Error("The provider sent no id token.")
        claims = self._decode_id_token(app, given)
        data = {"id_token": claims}
        if "userinfo_endpoint" in self.openid_config:
            told = self._fetch_user_info(token.token)
            if told.get("sub") != claims["sub"]:
                raise OAuth2Error("The provider told of somebody else than it signed for.")
            data["userinfo"] = told
        return self.get_provider().sociallogin_from_response(request, data)

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(id_token)
            if header.get("alg") not in ALGORITHMS:
                raise OAuth2Error("The id token is signed in a way that is not accepted.")
            with get_adapter().get_requests_session() as session:
                answer = session.get(self.openid_config["jwks_uri"])
                answer.raise_for_status()
                keys = jwt.PyJWKSet.from_dict(answer.json()).keys
            key = next(each for each in keys if each.key_id == header.get("kid") and each.public_key_use != "enc")
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key=key.key,
                algorithms=[header["alg"]],
                audience=app.client_id,
                issuer=self.openid_config["issuer"],
                leeway=LEEWAY_SECONDS,
                options={"require": list(NEEDED)},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, StopIteration) as error:
            raise OAuth2Error("The id token is not valid.") from error
        if claims.get("azp", app.client_id) != app.client_id:
            raise OAuth2Error("The id token is for another client.")
        if not self.nonce or not hmac.compare_digest(str(claims["nonce"]), self.nonce):
            raise OAuth2Error("The id token belongs to another sign-in.")
        return claims


class OpenIdProvider(OpenIDConnectProvider):  # type: ignore[misc]  # as above
    """The provider that the settings name."""

    oauth2_adapter_class = OpenIdAdapter
    pkce_enabled_default = True

    def get_redirect_from_request_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        # Neither what is asked of the provider, nor what it is for, is the browser's to say.
        found = super().get_redirect_from_request_kwargs(request)
        return {"next_url": found.get("next_url"), "process": "login"}

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, data: Any = None, **kwargs: Any
    ) -> Any:
        nonce = secrets.token_urlsafe(32)
        return super().redirect(request, process, next_url, data, auth_params={"nonce": nonce}, nonce=nonce, **kwargs)


class _Callback(OAuth2CallbackView):  # type: ignore[misc]  # as above
    def _get_state(self, request: HttpRequest, provider: Any) -> Any:
        state, response = super()._get_state(request, provider)
        self.adapter.nonce = (state or {}).get("nonce", "")
        return state, response


class SingleSignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # as above
    """The studio's answers to what a provider says of a person."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[Any]:
        # From the settings, and never from the database.
        from allauth.socialaccount.models import SocialApp

        found = []
        for each in settings.SOCIALACCOUNT_PROVIDERS.get("openid_connect", {}).get("APPS", []):
            app = SocialApp(provider="openid_connect", **each)
            if provider in {None, app.provider, app.provider_id} and client_id in {None, app.client_id}:
                found.append(app)
        return found

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if not sociallogin.is_existing and not _proven(sociallogin):
            raise ImmediateHttpResponse(
                _back(request, "The provider has not proven your address. Ask those who run it.")
            )

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        if anybody_signs_up():
            return True
        if not new_accounts():
            return False
        invited = Invitation.objects.open().filter(email__in=_proven(sociallogin), expires_at__gt=Now())
        return bool(invited.exists())

    def authenticate_by_email(self, sociallogin: Any) -> tuple[User, str] | None:
        found: tuple[User, str] | None = super().authenticate_by_email(sociallogin)
        if found is None:
            return None
        user, email = found
        ensure_address(user)
        # Whoever signed up with somebody's address without proving it gets nothing by that somebody's sign-in.
        proven = EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists()
        return found if proven else None

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> Any:
        user = super().populate_user(request, sociallogin, data)
        user.email = user.email.lower()
        user.name = str(data.get("name") or "").strip()[: User._meta.get_field("name").max_length]
        return user

    def on_authentication_error(self, request: HttpRequest, provider: Any, **told: Any) -> None:
        raise ImmediateHttpResponse(_back(request, f"Signing in by {provider.name} did not work. Try again."))


def _proven(sociallogin: Any) -> list[str]:
    return [each.email.lower() for each in sociallogin.email_addresses if each.verified]


def _back(request: HttpRequest, words: str) -> HttpResponse:
    messages.error(request, words)
    return redirect("account_login")


@require_POST
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead to the provider: by a page, since forms of the studio may lead to the studio alone."""
    response = _ask(request, provider_id, OAuth2LoginView)
    if response.status_code == 302 and "://" in response["Location"]:
        leading = {"address": response["Location"], "name": settings.OIDC_NAME}
        response = render(request, "account/single_sign_on.html", leading)
        response["Cache-Control"] = "no-store"
    return response


@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take what the provider answered, and sign in whom it names."""
    return _ask(request, provider_id, _Callback)


def _ask(request: HttpRequest, provider_id: str, view: Any) -> HttpResponse:
    if not settings.OIDC_ISSUER or provider_id != PROVIDER_ID:
        raise Http404
    try:
        with acting_as_system():
            response: HttpResponse = view.adapter_view(OpenIdAdapter(request, provider_id))(request)
    except (OAuth2Error, RequestException, KeyError, ValueError) as error:
        # What the provider says of itself is asked for before allauth looks out for errors.
        log.warning("The OpenID provider %s could not be asked: %s", settings.OIDC_ISSUER, error)
        return _back(request, f"{settings.OIDC_NAME} does not answer as it should. Try again later.")
    return response
