"""Addresses of sign-in, one's account, workspaces and keys."""

from __future__ import annotations

from allauth.account import views as allauth_views
from django.urls import path

from accounts import account_views, invitation_views, views

app_name = "accounts"
urlpatterns = [
    path("accounts/sign-in/", allauth_views.login, name="login"),
    path("accounts/sign-out/", allauth_views.logout, name="logout"),
    path("workspaces/", views.workspace_list, name="workspace-list"),
    path("workspaces/switch/", views.switch_workspace, name="switch-workspace"),
    path("invitations/<str:token>/", invitation_views.invitation, name="invitation"),
    path("settings/account/", account_views.account, name="account"),
    path("settings/account/sessions/", account_views.session_list, name="session-list"),
    path("settings/account/sessions/end-others/", account_views.end_other_sessions, name="session-end-others"),
    path("settings/account/sessions/<int:session_id>/end/", account_views.end_session, name="session-end"),
    path("settings/api-keys/", views.api_key_list, name="api-key-list"),
    path("settings/api-keys/<uuid:key_id>/revoke/", views.revoke_api_key, name="api-key-revoke"),
]
