"""Imports, in and out."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import (
    MAX_DESCRIPTION,
    MAX_NAME,
    EnumField,
    FailureField,
    KnownText,
    PriorityField,
    StrictSerializer,
    TagsField,
)
from edge_ai.api.serializers.jobs import STATE, TIMES, Waiting
from edge_ai.models import ImportJob, ImportSource, JobStatus, Priority, Visibility
from edge_ai.outbound.addresses import MAX_URL
from edge_ai.services.imports import MAX_KEY

IMPORT = ["source", "address", "sha256", "model"]


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What came of it; null until the job is completed.",
        "additionalProperties": True,
        "properties": {
            "model": {
                "type": "string",
                "format": "uuid",
                "description": "The model that was made; it may have been deleted since.",
            },
            "size_bytes": {"type": "integer"},
            "sha256": {"type": "string"},
            "format": {"type": "string"},
        },
    }
)
class ImportResultField(serializers.JSONField):
    """The result of an import."""


class ImportJobSummarySerializer(serializers.ModelSerializer[ImportJob]):
    """An import as lists show it: all but its result."""

    priority = PriorityField(read_only=True)
    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()
    source = EnumField(ImportSource, read_only=True)  # type: ignore[assignment]  # a field, not where one reads
    address = serializers.CharField(
        read_only=True, help_text="The link without its query, which may be a secret; or the key in the bucket."
    )
    sha256 = KnownText(help_text="What the file was to hash to; null where that was not told.")
    model = serializers.UUIDField(
        source="made_id", read_only=True, allow_null=True, help_text="The model that was made, while it is there."
    )

    class Meta:
        model = ImportJob
        fields = [*STATE, *IMPORT, *TIMES]
        read_only_fields = fields


class ImportJobSerializer(Waiting, ImportJobSummarySerializer):
    """An import with its result."""

    result = ImportResultField(read_only=True)

    class Meta(ImportJobSummarySerializer.Meta):
        fields = [*STATE, *IMPORT, "wait", "sandbox_level", "result", *TIMES]
        read_only_fields = fields


@extend_schema_serializer(component_name="Import")
class ImportRequestSerializer(StrictSerializer):
    """A file to fetch, by `url` or by `s3_key`, and what to call the model."""

    url = serializers.CharField(
        max_length=MAX_URL,
        required=False,
        default="",
        allow_blank=True,
        help_text="An http or https address without a user name. Its query is kept encrypted, and shown nowhere.",
    )
    s3_key = serializers.CharField(
        max_length=MAX_KEY,
        required=False,
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="A key in the operator's bucket, below the workspace's own prefix; where there is none: `import_s3_off`.",
    )
    sha256 = serializers.CharField(
        max_length=64,
        required=False,
        default="",
        allow_blank=True,
        help_text="What the file must hash to; another file is refused.",
    )
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    description = serializers.CharField(max_length=MAX_DESCRIPTION, required=False, default="", allow_blank=True)
    tags = TagsField(required=False, default=list)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)
    priority = PriorityField(required=False, default=Priority.NORMAL)
