"""Every address of the studio."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from allauth.socialaccount.models import SocialApp, SocialToken
from django.contrib import admin
from django.contrib.sitemaps.views import sitemap
from django.urls import include, path
from django.views.decorators.http import require_safe

from config.health import health
from edge_ai.web.files import stored_file
from edge_ai.web.graph import viewer, viewer_asset, viewer_model
from edge_ai.web.public_pages import PublicPages, manifest, robots
from edge_ai.web.views.shared import shared_comparison

handler400 = "edge_ai.api.problems.handle_bad_request"
handler403 = "edge_ai.api.problems.handle_permission_denied"
handler404 = "edge_ai.api.problems.handle_not_found"
handler429 = "config.errors.rate_limited"
handler500 = "edge_ai.api.problems.handle_server_error"
# Staff sign in where everybody does: by the same limits and the same second factor.
# Providers are set in the environment.
admin.site.unregister([SocialApp, SocialToken])
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
# Its first page and the trail above each page lead everywhere; the side bar would move what has been drawn.
admin.site.enable_nav_sidebar = False
admin.site.site_header = admin.site.site_title = "Edge AI Studio administration"
urlpatterns = [
    path("robots.txt", robots, name="robots"),
    path("manifest.webmanifest", manifest, name="manifest"),
    path("sitemap.xml", require_safe(sitemap), {"sitemaps": {"public": PublicPages}}, name="sitemap"),
    path("health/", health, name="health"),
    path("files/<str:token>/<str:file_name>", stored_file, name="stored-file"),
    path("graph/model/<str:token>/<str:file_name>", viewer_model, name="graph-model"),
    path("graph/<str:version>/viewer.html", viewer, name="graph-viewer"),
    path("graph/<str:version>/<str:file_name>", viewer_asset, name="graph-asset"),
    path("shared/<str:token>/", shared_comparison, name="shared-comparison"),
    path("admin/", admin.site.urls),
    path("", include("accounts.sign_in_urls")),
    path("", include("accounts.urls")),
    path("api/", include("edge_ai.api.urls")),
    path("", include("edge_ai.web.urls")),
    path("docs/", include("edge_ai.web.docs_urls")),
]
