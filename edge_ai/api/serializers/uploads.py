"""Resumable uploads, in and out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge_ai.api.fields import MAX_NAME, EnumField, StrictSerializer
from edge_ai.models import Upload, UploadPurpose
from edge_ai.services import parts, resumable

MAX_LENGTH = 10**15 - 1
MAX_FILE_NAME = 255


class PartsSerializer(serializers.Serializer[Any]):
    """How a file is parted, and which parts have arrived."""

    part_bytes = serializers.IntegerField(help_text="How long each part is but the last, which has the rest.")
    part_count = serializers.IntegerField(help_text="How many parts there are; their numbers begin at 1.")
    arrived = serializers.ListField(
        child=serializers.IntegerField(), help_text="Numbers of the parts that have arrived."
    )


class UploadSerializer(serializers.ModelSerializer[Upload]):
    """A file on its way."""

    purpose = EnumField(UploadPurpose, read_only=True)
    offset_bytes = serializers.SerializerMethodField(help_text="How many bytes have arrived.")
    sha256 = serializers.CharField(
        read_only=True,
        help_text="Of the whole file; empty until all of it has arrived, and was read where it came in parts.",
    )
    made = serializers.UUIDField(read_only=True, allow_null=True, help_text="The model or data set that it became.")
    parts = serializers.SerializerMethodField(help_text="Null where the file comes by tus.")

    class Meta:
        model = Upload
        fields = [
            *("id", "purpose", "name", "file_name", "length_bytes", "offset_bytes", "parts", "sha256", "made"),
            *("expires_at", "created_at"),
        ]
        read_only_fields = fields

    def to_representation(self, upload: Upload) -> dict[str, Any]:
        """Ask the storage once, where it has the parts."""
        self._arrived = parts.arrived(upload) if upload.is_in_parts else None
        shown: dict[str, Any] = super().to_representation(upload)
        return shown

    def get_offset_bytes(self, upload: Upload) -> int:
        """Ask the disk."""
        return resumable.offset_of(upload) if self._arrived is None else self._arrived.size_bytes

    @extend_schema_field(PartsSerializer(allow_null=True))
    def get_parts(self, upload: Upload) -> dict[str, Any] | None:
        """Say what has arrived."""
        if self._arrived is None:
            return None
        return {
            "part_bytes": upload.part_bytes,
            "part_count": upload.part_count,
            "arrived": list(self._arrived.numbers),
        }


class UploadInPartsSerializer(StrictSerializer):
    """An upload that is to come in parts."""

    length_bytes = serializers.IntegerField(min_value=1, max_value=MAX_LENGTH, help_text="Bytes of the whole file.")
    file_name = serializers.CharField(max_length=MAX_FILE_NAME, required=False, default="", allow_blank=True)
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    purpose = EnumField(UploadPurpose, required=False, default=UploadPurpose.MODEL.value)


class WantedPartSerializer(StrictSerializer):
    """A part that is to be sent."""

    number = serializers.IntegerField(min_value=1, max_value=10_000, help_text="From 1.")
    sha256 = serializers.RegexField(r"^[0-9A-Fa-f]{64}\Z", help_text="Of the bytes of the part, in hex.")


class WantedPartsSerializer(StrictSerializer):
    """Parts that are to be sent."""

    parts = serializers.ListField(child=WantedPartSerializer(), min_length=1, max_length=parts.MAX_SIGNED)


class SignedPartSerializer(serializers.Serializer[Any]):
    """Where a part goes."""

    number = serializers.IntegerField()
    size_bytes = serializers.IntegerField(help_text="How long it must be.")
    url = serializers.CharField(help_text="Send the bytes there with PUT, and without your key.")
    headers = serializers.DictField(child=serializers.CharField(), help_text="Headers that must come along.")
    expires_at = serializers.DateTimeField(help_text="When the address stops working; ask for another one then.")


class SignedPartsSerializer(serializers.Serializer[Any]):
    """Where parts go."""

    parts = SignedPartSerializer(many=True)
