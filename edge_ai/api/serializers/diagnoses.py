"""Diagnoses, in and out."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import EnumField, FailureField, NumberField, PriorityField
from edge_ai.api.serializers.jobs import STATE, TIMES, Waiting, WorkOnModelSerializer
from edge_ai.api.serializers.results import NUMBER
from edge_ai.engine.spec import MAX_BENCHMARK_SECONDS, MAX_THREADS, MIN_BENCHMARK_SECONDS
from edge_ai.models import DiagnosisJob, JobStatus, Visibility

DIAGNOSIS = ["model", "baseline", "device_profile", "dataset", "threads", "max_seconds"]
_TEXT = {"type": ["string", "null"]}


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What came of it; null until the job is completed.",
        "additionalProperties": True,
        "properties": {
            "question": {
                "type": "string",
                "enum": ["slower", "wrong", "both", "neither"],
                "description": "What is the matter, by measuring both by turns and comparing their answers.",
            },
            "summary": {"type": "string", "description": "The same in a sentence."},
            "findings": {
                "type": "array",
                "description": "The causes, the weightiest first.",
                "items": {
                    "type": "object",
                    "properties": {
                        "code": {"type": "string"},
                        "severity": {
                            "type": "string",
                            "enum": ["high", "medium", "low"],
                            "description": "How much of what is the matter it explains.",
                        },
                        "title": {"type": "string"},
                        "evidence": {"type": "object", "additionalProperties": True},
                        "fix": {"type": "string"},
                        "fix_job": {
                            "type": ["object", "null"],
                            "additionalProperties": True,
                            "description": "An optimization request that may mend it, to be sent to "
                            "`optimization-jobs/` as it is; null where there is none.",
                        },
                    },
                },
            },
            "layers": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "type": {"type": "string"},
                        "baseline_ms": NUMBER,
                        "variant_ms": NUMBER,
                        "sqnr_db": {**NUMBER, "description": "Errors of earlier layers included."},
                        "cosine": NUMBER,
                        "alone_sqnr_db": {
                            **NUMBER,
                            "description": "Of the answers, when this layer alone computes in the variant's integers.",
                        },
                        "precision": {**_TEXT, "description": "What the variant reads there."},
                        "runs_as": {**_TEXT, "description": "What the variant's runtime runs for it."},
                        "transition": {
                            "type": ["string", "null"],
                            "description": "`quantize` or `dequantize`, where what it answers becomes integers, or float.",
                        },
                    },
                },
            },
            "layers_reason": {**_TEXT, "description": "Why there are no layers, or no errors by layer."},
            "latency": {"type": "object", "additionalProperties": True},
            "parity": {"type": "object", "additionalProperties": True},
            "elsewhere_ms": {
                "type": "object",
                "description": "Time that no name gives to a layer.",
                "properties": {"baseline": NUMBER, "variant": NUMBER},
            },
            "environment": {"type": "object", "additionalProperties": True},
            "noise": {"type": "object", "additionalProperties": True},
        },
    }
)
class DiagnosisResultField(serializers.JSONField):
    """The result of a diagnosis."""


class DiagnosisSummarySerializer(serializers.ModelSerializer[DiagnosisJob]):
    """A diagnosis as lists show it: all but its result."""

    priority = PriorityField(read_only=True)
    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()

    class Meta:
        model = DiagnosisJob
        fields = [*STATE, *DIAGNOSIS, *TIMES]
        read_only_fields = fields


class DiagnosisSerializer(Waiting, DiagnosisSummarySerializer):
    """A diagnosis with what was found."""

    result = DiagnosisResultField(read_only=True)

    class Meta(DiagnosisSummarySerializer.Meta):
        fields = [*STATE, *DIAGNOSIS, "wait", "sandbox_level", "result", *TIMES]
        read_only_fields = fields


@extend_schema_serializer(component_name="Diagnosis")
class DiagnosisRequestSerializer(WorkOnModelSerializer):
    """A question about a variant."""

    baseline = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="What the variant is held against; null: the model that it was made from.",
    )
    device_profile = serializers.UUIDField()
    dataset = serializers.UUIDField(required=False, allow_null=True, default=None)
    threads = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=MAX_THREADS
    )
    max_seconds = NumberField(
        required=False,
        default=20.0,
        min_value=MIN_BENCHMARK_SECONDS,
        max_value=MAX_BENCHMARK_SECONDS,
        help_text="For measuring the two by turns.",
    )
