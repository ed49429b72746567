"""Every address of the studio."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from config.health import health
from edge_ai.web.files import stored_file

handler400 = "edge_ai.api.problems.handle_bad_request"
handler403 = "edge_ai.api.problems.handle_permission_denied"
handler404 = "edge_ai.api.problems.handle_not_found"
handler500 = "edge_ai.api.problems.handle_server_error"
urlpatterns = [
    path("health/", health, name="health"),
    path("files/<str:token>/<str:file_name>", stored_file, name="stored-file"),
    path("admin/", admin.site.urls),
    path("", include("accounts.urls")),
    path("api/", include("edge_ai.api.urls")),
    path("", include("edge_ai.web.urls")),
]
