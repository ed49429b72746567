"""The graph of a model: Netron's viewer from its package, in a frame that has no power over the session.

The frame is sandboxed without an origin, so it has no cookies and no storage. It loads its modules from here and the model
by a signed link, and its policy lets it reach nothing else: not the pages, not the API, no other host.
"""

from __future__ import annotations

import functools
import gzip
import re
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.models import User
from edge_ai.models import Model, ModelFormat, ModelStatus
from edge_ai.services.models import model_graph_url
from edge_ai.storage import open_blob, read_token

#: The viewer holds the whole file in the browser's memory, several times over while it reads it.
LIMIT_BYTES = 256_000_000
UNREADABLE = {
    ModelFormat.TENSORRT.value: "A TensorRT engine is compiled code for one GPU; there is no graph left in it to draw.",
}
ASSET = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.(js|json|css)")
KINDS = {"js": "text/javascript", "json": "application/json", "css": "text/css"}
UNUSED = re.compile(
    r'<meta http-equiv="Content-Security-Policy"[^>]*>|<meta name="date"[^>]*>|<link rel="[^"]*icon[^"]*"[^>]*>'
    r'|<script [^>]*src="index\.js"></script>'
)


def graph_of(user: User, model: Model) -> dict[str, Any]:
    """Return where the viewer draws the model, or why it cannot."""
    if model.status == ModelStatus.FAILED:
        return {"refusal": "The file could not be read as a model; what was found is told above."}
    if model.format in UNREADABLE:
        return {"refusal": UNREADABLE[model.format]}
    if model.size_bytes > LIMIT_BYTES:
        return {"refusal": f"Graphs are drawn in the browser, for models up to {LIMIT_BYTES // 1_000_000} MB."}
    where = reverse("graph-viewer", args=[version_of("netron")])
    return {"src": f"{where}?{urlencode({'model': model_graph_url(user, model=model), 'name': model.file_name})}"}


@require_safe
def viewer(request: HttpRequest, version: str) -> HttpResponse:
    """Answer with Netron's page, started by our own script and under a policy of its own."""
    _demand(version)
    response = HttpResponse(_page(static("js/graph_viewer.js")))
    response["Content-Security-Policy"] = _policy(f"{request.scheme}://{request.get_host()}", version)
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["X-Robots-Tag"] = "noindex"
    response["Referrer-Policy"] = "no-referrer"
    return response


@require_safe
def viewer_asset(request: HttpRequest, version: str, file_name: str) -> HttpResponse:
    """Answer with one of the viewer's own modules; its address has the version in it, so that it can be kept."""
    _demand(version)
    if not ASSET.fullmatch(file_name):
        raise Http404
    packed = _packed(file_name)
    if packed is None:
        raise Http404
    unpacks = "gzip" in request.headers.get("Accept-Encoding", "")
    body = packed if unpacks else gzip.decompress(packed)
    response = HttpResponse(body, content_type=f"{KINDS[file_name.rsplit('.', 1)[1]]}; charset=utf-8")
    if unpacks:
        response["Content-Encoding"] = "gzip"
    response["Vary"] = "Accept-Encoding"
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    response["Access-Control-Allow-Origin"] = "*"
    return response


@require_safe
def viewer_model(request: HttpRequest, token: str, file_name: str) -> HttpResponseBase:
    """Send a model to the viewer; a link that is too old or was altered leads nowhere."""
    found = read_token(token)
    if found is None:
        raise Http404
    try:
        stream = open_blob(found.schema_name, found.sha256)
    except FileNotFoundError as error:
        raise Http404 from error
    response = FileResponse(stream, as_attachment=True, filename=found.file_name, content_type=found.mime_type)
    response["Cache-Control"] = "private, no-store"
    # The frame has no origin that could be named; whoever asks needs the signed link, and no cookie is ever looked at.
    response["Access-Control-Allow-Origin"] = "*"
    return response


def _demand(version: str) -> None:
    if version != version_of("netron"):
        raise Http404


def _policy(origin: str, version: str) -> str:
    """What the frame may do; where it may load from is named in full, since ``'self'`` of a frame without origin is nothing."""
    own = f"{origin}/graph/{version}/"
    scripts = settings.STATIC_URL if "://" in settings.STATIC_URL else origin + settings.STATIC_URL
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own} {scripts}js/",
            # Netron's page and panels carry style attributes.
            f"style-src {own} 'unsafe-inline'",
            f"connect-src {own} {origin}/graph/model/",
            "img-src data: blob:",
            # The layout of large graphs; a worker of a frame without origin can only begin as a blob.
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
            "sandbox allow-scripts",
        )
    )


def _folder() -> Path:
    """Return where the package's files lie; it is found without importing it."""
    spec = find_spec("netron")
    if spec is None or not spec.submodule_search_locations:
        raise Http404
    return Path(spec.submodule_search_locations[0])


@functools.lru_cache(maxsize=64)
def _packed(file_name: str) -> bytes | None:
    path = _folder() / file_name
    return gzip.compress(path.read_bytes(), 6, mtime=0) if path.is_file() else None


@functools.lru_cache(maxsize=4)
def _page(script: str) -> str:
    text = UNUSED.sub("", (_folder() / "index.html").read_text(encoding="utf-8"))
    # Without the attribute the theme could not be switched in a sheet that is of another origin than the frame.
    text = text.replace('href="grapher.css"', 'href="grapher.css" crossorigin="anonymous"')
    return text.replace(
        "</head>", f'<script type="module" src="{script}" crossorigin="anonymous"></script>\n</head>', 1
    )
