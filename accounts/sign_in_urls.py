"""Addresses of sign-in and of one's own account. The names are allauth's, which looks for its pages by them."""

from __future__ import annotations

from allauth.account import views
from allauth.mfa.base import views as factor_views
from allauth.mfa.recovery_codes import views as code_views
from allauth.mfa.totp import views as app_views
from allauth.mfa.webauthn import views as passkey_views
from django.urls import path, re_path, reverse_lazy
from django.views.generic import RedirectView

from accounts import single_sign_on
from accounts.steady import steady

# The account page shows what allauth has pages for.
to_account = RedirectView.as_view(url=reverse_lazy("accounts:account"))
urlpatterns = [
    path("accounts/sign-in/", views.login, name="account_login"),
    path("accounts/sign-out/", views.logout, name="account_logout"),
    path("accounts/sign-up/", steady(views.signup), name="account_signup"),
    path("accounts/single-sign-on/<slug:provider_id>/", single_sign_on.login, name="openid_connect_login"),
    path("accounts/single-sign-on/<slug:provider_id>/back/", single_sign_on.callback, name="openid_connect_callback"),
    path("accounts/inactive/", views.account_inactive, name="account_inactive"),
    path("accounts/email/", views.email_verification_sent, name="account_email_verification_sent"),
    re_path(r"^accounts/email/(?P<key>[-:\w]+)/$", views.confirm_email, name="account_confirm_email"),
    path("accounts/reset/", steady(views.password_reset), name="account_reset_password"),
    path("accounts/reset/sent/", views.password_reset_done, name="account_reset_password_done"),
    path("accounts/reset/done/", views.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    re_path(
        r"^accounts/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("accounts/confirm/", views.reauthenticate, name="account_reauthenticate"),
    path("accounts/confirm/code/", views.request_reauthentication_code, name="account_request_reauthentication_code"),
    path(
        "accounts/confirm/code/enter/",
        views.confirm_reauthentication_code,
        name="account_confirm_reauthentication_code",
    ),
    path("settings/account/email/", views.email, name="account_email"),
    path("settings/account/password/", views.password_change, name="account_change_password"),
    path("settings/account/password/first/", views.password_set, name="account_set_password"),
    # -- the second factor
    path("accounts/second-factor/", factor_views.authenticate, name="mfa_authenticate"),
    path("accounts/passkey/", passkey_views.login_webauthn, name="mfa_login_webauthn"),
    path("accounts/confirm/factor/", factor_views.reauthenticate, name="mfa_reauthenticate"),
    path("accounts/confirm/passkey/", passkey_views.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("settings/account/second-factor/", to_account, name="mfa_index"),
    path("settings/account/app/", app_views.activate_totp, name="mfa_activate_totp"),
    path("settings/account/app/remove/", app_views.deactivate_totp, name="mfa_deactivate_totp"),
    path("settings/account/recovery-codes/", code_views.view_recovery_codes, name="mfa_view_recovery_codes"),
    path(
        "settings/account/recovery-codes/new/", code_views.generate_recovery_codes, name="mfa_generate_recovery_codes"
    ),
    path(
        "settings/account/recovery-codes/text/", code_views.download_recovery_codes, name="mfa_download_recovery_codes"
    ),
    path("settings/account/passkeys/", to_account, name="mfa_list_webauthn"),
    path("settings/account/passkeys/add/", passkey_views.add_webauthn, name="mfa_add_webauthn"),
    path("settings/account/passkeys/<int:pk>/remove/", passkey_views.remove_webauthn, name="mfa_remove_webauthn"),
    path("settings/account/passkeys/<int:pk>/edit/", passkey_views.edit_webauthn, name="mfa_edit_webauthn"),
]
