"""The history of a model's latency, out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from edge_ai.engine.history import Mark
from edge_ai.engine.spread import Verdict
from edge_ai.services.history import Run


class HistoryComparisonSerializer(serializers.Serializer[Any]):
    """A run against the level before it."""

    level_ms = serializers.FloatField(help_text="The median of the runs of the level.")
    runs = serializers.IntegerField(help_text="How many those are.")
    ratio_p50 = serializers.FloatField(help_text="This run's latency over that; above 1 is slower.")
    ci95 = serializers.ListField(child=serializers.FloatField())
    verdict = serializers.ChoiceField(choices=[each.value for each in Verdict])


class HistoryPointSerializer(serializers.Serializer[Run]):
    """A measured run in its series."""

    benchmark = serializers.UUIDField(source="run_id")
    model = serializers.UUIDField(source="model_id", help_text="Which version was measured.")
    model_name = serializers.CharField(source="model")
    finished_at = serializers.DateTimeField()
    p50_ms = serializers.FloatField(source="judged.point.p50_ms")
    ci95 = serializers.ListField(
        source="judged.point.ci95", child=serializers.FloatField(), allow_null=True, help_text="Of its median."
    )
    noisy = serializers.BooleanField(source="judged.point.noisy")
    level = serializers.IntegerField(source="judged.level", help_text="Counted from 0; a change begins the next one.")
    mark = serializers.ChoiceField(
        source="judged.mark",
        choices=[each.value for each in Mark],
        allow_null=True,
        help_text="`change`: from here on it is another level. `unconfirmed`: the latest run differs, and the next will tell. "
        "`outlier`: the next run did not bear it out.",
    )
    comparison = HistoryComparisonSerializer(
        source="judged.change", allow_null=True, help_text="Against the level before it; null for the first."
    )


class HistorySeriesSerializer(serializers.Serializer[Any]):
    """The runs of a lineage with the same settings, the earliest first."""

    device_profile = serializers.UUIDField(source="settings.device_id")
    device = serializers.CharField()
    precision = serializers.CharField(source="settings.precision", help_text="Of the models, as their analysis has it.")
    format = serializers.CharField(source="settings.format")
    threads = serializers.IntegerField(source="settings.threads", allow_null=True)
    batch_size = serializers.IntegerField(source="settings.batch_size")
    points = HistoryPointSerializer(source="runs", many=True)


class HistorySerializer(serializers.Serializer[Any]):
    """All series of a model's lineage, those of its own format and precision first."""

    series = HistorySeriesSerializer(many=True)
    cut_off = serializers.BooleanField(help_text="There are earlier runs than the 1000 latest that were looked at.")
