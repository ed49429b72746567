"""``schema/`` and ``docs/``: the description of the API, for programs and for people. Both answer anybody."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from drf_spectacular.renderers import OpenApiYamlRenderer

from config.errors import error_response
from edge_ai.api.reference import sections, shapes
from edge_ai.api.schema import description
from edge_ai.engine.errors import UserInputError

FRESH_SECONDS = 300
YAML_TYPE = "application/vnd.oai.openapi"
JSON_TYPE = "application/vnd.oai.openapi+json"
TEMPLATE = Path(__file__).with_name("templates") / "reference.html"


@require_safe
@cache_control(public=True, max_age=FRESH_SECONDS)
def schema(request: HttpRequest) -> HttpResponse:
    """The OpenAPI description: YAML, or JSON with ``?format=json`` or an ``Accept`` header that prefers it."""
    asked = request.GET.get("format")
    if asked not in {None, "json", "yaml"}:
        return error_response(
            request,
            UserInputError(
                "The description comes as yaml or json.", code="invalid_request", fix="Leave it out.", field="format"
            ),
        )
    preferred = request.get_preferred_type([YAML_TYPE, "application/yaml", JSON_TYPE, "application/json"]) or ""
    as_json = asked == "json" or (asked is None and preferred.endswith("json"))
    body = as_json_text() if as_json else as_yaml_text()
    response = HttpResponse(body, content_type=f"{JSON_TYPE if as_json else YAML_TYPE}; charset=utf-8")
    response["Content-Disposition"] = f'inline; filename="edge-ai-studio.{"json" if as_json else "yaml"}"'
    response["Vary"] = "Accept"
    return response


@lru_cache(maxsize=1)
def as_yaml_text() -> str:
    """Return the description as it is committed."""
    renderer: Any = OpenApiYamlRenderer()
    rendered: bytes = renderer.render(description(), renderer_context={})
    return rendered.decode()


@lru_cache(maxsize=1)
def as_json_text() -> str:
    """Return the description as JSON."""
    return json.dumps(description(), indent=1, ensure_ascii=False)


@require_safe
@cache_control(private=True, max_age=FRESH_SECONDS)
def reference(request: HttpRequest) -> HttpResponse:
    """The description as a page, without a line of script."""
    context = {"info": description()["info"], "sections": sections(description()), "shapes": shapes(description())}
    return HttpResponse(_template().render(context, request))


@lru_cache(maxsize=1)
def _template() -> Any:
    # This folder is no application, so the loaders do not look here.
    return engines["django"].from_string(TEMPLATE.read_text(encoding="utf-8"))
