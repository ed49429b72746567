"""The making of bundles, in and out."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import EnumField, FailureField, PriorityField
from edge_ai.api.serializers.jobs import STATE, TIMES, Waiting, WorkOnModelSerializer
from edge_ai.models import JobStatus, PackagingJob, Visibility


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What came of it; null until the job is completed.",
        "additionalProperties": True,
        "properties": {
            "artifact": {
                "type": "string",
                "format": "uuid",
                "description": "The bundle, a zip archive; it may have been deleted, or expired, since.",
            },
            "size_bytes": {"type": "integer"},
            "files": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string"},
                        "size_bytes": {"type": "integer"},
                        "sha256": {"type": "string"},
                    },
                },
            },
            "runs_here": {"type": "boolean", "description": "It holds a program that runs the model, `run.py`."},
        },
    }
)
class PackagingResultField(serializers.JSONField):
    """The result of a packaging job."""


class PackagingJobSummarySerializer(serializers.ModelSerializer[PackagingJob]):
    """The making of a bundle as lists show it: all but its result."""

    priority = PriorityField(read_only=True)
    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()

    class Meta:
        model = PackagingJob
        fields = [*STATE, "model", *TIMES]
        read_only_fields = fields


class PackagingJobSerializer(Waiting, PackagingJobSummarySerializer):
    """The making of a bundle with its result."""

    result = PackagingResultField(read_only=True)

    class Meta(PackagingJobSummarySerializer.Meta):
        fields = [*STATE, "model", "wait", "sandbox_level", "result", *TIMES]
        read_only_fields = fields


@extend_schema_serializer(component_name="Package")
class PackageRequestSerializer(WorkOnModelSerializer):
    """A bundle to make."""
