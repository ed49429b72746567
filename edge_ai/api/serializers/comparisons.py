"""Comparisons, in and out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import MAX_NAME, EnumField, FailureField, NumberField, PriorityField, StrictSerializer
from edge_ai.api.serializers.jobs import STATE, TIMES, Waiting
from edge_ai.api.serializers.results import NUMBER, latency_schema
from edge_ai.engine.spec import (
    MAX_BENCHMARK_SECONDS,
    MAX_COMPARED,
    MAX_MARGIN,
    MAX_THREADS,
    MIN_COMPARED,
    MIN_COMPARISON_SECONDS,
    MIN_MARGIN,
)
from edge_ai.models import ComparisonJob, JobStatus, Priority, Visibility

COMPARISON = ["models", "device_profile", "dataset", "threads", "margin", "max_seconds"]
_PAIR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "format": "uuid"},
        "b": {"type": "string", "format": "uuid"},
        "ratio_p50": {"type": "number", "description": "The time of *b* by that of *a*; under 1, *b* is faster."},
        "ci95": {"type": "array", "items": {"type": "number"}, "description": "The interval of the ratio, at 95 %."},
        "ci99": {
            "type": "array",
            "items": {"type": "number"},
            "description": "The same at 99 %: the verdict rests on it.",
        },
        "verdict": {"type": "string", "enum": ["faster", "slower", "same", "inconclusive"]},
        "ratios_of_starts": {
            "type": "array",
            "items": {"type": "number"},
            "description": "The ratio in each start of the processes, one observation each.",
        },
    },
}


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What was measured; null until the comparison is completed.",
        "additionalProperties": True,
        "properties": {
            "kind": {"type": "string", "enum": ["measured"]},
            "runs": {
                "type": "array",
                "description": "One for each model, in the order asked for.",
                "items": {
                    "type": "object",
                    "additionalProperties": True,
                    "properties": {
                        "model": {"type": "string", "format": "uuid"},
                        "name": {"type": "string", "description": "What the model was called then."},
                        "place": {"type": "integer"},
                        "format": {"type": "string"},
                        "latency_ms": latency_schema(),
                        "size_bytes": {"type": "integer"},
                        "accuracy": {
                            "type": ["object", "null"],
                            "additionalProperties": {"type": "number"},
                            "description": "Null with `accuracy_reason` where the data set has no labels, or there is none.",
                        },
                        "accuracy_ci95": {"type": ["object", "null"], "additionalProperties": True},
                        "accuracy_samples": {"type": ["integer", "null"]},
                        "accuracy_reason": {"type": ["string", "null"]},
                        "delta": {
                            "type": ["object", "null"],
                            "description": "Against the first model: `p50` and `size` relative, `accuracy` the difference.",
                            "properties": {
                                "p50": {"type": "number"},
                                "size": {"type": "number"},
                                "accuracy": NUMBER,
                                "metric": {"type": ["string", "null"]},
                            },
                        },
                    },
                },
            },
            "pairs": {"type": "array", "items": _PAIR, "description": "Each other model against the first, *a*."},
            "every_pair": {"type": "array", "items": _PAIR, "description": "The same for every two models."},
            "starts": {"type": "integer", "description": "How often the models' processes were started."},
            "rounds": {"type": "integer", "description": "How many rounds there were in all, each there and back."},
            "margin": {"type": "number"},
            "stop": {
                "type": "object",
                "properties": {
                    "reason": {"type": "string", "enum": ["clear", "starts", "time"]},
                    "seconds": {"type": "number"},
                },
            },
            "environment": {"type": "object", "additionalProperties": True},
            "noise": {"type": "object", "additionalProperties": True},
        },
    }
)
class ComparisonResultField(serializers.JSONField):
    """The result of a comparison."""


class ComparisonSummarySerializer(serializers.ModelSerializer[ComparisonJob]):
    """A comparison as lists show it: all but its result."""

    priority = PriorityField(read_only=True)
    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()
    models = serializers.SerializerMethodField(
        help_text="In the order asked for; the others are held against the first."
    )

    class Meta:
        model = ComparisonJob
        fields = [*STATE, *COMPARISON, *TIMES]
        read_only_fields = fields

    @extend_schema_field({"type": "array", "items": {"type": "string", "format": "uuid"}})
    def get_models(self, job: ComparisonJob) -> list[str]:
        """Return the ids; of what was prefetched, where it was."""
        return [str(each.model_id) for each in job.compared.all()]


class ComparisonSerializer(Waiting, ComparisonSummarySerializer):
    """A comparison with its numbers."""

    result = ComparisonResultField(read_only=True)

    class Meta(ComparisonSummarySerializer.Meta):
        fields = [*STATE, *COMPARISON, "wait", "sandbox_level", "result", *TIMES]
        read_only_fields = fields


@extend_schema_serializer(component_name="Comparison")
class ComparisonRequestSerializer(StrictSerializer):
    """Models to compare."""

    models = serializers.ListField(
        child=serializers.UUIDField(),
        min_length=MIN_COMPARED,
        max_length=MAX_COMPARED,
        help_text="The one that the others are held against comes first.",
    )
    device_profile = serializers.UUIDField()
    dataset = serializers.UUIDField(required=False, allow_null=True, default=None)
    threads = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=MAX_THREADS
    )
    margin = NumberField(
        required=False,
        default=0.02,
        min_value=MIN_MARGIN,
        max_value=MAX_MARGIN,
        help_text="The largest relative difference that does not matter.",
    )
    max_seconds = NumberField(
        required=False,
        default=120.0,
        min_value=MIN_COMPARISON_SECONDS,
        max_value=MAX_BENCHMARK_SECONDS,
        help_text="At most; it ends sooner once every verdict is clear. Accuracy is measured after that.",
    )
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)
    priority = PriorityField(
        required=False,
        default=Priority.NORMAL,
        help_text="Which of the workspace's own jobs goes first; other workspaces do not wait longer for it.",
    )
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Only say what would run, or why it cannot; nothing is queued."
    )
