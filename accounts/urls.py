"""Addresses of sign-in, workspaces and keys."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("accounts/sign-in/", views.SignInView.as_view(), name="login"),
    path("accounts/sign-out/", LogoutView.as_view(), name="logout"),
    path("workspaces/", views.workspace_list, name="workspace-list"),
    path("workspaces/switch/", views.switch_workspace, name="switch-workspace"),
    path("settings/api-keys/", views.api_key_list, name="api-key-list"),
    path("settings/api-keys/<uuid:key_id>/revoke/", views.revoke_api_key, name="api-key-revoke"),
]
