"""Who one is, out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import Role
from edge_ai.api.fields import EnumField


class UserSerializer(serializers.Serializer[Any]):
    """A person."""

    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()


class WorkspaceSerializer(serializers.Serializer[Any]):
    """A workspace."""

    id = serializers.UUIDField()
    slug = serializers.CharField(help_text="What X-Tenant-ID takes.")
    name = serializers.CharField()


class KeySerializer(serializers.Serializer[Any]):
    """The key that the request came with."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)


class QuotaSerializer(serializers.Serializer[Any]):
    """What is accepted."""

    max_upload_bytes = serializers.IntegerField()
    max_dataset_bytes = serializers.IntegerField()
    max_dataset_samples = serializers.IntegerField()


class UsageSerializer(serializers.Serializer[Any]):
    """What is there: rows that you see, and bytes stored by the whole workspace."""

    models = serializers.IntegerField()
    datasets = serializers.IntegerField()
    optimization_jobs = serializers.IntegerField()
    benchmarks = serializers.IntegerField()
    artifacts = serializers.IntegerField()
    active_jobs = serializers.IntegerField(help_text="Jobs that have not ended.")
    stored_bytes = serializers.IntegerField(help_text="Of the whole workspace; equal files count once.")


class MeSerializer(serializers.Serializer[Any]):
    """Who asks, where, and what they may do."""

    user = UserSerializer()
    workspace = WorkspaceSerializer()
    role = EnumField(Role)
    scopes = serializers.ListField(child=serializers.CharField(), help_text="What this request may do.")
    api_key = KeySerializer(allow_null=True, help_text="Null in a browser's session.")
    quota = QuotaSerializer()
    usage = UsageSerializer()
