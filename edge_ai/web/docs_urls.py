"""Addresses of the documentation, which belong to no workspace."""

from __future__ import annotations

from django.urls import path

from edge_ai.web.views import documentation

app_name = "docs"
urlpatterns = [
    path("", documentation.index, name="index"),
    path("search/", documentation.search, name="search"),
    path("<slug:name>/", documentation.page, name="page"),
]
