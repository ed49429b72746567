"""Usage and limits, out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class LimitSerializer(serializers.Serializer[Any]):
    """One limit, and how much of it is gone."""

    name = serializers.CharField(
        source="limit_of", help_text="`models`, `stored_bytes`, `job_minutes` or `open_jobs`; refusals name it."
    )
    used = serializers.FloatField()
    reserved = serializers.FloatField()
    limit = serializers.IntegerField(allow_null=True)
    resets_at = serializers.DateTimeField(allow_null=True, help_text="When it begins anew; null for what only frees.")


class UsedOnSerializer(serializers.Serializer[Any]):
    """What was used on a day, or in a month that begins with it."""

    day = serializers.DateField()
    job_minutes = serializers.FloatField(help_text="That attempts at jobs ran which stopped then.")
    runs = serializers.IntegerField(help_text="How many attempts these were.")
    models = serializers.IntegerField(allow_null=True, help_text="At the end of it; null where nobody looked.")
    stored_bytes = serializers.IntegerField(allow_null=True, help_text="As `models`.")


class UsageOfWorkspaceSerializer(serializers.Serializer[Any]):
    """What the workspace has and used, against what it may."""

    plan = serializers.CharField()
    limits = LimitSerializer(many=True)
    max_upload_bytes = serializers.IntegerField(help_text="Of one model file.")
    max_dataset_bytes = serializers.IntegerField(help_text="Of one data set.")
    concurrent_jobs = serializers.IntegerField(help_text="Jobs that run at once on each queue; others wait in line.")
    days = UsedOnSerializer(many=True, help_text="The last 30 days (UTC), the earliest first.")
    months = UsedOnSerializer(many=True, help_text="The last 12 months (UTC), the earliest first.")
