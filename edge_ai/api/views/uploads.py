"""``uploads/``: resumable uploads, tus 1.0."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.schema import READING, asked, documented
from edge_ai.api.serializers.uploads import UploadSerializer
from edge_ai.api.views.base import METHODS, StudioView, gone
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import refuse
from edge_ai.models import Upload, UploadPurpose
from edge_ai.services import resumable

TAG = "uploads"
VERSION = "1.0.0"
OCTETS = "application/offset+octet-stream"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"


def _header(name: str, description: str, *, required: bool = False) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, required=required, description=description)


RESUMABLE = _header("Tus-Resumable", "`1.0.0`", required=True)


class Unread(BaseParser):
    """Leaves the body alone, for the view to stream it."""

    media_type = "*/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return nothing."""
        return {}


class TusView(StudioView):
    """What both addresses share: the protocol's version on every answer, and a body that is streamed."""

    http_method_names = [*METHODS, "options"]
    parser_classes = [Unread]
    post_in_transaction = False  # a slow client may take its time over the first bytes
    max_body_bytes = staticmethod(lambda: max(settings.MAX_UPLOAD_BYTES, settings.MAX_DATASET_BYTES))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        speaks = {"POST", "HEAD", "PATCH", "DELETE"} & set(self.allowed_methods)
        if request.method in speaks and request.headers.get("Tus-Resumable") != VERSION:
            raise UserInputError(
                "The header Tus-Resumable is missing or names another version.",
                code="precondition_failed",
                fix=f"Send Tus-Resumable: {VERSION}.",
            )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Tus-Resumable"] = VERSION
        final["Cache-Control"] = "no-store"
        if final.status_code == 412 or request.method == "OPTIONS":
            final["Tus-Version"] = VERSION
        return final

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Say what is spoken here."""
        headers = {
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self.max_body_bytes()),
            "Tus-Checksum-Algorithm": ",".join(resumable.ALGORITHMS),
        }
        return Response(status=204, headers=headers)


class UploadList(TusView):
    """Where uploads begin."""

    @documented(
        "create_upload",
        tag=TAG,
        summary="Begin a resumable upload (tus 1.0)",
        description="The header Location of the answer is where the bytes go, with PATCH. With a body of "
        f"`{OCTETS}`, its first bytes come along. `docs/uploads.md` shows a whole upload.",
        answers={201: "The header Location has its address, Upload-Expires the time until which it waits."},
        problems=(*READING, 402, 412, 413, 415, 422, 460, 507),
        parameters=[
            RESUMABLE,
            _header("Upload-Length", "Bytes of the whole file.", required=True),
            _header(
                "Upload-Metadata",
                "Pairs of a key and a value in base64, parted by commas: `filename`, `name`, `purpose` "
                "(`model` or `dataset`).",
            ),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        told = _metadata(request.headers.get("Upload-Metadata", ""))
        purpose = told.get("purpose", UploadPurpose.MODEL.value)
        if purpose not in UploadPurpose.values:
            raise refuse("purpose", "There is no such purpose.", f"There are {', '.join(UploadPurpose.values)}.")
        length = _number(request, "Upload-Length", low=1)
        checksum = _checksum(request)
        has_body = int(request.META.get("CONTENT_LENGTH") or 0) > 0
        if has_body:
            _require_octets(request)
        upload = resumable.begin(
            actor(request),
            length_bytes=length,
            purpose=purpose,
            file_name=told.get("filename", ""),
            name=told.get("name", ""),
        )
        upload.refresh_from_db()
        if has_body:
            try:
                _append(request, upload, offset=0, checksum=checksum)
            except UserInputError:
                resumable.discard(upload)
                raise
        response = _stands(upload, status=201)
        response["Location"] = reverse("api:upload-detail", args=[upload.pk])
        return response


class UploadDetail(TusView):
    """One upload."""

    @documented(
        "get_upload",
        tag=TAG,
        summary="One upload",
        description="How much has arrived, until when it waits, and what was made of it. HEAD answers with "
        "Upload-Offset and Upload-Length, as tus 1.0 has it.",
        answers={200: UploadSerializer},
        problems=(*READING, 410),
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(UploadSerializer(resumable.find_upload(actor(request), id)).data)

    def head(self, request: Request, id: UUID) -> HttpResponse:
        """Say how far it is."""
        return _stands(resumable.find_upload(actor(request), id), status=200)

    @documented(
        "append_upload",
        tag=TAG,
        summary="Send bytes of an upload (tus 1.0)",
        description="They are written behind those that have arrived. After a cut, ask with HEAD where to go on.",
        request={OCTETS: OpenApiTypes.BINARY},
        answers={204: "The header Upload-Offset says how many bytes have arrived."},
        problems=(*READING, 409, 410, 412, 413, 415, 422, 423, 460, 507),
        parameters=[
            RESUMABLE,
            _header("Upload-Offset", "How many bytes have arrived before these.", required=True),
            _header("Upload-Checksum", "`sha256` or `sha1`, a space, and the digest of these bytes in base64."),
        ],
        examples=[asked("The bytes", "(bytes of the file)", media_type=OCTETS)],
    )
    def patch(self, request: Request, id: UUID) -> HttpResponse:
        _require_octets(request)
        offset, checksum = _number(request, "Upload-Offset", low=0), _checksum(request)
        upload = resumable.find_upload(actor(request), id)
        if upload.made is not None:
            raise UserInputError("It was made into a model or data set.", code="conflict", fix="Begin a new upload.")
        _append(request, upload, offset=offset, checksum=checksum)
        return _stands(upload, status=204)

    @documented(
        "delete_upload",
        tag=TAG,
        summary="Give an upload up",
        description="The bytes that have arrived are thrown away. What was made of it stays.",
        answers={204: "Removed."},
        problems=(*READING, 410, 412, 423),
        parameters=[RESUMABLE],
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        resumable.discard(resumable.find_upload(actor(request), id))
        return gone()


def _append(request: Request, upload: Upload, *, offset: int, checksum: resumable.Checksum | None) -> None:
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    resumable.append(upload, offset=offset, source=request._request, announced_bytes=announced, checksum=checksum)


def _stands(upload: Upload, *, status: int) -> HttpResponse:
    response = HttpResponse(status=status)
    response["Upload-Offset"] = str(resumable.offset_of(upload))
    response["Upload-Length"] = str(upload.length_bytes)
    response["Upload-Expires"] = http_date(upload.expires_at.timestamp())
    return response


def _require_octets(request: Request) -> None:
    if request.content_type.partition(";")[0].strip() != OCTETS:
        raise UserInputError(
            "The body is not of the type that uploads have.",
            code="unsupported_media_type",
            fix=f"Send Content-Type: {OCTETS}.",
        )


def _number(request: Request, name: str, *, low: int) -> int:
    given = request.headers.get(name, "")
    if not (given.isascii() and given.isdigit() and len(given) <= 15) or int(given) < low:
        raise refuse(name, f"The header {name} is missing or is not a number of bytes.", f"Send at least {low}.")
    return int(given)


def _metadata(given: str) -> dict[str, str]:
    found = {}
    for pair in filter(None, (pair.strip() for pair in given.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode().replace("\0", "")
        except ValueError:
            raise refuse("Upload-Metadata", f"The value of “{key[:40]}” is not text in base64.", "Mend it.") from None
    return found


def _checksum(request: Request) -> resumable.Checksum | None:
    given = request.headers.get("Upload-Checksum")
    if given is None:
        return None
    algorithm, _, value = given.partition(" ")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        digest = b""
    if algorithm not in resumable.ALGORITHMS or not digest:
        known = ", ".join(resumable.ALGORITHMS)
        raise refuse("Upload-Checksum", "The checksum cannot be read.", f"Send one of {known} with base64.")
    return resumable.Checksum(algorithm=algorithm, digest=digest)
