"""``uploads/``: resumable uploads, by tus 1.0 or in parts that go straight to the storage."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import IO, Any, TypeVar
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
from edge_ai.api.negotiation import BoundedJSONParser
from edge_ai.api.schema import JSON, READING, WRITING, asked, documented
from edge_ai.api.serializers.uploads import (
    SignedPartsSerializer,
    UploadInPartsSerializer,
    UploadSerializer,
    WantedPartsSerializer,
)
from edge_ai.api.views.base import METHODS, StudioView, created, gone, valid
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import refuse
from edge_ai.models import Upload, UploadPurpose
from edge_ai.services import parts, resumable

H = TypeVar("H", bound=HttpResponse)
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
        spoken = request.headers.get("Tus-Resumable")
        # What removes an upload may be one of either kind.
        left_out = spoken is None and request.method == "DELETE"
        if request.method in self.speaks(request) and spoken != VERSION and not left_out:
            raise UserInputError(
                "The header Tus-Resumable is missing or names another version.",
                code="precondition_failed",
                fix=f"Send Tus-Resumable: {VERSION}.",
            )

    def speaks(self, request: Request) -> set[str]:
        """Return the verbs that are tus, if the request is one of them."""
        return {"POST", "HEAD", "PATCH", "DELETE"} & set(self.allowed_methods)

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

    parser_classes = [BoundedJSONParser, Unread]

    def speaks(self, request: Request) -> set[str]:
        """A JSON document asks for parts, unless the header says that it is tus."""
        return set() if _asks_for_parts(request) else super().speaks(request)

    @documented(
        "create_upload",
        tag=TAG,
        summary="Begin a resumable upload: by tus 1.0, or in parts",
        description="By tus, with the headers Tus-Resumable, Upload-Length and Upload-Metadata: the header Location of the "
        f"answer is where the bytes go, with PATCH. With a body of `{OCTETS}`, its first bytes come along. With a JSON "
        "document and without Tus-Resumable, the file is to come in parts that are sent straight to the storage: the answer "
        "says how long parts are, and `parts/` where they go. A studio that keeps its files on its own disk refuses that "
        "with `parts_unsupported`. `docs/uploads.md` shows both.",
        request={OCTETS: OpenApiTypes.BINARY, JSON: UploadInPartsSerializer},
        answers={201: UploadSerializer},
        problems=(400, *READING, 402, 412, 413, 415, 422, 460, 503, 507),
        parameters=[
            _header("Tus-Resumable", "`1.0.0`, where the bytes come by tus."),
            _header("Upload-Length", "Bytes of the whole file; needed for tus."),
            _header(
                "Upload-Metadata",
                "For tus: pairs of a key and a value in base64, parted by commas: `filename`, `name`, `purpose` "
                "(`model` or `dataset`).",
            ),
        ],
        examples=[
            asked("The first bytes", "(bytes of the file)", media_type=OCTETS),
            asked("In parts", {"length_bytes": 2147483648, "file_name": "large.onnx", "purpose": "model"}),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        if _asks_for_parts(request):
            values = valid(UploadInPartsSerializer(data=request.data))
            upload = resumable.begin(actor(request), in_parts=True, **values)
            upload.refresh_from_db()
            return created(UploadSerializer(upload).data, reverse("api:upload-detail", args=[upload.pk]))
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
        response = created(UploadSerializer(upload).data, reverse("api:upload-detail", args=[upload.pk]))
        return _standing(response, upload)


class UploadDetail(TusView):
    """One upload."""

    @documented(
        "get_upload",
        tag=TAG,
        summary="One upload",
        description="How much has arrived, until when it waits, and what was made of it; of an upload in parts, which of them "
        "have arrived. HEAD answers with Upload-Offset and Upload-Length, as tus 1.0 has it.",
        answers={200: UploadSerializer},
        problems=(*READING, 410, 503),
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
        if upload.is_in_parts:
            raise UserInputError(
                "The bytes of this upload come in parts.", code="conflict", fix="Ask its parts/ where they go."
            )
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
        problems=(*READING, 410, 412, 423, 503),
        parameters=[_header("Tus-Resumable", "`1.0.0`; may be left out.")],
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        resumable.discard(resumable.find_upload(actor(request), id))
        return gone()


class UploadParts(StudioView):
    """Where the parts of an upload go."""

    @documented(
        "sign_upload_parts",
        tag=TAG,
        summary="Ask where parts of an upload go",
        description="Each part is sent with PUT to an address that works for a quarter of an hour, for these bytes alone: "
        "their number and their SHA-256 are signed. Parts may be sent at once, in any order, and again. Of a part that is "
        "asked for twice the later SHA-256 counts.",
        request=WantedPartsSerializer,
        answers={200: SignedPartsSerializer},
        problems=(*WRITING, 410, 503),
        examples=[asked("The first part", {"parts": [{"number": 1, "sha256": hashlib.sha256(b"").hexdigest()}]})],
    )
    def post(self, request: Request, id: UUID) -> Response:
        upload = resumable.find_upload(actor(request), id)
        values = valid(WantedPartsSerializer(data=request.data))
        wanted = [parts.Wanted(**part) for part in values["parts"]]
        signed = parts.sign(upload, wanted, expires_at=resumable.expiry())
        response = Response(SignedPartsSerializer({"parts": signed}).data)
        response["Cache-Control"] = "no-store"
        return response


class UploadComplete(StudioView):
    """Where an upload in parts ends."""

    post_in_transaction = False  # the file is read meanwhile

    @documented(
        "complete_upload",
        tag=TAG,
        summary="Complete an upload in parts",
        description="The parts become one file, which the studio reads once: each part must have its SHA-256, and the answer "
        "has that of the whole. This takes as long as the storage takes to give the file; asked again, it answers the same. "
        "Where a part differs, all are thrown away, `details.parts` names those, and the upload begins anew.",
        answers={200: UploadSerializer},
        problems=(*READING, 409, 410, 422, 423, 460, 503),
    )
    def post(self, request: Request, id: UUID) -> Response:
        upload = resumable.find_upload(actor(request), id)
        return Response(UploadSerializer(parts.complete(upload, expires_at=resumable.expiry())).data)


def _asks_for_parts(request: Request) -> bool:
    said = str(request.content_type or "").partition(";")[0].strip().lower()
    return request.method == "POST" and said == JSON and "Tus-Resumable" not in request.headers


def _append(request: Request, upload: Upload, *, offset: int, checksum: resumable.Checksum | None) -> None:
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    resumable.append(upload, offset=offset, source=request._request, announced_bytes=announced, checksum=checksum)


def _stands(upload: Upload, *, status: int) -> HttpResponse:
    return _standing(HttpResponse(status=status), upload)


def _standing(response: H, upload: Upload) -> H:
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
