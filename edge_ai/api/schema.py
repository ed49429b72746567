"""How the API is described: helpers for the views, and what drf-spectacular cannot see by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from config.errors import PROBLEM_TYPE
from edge_ai.api.serializers.problems import ProblemSerializer

F = TypeVar("F", bound=Callable[..., Any])
MULTIPART = "multipart/form-data"
JSON = "application/json"
MEANINGS = {
    400: "The body cannot be read.",
    401: "No valid key or session.",
    402: "The workspace has no room for it, or has used up the job minutes of the month; `details` says which limit it is.",
    403: "The role, the key's scope or the ownership does not allow it.",
    404: "Nothing there that you may see, or no such workspace.",
    406: "Only `application/json` is offered.",
    409: "It does not fit the object's present state.",
    410: "It has expired.",
    412: "Not a version of the protocol that is spoken here, or not the version of the object that `If-Match` names.",
    413: "Larger than is accepted.",
    415: "A body of a type that is not read here.",
    422: "The request was understood and is not valid, or can never work; `code` and `detail` say why.",
    423: "Another request is at it.",
    429: "Too many requests within a minute, or as many jobs of the workspace wait or run as may; `Retry-After` says when to "
    "ask again.",
    460: "The checksum does not match; what came was thrown away.",
    503: "The storage of files does not answer as it should; ask again.",
    507: "There is no room.",
}
READING = (401, 403, 404, 406)
#: Besides, of a list: filters.
LISTING = (*READING, 422)
#: Besides, of what takes a body.
WRITING = (400, *READING, 409, 413, 415, 422)
WRITING_FROM_UPLOAD = (*WRITING, 402, 410)
CHANGING = (*READING, 409)
#: Besides, of what makes jobs: the workspace's limits.
SUBMITTING = (*WRITING, 402, 429)
RETRYING = (*CHANGING, 402, 429)
_WORKSPACE = OpenApiParameter(
    "X-Tenant-ID",
    str,
    OpenApiParameter.HEADER,
    description="Short name of the workspace, for a session of somebody who belongs to several. A key knows its own.",
)


def documented(
    operation_id: str,
    *,
    tag: str,
    summary: str,
    answers: dict[int, Any],
    problems: Sequence[int] = READING,
    request: Any = None,
    description: str | None = None,
    parameters: Sequence[OpenApiParameter] = (),
    examples: Sequence[OpenApiExample] = (),
) -> Callable[[F], F]:
    """Describe an operation; every refusal has the one shape."""
    responses: dict[Any, Any] = {
        status: OpenApiResponse(description=answer) if isinstance(answer, str) else answer
        for status, answer in answers.items()
    }
    for status in problems:
        responses[status, PROBLEM_TYPE] = OpenApiResponse(ProblemSerializer, description=MEANINGS[status])
    return extend_schema(
        operation_id=operation_id,
        tags=[tag],
        summary=summary,
        description=description,
        request=request,
        responses=responses,
        parameters=[_WORKSPACE, *parameters],
        examples=list(examples),
    )


def asked(name: str, value: Any, *, media_type: str = JSON) -> OpenApiExample:
    """An example of a request."""
    return OpenApiExample(name, value=value, request_only=True, media_type=media_type)


@lru_cache(maxsize=1)
def examples() -> dict[str, Any]:
    """Return what a real studio answered, by operation and status; see `benchmarks/api_examples.py`."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))
    return found


#: Headers of answers, as components.
HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"description": "The version that is answered.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true`: the request was made before, and this is what it was answered.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit-Limit": {"description": "Requests that may be made in a minute.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "How many are left of them.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until the minute is over.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "X-Request-ID": {
        "description": "The request's id: as it was sent, or made. It is in every line of the log about it.",
        "schema": {"type": "string"},
    },
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "description": "Your own name for this request, such as a UUID. Sent again with the same body within 24 hours, it is "
    "answered what it was answered first, and nothing is done twice; with another body it is a 409.",
}


def _condition(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}


class StudioAutoSchema(AutoSchema):
    """Adds what holds for every operation: limits, versions, and requests that are sent twice."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """Describe an operation."""
        operation: Any = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        responses, parameters = operation["responses"], operation.setdefault("parameters", [])
        problem = self._problem()
        responses["429"] = problem(429)
        versioned = getattr(self.view, "versioned", False)
        if self.method == "POST":
            parameters.append(_IDEMPOTENCY)
            responses.setdefault("409", problem(409))
            responses.setdefault("422", problem(422))
        if self.method == "GET" and versioned and "200" in responses:
            parameters.append(_condition("If-None-Match", "The `ETag` that you have: where it still holds, a 304."))
            responses["304"] = {"description": "It is still as you have it."}
        if self.method in {"PATCH", "DELETE"}:
            parameters.append(_condition("If-Match", "The `ETag` that you saw: where it has changed since, a 412."))
            responses.setdefault("412", problem(412))
        for status, response in responses.items():
            names = ["X-Request-ID"]
            if status[0] in "23" or status == "429":
                names += ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
            if status == "429":
                names.append("Retry-After")
            if self.method == "POST" and status.startswith("2"):
                names.append("Idempotent-Replayed")
            if versioned and (status == "304" or (status == "200" and self.method in {"GET", "PATCH"})):
                names.append("ETag")
            response.setdefault("headers", {}).update(
                {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}
            )
        for status, response in responses.items():
            recorded = examples().get(f"{operation['operationId']} {status}")
            if recorded is not None:
                response["content"]["application/json"]["examples"] = {"Recorded": {"value": recorded}}
        parameters.sort(key=lambda each: (each["in"], each["name"]))
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _problem(self) -> Callable[[int], dict[str, Any]]:
        reference = self.resolve_serializer(ProblemSerializer, "response").ref
        return lambda status: {
            "description": MEANINGS[status],
            "content": {PROBLEM_TYPE: {"schema": reference}},
        }


def add_headers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Describe the headers of answers, for drf-spectacular's last step."""
    result["components"]["headers"] = HEADERS
    return result


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """Return the OpenAPI description. It depends on the code alone, so it is made once in each process."""
    generator: Any = SchemaGenerator
    made: dict[str, Any] = generator().get_schema(request=None, public=True)
    return made


class StudioSecurity(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # no type information
    """The two ways to say who one is."""

    target_class = "edge_ai.api.authentication.StudioAuthentication"
    name = ["apiKey", "session"]

    def get_security_requirement(self, auto_schema: Any) -> Any:
        """Either will do."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> Any:
        """Describe both."""
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "eas_…",
                "description": "An API key, made under Settings or with `manage.py create_workspace --api-key`.",
            },
            {
                "type": "apiKey",
                "in": "cookie",
                "name": "sessionid",
                "description": "The browser's session; what changes something also needs the header X-CSRFToken.",
            },
        ]


class NamedEnums(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # no type information
    """Each closed set of words is one component, under its own name."""

    target_class = "edge_ai.api.fields.EnumField"

    def get_name(self) -> str:
        """Name the component."""
        name: str = self.target.enum.__name__
        return name

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Describe the words."""
        enum = self.target.enum
        return {
            "type": "string",
            "enum": list(enum.values),
            "description": "\n".join(f"* `{value}`: {label}" for value, label in enum.choices),
        }
