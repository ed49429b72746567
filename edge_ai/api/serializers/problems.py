"""The one shape of every refusal."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers


class FieldProblemSerializer(serializers.Serializer[Any]):
    """A field at fault."""

    field = serializers.CharField(allow_null=True, help_text="Dotted path; null when no single field is at fault.")
    code = serializers.CharField()
    detail = serializers.CharField()


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Not possible",
            value={
                "type": "/docs/errors/#unsupported_precision",
                "title": "Precision not supported",
                "status": 422,
                "code": "unsupported_precision",
                "detail": "No runtime here computes in fp8 on a CPU. Choose int8, int8_dynamic or fp16.",
                "errors": [
                    {
                        "field": "precision",
                        "code": "unsupported_precision",
                        "detail": "No runtime here computes in fp8 on a CPU. Choose int8, int8_dynamic or fp16.",
                    }
                ],
                "details": {"nearest": {"target_format": "onnx", "precision": "int8"}},
                "request_id": "5f0c8f6e2a9b4d0f9d3b7f1c2e4a6b80",
            },
        )
    ]
)
class ProblemSerializer(serializers.Serializer[Any]):
    """What went wrong, by RFC 9457."""

    type = serializers.CharField(help_text="The page that explains the code, relative to this server.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; decide by this one.")
    detail = serializers.CharField(help_text="What happened and what to do, for people.")
    errors = FieldProblemSerializer(many=True)  # type: ignore[assignment]  # a field, not the property of that name
    request_id = serializers.CharField(help_text="Also in the header X-Request-ID and in the studio's log.")
    details = serializers.DictField(
        required=False, help_text="Facts for programs, such as `nearest`: the nearest request that works."
    )
