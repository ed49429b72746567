"""How the API is described: helpers for the views, and what drf-spectacular cannot see by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from config.errors import PROBLEM_TYPE
from edge_ai.api.serializers.problems import ProblemSerializer

F = TypeVar("F", bound=Callable[..., Any])
MULTIPART = "multipart/form-data"
JSON = "application/json"
MEANINGS = {
    400: "The body cannot be read.",
    401: "No valid key or session.",
    403: "The role, the key's scope or the ownership does not allow it.",
    404: "Nothing there that you may see, or no such workspace.",
    406: "Only `application/json` is offered.",
    409: "It does not fit the object's present state.",
    413: "Larger than is accepted.",
    415: "A body of a type that is not read here.",
    422: "The request was understood and is not valid, or can never work; `code` and `detail` say why.",
}
READING = (401, 403, 404, 406)
#: Besides, of a list: filters.
LISTING = (*READING, 422)
#: Besides, of what takes a body.
WRITING = (400, *READING, 409, 413, 415, 422)
CHANGING = (*READING, 409)
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
