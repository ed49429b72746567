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
    rate_per_minute = serializers.IntegerField(
        source="rate", help_text="Requests that it may make in a minute; 0: any."
    )


class QuotaSerializer(serializers.Serializer[Any]):
    """What the workspace may have and use; null where there is no limit. `usage/` has what is gone of it."""

    plan = serializers.CharField(help_text="What the operator calls these limits.")
    max_upload_bytes = serializers.IntegerField(help_text="Of one model file.")
    max_dataset_bytes = serializers.IntegerField(help_text="Of one data set.")
    max_dataset_samples = serializers.IntegerField()
    max_models = serializers.IntegerField(allow_null=True)
    max_stored_bytes = serializers.IntegerField(allow_null=True)
    max_job_minutes = serializers.IntegerField(allow_null=True, help_text="In a calendar month (UTC).")
    max_open_jobs = serializers.IntegerField(allow_null=True, help_text="Jobs that wait or run.")
    concurrent_jobs = serializers.IntegerField(help_text="Jobs that run at once on each queue; others wait in line.")
    resets_at = serializers.DateTimeField(help_text="When the job minutes begin anew.")


class UsageSerializer(serializers.Serializer[Any]):
    """What is there: rows that you see, and bytes and minutes of the whole workspace."""

    models = serializers.IntegerField()
    datasets = serializers.IntegerField()
    optimization_jobs = serializers.IntegerField()
    benchmarks = serializers.IntegerField()
    artifacts = serializers.IntegerField()
    active_jobs = serializers.IntegerField(help_text="Jobs that have not ended.")
    stored_bytes = serializers.IntegerField(help_text="Of the whole workspace; equal files count once.")
    reserved_bytes = serializers.IntegerField(help_text="Promised to uploads under way and to variants in the making.")
    job_minutes = serializers.FloatField(help_text="That jobs of the whole workspace ran this month.")


class MeSerializer(serializers.Serializer[Any]):
    """Who asks, where, and what they may do."""

    user = UserSerializer()
    workspace = WorkspaceSerializer()
    role = EnumField(Role)
    scopes = serializers.ListField(child=serializers.CharField(), help_text="What this request may do.")
    api_key = KeySerializer(allow_null=True, help_text="Null in a browser's session.")
    quota = QuotaSerializer()
    usage = UsageSerializer()
