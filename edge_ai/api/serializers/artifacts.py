"""Artifacts, out."""

from __future__ import annotations

from rest_framework import serializers

from edge_ai.api.fields import EnumField
from edge_ai.models import Artifact, ArtifactType, Visibility


class ArtifactSerializer(serializers.ModelSerializer[Artifact]):
    """A file that a job made."""

    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    artifact_type = EnumField(ArtifactType, read_only=True)

    class Meta:
        model = Artifact
        fields = [
            "id",
            "owner",
            "visibility",
            "artifact_type",
            "file_name",
            "model",
            "optimization_job",
            "benchmark",
            "device_profile",
            "size_bytes",
            "sha256",
            "mime_type",
            "target_platform",
            "target_language",
            "download_count",
            "expires_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields
