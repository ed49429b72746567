"""Resumable uploads, out."""

from __future__ import annotations

from rest_framework import serializers

from edge_ai.api.fields import EnumField
from edge_ai.models import Upload, UploadPurpose
from edge_ai.services import resumable


class UploadSerializer(serializers.ModelSerializer[Upload]):
    """A file on its way."""

    purpose = EnumField(UploadPurpose, read_only=True)
    offset_bytes = serializers.SerializerMethodField(help_text="How many bytes have arrived.")
    sha256 = serializers.CharField(read_only=True, help_text="Of the whole file; empty until all of it has arrived.")
    made = serializers.UUIDField(read_only=True, allow_null=True, help_text="The model or data set that it became.")

    class Meta:
        model = Upload
        fields = [
            *("id", "purpose", "name", "file_name", "length_bytes", "offset_bytes", "sha256", "made"),
            *("expires_at", "created_at"),
        ]
        read_only_fields = fields

    def get_offset_bytes(self, upload: Upload) -> int:
        """Ask the disk."""
        return resumable.offset_of(upload)
