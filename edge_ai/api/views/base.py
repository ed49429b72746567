"""What the views share: how they read, list, and find what a request names."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model as Row
from django.http import HttpResponse, HttpResponseRedirect
from django_filters import CharFilter
from rest_framework.generics import GenericAPIView
from rest_framework.mixins import ListModelMixin
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from accounts.middleware import PARAMETER
from accounts.models import User
from edge_ai.api.careful import CarefulView
from edge_ai.api.negotiation import BoundedJSONParser, ByAcceptHeader, Places
from edge_ai.api.pagination import PARAMETERS
from edge_ai.api.serializers.quick import QuickRows, as_written, page_of
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import refuse
from edge_ai.models.base import Owned
from edge_ai.services.resumable import Made

R = TypeVar("R", bound=Row)
METHODS = ["get", "head", "post", "patch", "delete"]


class StudioView(CarefulView):
    """An address of the API."""

    http_method_names = METHODS
    content_negotiation_class = ByAcceptHeader
    metadata_class = None
    parser_classes = [BoundedJSONParser]


class StudioListView(CarefulView, ListModelMixin, GenericAPIView[R]):
    """An address that lists; subclasses say what, filtered how, in which orders."""

    http_method_names = METHODS
    content_negotiation_class = ByAcceptHeader
    metadata_class = None
    parser_classes = [BoundedJSONParser]
    versioned = False
    serializer_class: Any
    filterset_class: Any
    ordering_fields: tuple[str, ...] = ("created_at", "updated_at", "name")
    ordering: tuple[str, ...] = ("-created_at",)

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow a list by what is asked for; where nothing is, the form that reads it is not made."""
        if self.filterset_class.base_filters.keys().isdisjoint(self.request.query_params):
            return queryset
        return super().filter_queryset(queryset)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer one page."""
        if not issubclass(self.serializer_class, QuickRows):
            return super().list(request, *args, **kwargs)
        rows = self.filter_queryset(as_written(self.serializer_class, self.get_queryset()))
        places = Places()
        response = self.get_paginated_response(
            page_of(self.serializer_class, self.paginate_queryset(rows) or (), places)
        )
        response.places = places  # type: ignore[attr-defined]  # for StudioJSONRenderer
        return response

    def list_rows(self, request: Request) -> Response:
        """Answer one page. A query parameter that nothing reads is refused: it was meant to do something."""
        known = {*self.filterset_class.base_filters, *PARAMETERS, PARAMETER}
        strangers = sorted(set(request.query_params) - known)
        if strangers:
            raise refuse(
                strangers[0][:100],
                f"There is no filter “{strangers[0][:100]}” here.",
                f"There are {', '.join(sorted(known))}.",
            )
        for name, rule in self.filterset_class.base_filters.items():
            # An empty text is found in every text; an empty id, time or word is a slip, and would be left out in silence.
            if not isinstance(rule, CharFilter) and "" in request.query_params.getlist(name):
                raise refuse(name, f"The filter “{name}” is empty.", "Give it a value, or leave it out.")
        return self.list(request)


class UploadView(StudioListView[R]):
    """A list to which files are added, as multipart forms that are streamed to disk."""

    parser_classes = [MultiPartParser, BoundedJSONParser]


def valid(serializer: BaseSerializer[Any]) -> dict[str, Any]:
    """Return what a request says, or refuse it with every field at fault."""
    serializer.is_valid(raise_exception=True)
    values: dict[str, Any] = serializer.validated_data
    return values


def find(rows: Any, row_id: UUID, *, field: str | None = None) -> Any:
    """Return the row of that id among those that the asker sees.

    Raises
    ------
    UserInputError
        ``not_found``, the same whether the row does not exist or is somebody else's.
    """
    found = rows.filter(pk=row_id).first()
    if found is None:
        kind = rows.model._meta.verbose_name
        raise UserInputError(
            f"There is no {kind} {row_id} that you may see.",
            code="not_found",
            fix="Check the id and the workspace.",
            field=field,
        )
    return found


def find_named(rows: Any, values: dict[str, Any], field: str) -> Any:
    """Return the row that a field of the request names; ``None`` where it names none."""
    named = values[field]
    return None if named is None else find(rows, named, field=field)


def require_owner(user: User, row: Owned) -> None:
    """Refuse to change what belongs to a colleague."""
    if row.owner_id != user.pk:
        raise UserInputError(
            f"“{row}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to change it."
        )


def created(body: Any, address: str) -> Response:
    """Answer that something was made, and where it is."""
    return Response(body, status=201, headers={"Location": address})


def made_of_upload(made: Made[Any], body: Any, address: str) -> Response:
    """Answer that something was made of an upload: 201 the first time, 200 when asked again."""
    return Response(body, status=201 if made.now else 200, headers={"Location": address})


def gone() -> HttpResponse:
    """Answer that something was removed."""
    return HttpResponse(status=204)


def elsewhere(url: str) -> HttpResponse:
    """Send the client to a signed link, which is not to be kept."""
    response = HttpResponseRedirect(url)
    response["Cache-Control"] = "no-store"
    return response
