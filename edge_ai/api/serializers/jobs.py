"""Optimizations and benchmarks, in and out, and what jobs of every kind have in common."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import (
    MAX_NAME,
    EnumField,
    FailureField,
    KnownText,
    NumberField,
    OptionsField,
    PriorityField,
    StrictSerializer,
)
from edge_ai.api.serializers.quick import QuickRows
from edge_ai.api.serializers.results import BenchmarkResultField, OptimizationResultField
from edge_ai.engine.spec import (
    MAX_BATCH_SIZE,
    MAX_BENCHMARK_SECONDS,
    MAX_THREADS,
    MAX_WARMUP,
    MIN_BENCHMARK_SECONDS,
)
from edge_ai.models import (
    BenchmarkRun,
    EventKind,
    Job,
    JobEvent,
    JobStatus,
    ModelFormat,
    OptimizationJob,
    OptimizationLevel,
    Precision,
    Priority,
    ResultKind,
    Visibility,
)
from edge_ai.services.waiting import wait_of

STATE = [
    "id",
    "owner",
    "name",
    "visibility",
    "status",
    "stage",
    "progress",
    "attempt",
    "max_attempts",
    "priority",
    "cancel_requested",
    "error",
]
TIMES = ["created_at", "started_at", "finished_at", "updated_at"]
OPTIMIZATION = [
    "model",
    "device_profile",
    "dataset",
    "target_format",
    "precision",
    "optimization_level",
    "options",
    "answered_by",
    "batch",
]
BENCHMARK = [
    "model",
    "optimization_job",
    "device_profile",
    "dataset",
    "baseline",
    "threads",
    "batch_size",
    "warmup",
    "min_seconds",
    "max_seconds",
    "profile_operators",
    "kind",
    "p50_ms",
    "estimated_ms",
]


@extend_schema_field({"type": "object", "additionalProperties": True})
class StoredOptionsField(serializers.JSONField):
    """The options as they were given."""


class WaitSerializer(serializers.Serializer[Any]):
    """How long a queued job waits for a worker."""

    place = serializers.IntegerField(
        help_text="Its place in the line, over all workspaces, which take turns; 1 is next."
    )
    seconds = serializers.FloatField(
        allow_null=True, help_text="About how long until it begins, by how long jobs ran lately."
    )
    reason = serializers.CharField(allow_null=True, help_text="Why there is no estimate.")


class Waiting(serializers.Serializer[Any]):
    """What a single job tells besides: how long it waits, and how it was held."""

    wait = serializers.SerializerMethodField()
    sandbox_level = KnownText(
        help_text="How the process that works on the model was held in the last attempt; null before the first."
    )

    @extend_schema_field(WaitSerializer(allow_null=True))
    def get_wait(self, job: Job) -> dict[str, Any] | None:
        """Return a queued job's wait."""
        wait = wait_of(job)
        return None if wait is None else wait.to_json()


class OptimizationJobSummarySerializer(QuickRows, serializers.ModelSerializer[OptimizationJob]):
    """An optimization as lists show it: all but its result."""

    priority = PriorityField(read_only=True)
    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()
    target_format = EnumField(ModelFormat, read_only=True)
    precision = EnumField(Precision, read_only=True)
    optimization_level = EnumField(OptimizationLevel, read_only=True)
    options = StoredOptionsField(read_only=True)
    answered_by = serializers.UUIDField(
        source="answered_by_id",
        read_only=True,
        allow_null=True,
        help_text="The earlier job that this one was answered from, without running; its variant and artifacts are the "
        "answer. Null for a job that ran, or whose earlier job was deleted.",
    )

    class Meta:
        model = OptimizationJob
        fields = [*STATE, *OPTIMIZATION, *TIMES]
        read_only_fields = fields


class OptimizationJobSerializer(Waiting, OptimizationJobSummarySerializer):
    """An optimization with its result."""

    result = OptimizationResultField(read_only=True)

    class Meta(OptimizationJobSummarySerializer.Meta):
        fields = [*STATE, *OPTIMIZATION, "wait", "sandbox_level", "result", *TIMES]
        read_only_fields = fields


class BenchmarkSummarySerializer(QuickRows, serializers.ModelSerializer[BenchmarkRun]):
    """A benchmark as lists show it: all but its result; `p50_ms` is its median latency, where that was measured."""

    kind = EnumField(
        ResultKind,
        source="result_kind",
        read_only=True,
        help_text="Whether its numbers are measured, or estimated for a device that the studio does not run on.",
    )
    p50_ms = serializers.FloatField(
        read_only=True, allow_null=True, help_text="Measured; null until then, and for estimates."
    )
    estimated_ms = serializers.FloatField(
        read_only=True, allow_null=True, help_text="The estimated median; null for what is measured."
    )
    priority = PriorityField(read_only=True)
    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()
    optimization_job = serializers.UUIDField(
        source="variant_of_id",
        read_only=True,
        allow_null=True,
        help_text="Whose variant is measured. Until that is made, `model` is the model that it is made from.",
    )

    class Meta:
        model = BenchmarkRun
        fields = [*STATE, *BENCHMARK, *TIMES]
        read_only_fields = fields


class BenchmarkSerializer(Waiting, BenchmarkSummarySerializer):
    """A benchmark with its numbers."""

    result = BenchmarkResultField(read_only=True)

    class Meta(BenchmarkSummarySerializer.Meta):
        fields = [*STATE, *BENCHMARK, "wait", "sandbox_level", "result", *TIMES]
        read_only_fields = fields


class WorkOnModelSerializer(StrictSerializer):
    """What every job is asked with."""

    model = serializers.UUIDField()
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)
    priority = PriorityField(
        required=False,
        default=Priority.NORMAL,
        help_text="Which of the workspace's own jobs goes first; other workspaces do not wait longer for it.",
    )


class JobRequestSerializer(WorkOnModelSerializer):
    """What optimizations and benchmarks are both asked with besides."""

    device_profile = serializers.UUIDField()
    dataset = serializers.UUIDField(required=False, allow_null=True, default=None)
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Only say what would run, or why it cannot; nothing is queued."
    )


@extend_schema_serializer(component_name="OptimizationJob")
class OptimizationRequestSerializer(JobRequestSerializer):
    """An optimization to run."""

    target_format = EnumField(ModelFormat)
    precision = EnumField(Precision)
    optimization_level = EnumField(OptimizationLevel, required=False, default=OptimizationLevel.BALANCED.value)
    options = OptionsField(required=False, default=dict)
    fresh = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Run even where a completed job that you see has the answer to the same request on the same model.",
    )


@extend_schema_serializer(component_name="Benchmark")
class BenchmarkRequestSerializer(JobRequestSerializer):
    """A benchmark to run: of a model, or of what an optimization makes, which may not be done yet."""

    model = serializers.UUIDField(required=False, allow_null=True, default=None)
    optimization_job = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="Instead of `model`: measure the variant that this optimization makes, as soon as it is made.",
    )
    baseline = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="A completed benchmark to compare with."
    )
    threads = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=MAX_THREADS
    )
    batch_size = serializers.IntegerField(required=False, default=1, min_value=1, max_value=MAX_BATCH_SIZE)
    warmup = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=0, max_value=MAX_WARMUP)
    min_seconds = NumberField(
        required=False, default=3.0, min_value=MIN_BENCHMARK_SECONDS, max_value=MAX_BENCHMARK_SECONDS
    )
    max_seconds = NumberField(
        required=False,
        default=60.0,
        min_value=MIN_BENCHMARK_SECONDS,
        max_value=MAX_BENCHMARK_SECONDS,
        help_text="Of recording latencies. On a noisy machine a quarter more, and as much again for another attempt.",
    )
    profile_operators = serializers.BooleanField(required=False, default=True)


class PlannedStageSerializer(serializers.Serializer[Any]):
    """A step of a plan."""

    name = serializers.CharField()
    title = serializers.CharField()


class CautionSerializer(serializers.Serializer[Any]):
    """Something worth knowing before."""

    code = serializers.CharField()
    detail = serializers.CharField()
    fix = serializers.CharField()


class EstimateSerializer(serializers.Serializer[Any]):
    """How long it will run, by how long what was like it took; the time before it starts is not counted."""

    seconds = serializers.FloatField(
        allow_null=True, help_text="The median, scaled to the model's size where enough ran."
    )
    low = serializers.FloatField(
        allow_null=True,
        help_text="Eight of ten lie between `low` and `high`; all of them where there are fewer than ten. Null for one.",
    )
    high = serializers.FloatField(allow_null=True)
    samples = serializers.IntegerField(help_text="How many completed jobs it rests on.")
    reason = serializers.CharField(allow_null=True, help_text="Why there is no estimate.")


class PlanSerializer(serializers.Serializer[Any]):
    """What would run."""

    decided = serializers.BooleanField(
        help_text="False while the model's analysis is not done: the job would wait for it and be decided then."
    )
    route = serializers.ListField(child=serializers.CharField(), help_text="The formats on the way.")
    precision = serializers.CharField(
        allow_null=True, help_text="Of an optimization: the precision, with what `auto` stands for."
    )
    stages = PlannedStageSerializer(many=True)
    warnings = CautionSerializer(many=True)
    expected_size_bytes = serializers.IntegerField(allow_null=True)
    estimate = EstimateSerializer(allow_null=True, help_text="Null for benchmarks, whose time is given in the request.")
    cached = serializers.UUIDField(
        allow_null=True,
        help_text="The completed job that would answer the request at once; null where it would run, as benchmarks "
        "always do.",
    )
    wait = WaitSerializer(
        allow_null=True,
        help_text="How long it would wait for a worker, submitted now; null where it waits for an analysis first, or is "
        "answered at once.",
    )


class JobEventSerializer(serializers.ModelSerializer[JobEvent]):
    """A line of a job's story."""

    seq = serializers.IntegerField(source="id", read_only=True, help_text="The order, and what `after` counts.")
    kind = EnumField(EventKind, read_only=True)
    level = serializers.CharField(read_only=True)

    class Meta:
        model = JobEvent
        fields = ["seq", "kind", "level", "attempt", "stage", "progress", "message", "created_at"]
        read_only_fields = fields


class JobEventsSerializer(serializers.Serializer[Any]):
    """A part of a job's story, oldest line first."""

    next = serializers.CharField(allow_null=True, help_text="Where it goes on, when there is more already.")
    previous = serializers.CharField(allow_null=True, help_text="Always null: the story is read forwards.")
    results = JobEventSerializer(many=True)
