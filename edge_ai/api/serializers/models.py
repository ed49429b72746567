"""Models, in and out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import (
    MAX_DESCRIPTION,
    MAX_NAME,
    EnumField,
    FailureField,
    KnownText,
    StrictSerializer,
    TagsField,
)
from edge_ai.api.serializers.quick import QuickRows
from edge_ai.models import Model, ModelFormat, ModelStatus, Visibility

_VALUES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "dtype": {"type": "string", "examples": ["float32"]},
            "shape": {
                "type": ["array", "null"],
                "items": {"type": ["integer", "string", "null"]},
                "description": "An axis is a size, a name when it is dynamic, or null when nothing is known.",
            },
            "quantization": {
                "type": ["object", "null"],
                "additionalProperties": True,
                "description": "Of an integer that stands for a real number: real = scale × (integer - zero_point).",
            },
        },
    },
}
_COUNT = {"type": ["integer", "null"]}


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What the file holds; null until it was read. A field that cannot be known is null.",
        "additionalProperties": True,
        "properties": {
            "inputs": _VALUES,
            "outputs": _VALUES,
            "operators": {"type": "object", "additionalProperties": {"type": "integer"}, "examples": [{"Conv": 52}]},
            "parameter_count": _COUNT,
            "weight_bytes": _COUNT,
            "macs": {**_COUNT, "description": "Multiply-accumulates of one inference of one sample."},
            "peak_activation_bytes": {
                **_COUNT,
                "description": "The most that activations take at a time, for one sample, without the weights.",
            },
            "opset": _COUNT,
            "ir_version": _COUNT,
            "producer": {"type": ["string", "null"]},
            "precision": {"type": ["string", "null"]},
            "dynamic_axes": {"type": ["array", "null"], "items": {"type": "object", "additionalProperties": True}},
            "warnings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("code", "detail", "fix")},
                },
            },
        },
    }
)
class AnalysisField(serializers.JSONField):
    """What the engine says of a model."""


@extend_schema_serializer(component_name="Model")
class StoredModelSerializer(QuickRows, serializers.ModelSerializer[Model]):
    """A model, uploaded or made by an optimization."""

    written = ("analysis",)

    visibility = EnumField(Visibility, read_only=True)
    format = EnumField(ModelFormat, read_only=True, help_text="By the file's content, whatever its name says.")
    status = EnumField(ModelStatus, read_only=True)
    precision = KnownText()
    analysis = AnalysisField(read_only=True)
    error = FailureField()
    owner = serializers.UUIDField(source="owner_id", read_only=True)

    class Meta:
        model = Model
        fields = [
            "id",
            "owner",
            "name",
            "description",
            "tags",
            "visibility",
            "format",
            "file_name",
            "size_bytes",
            "sha256",
            "status",
            "precision",
            "analysis",
            "error",
            "parent",
            "producer",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


#: That are sent together.
MAX_FILES = 64


class ModelUploadSerializer(StrictSerializer):
    """A file, and what to call it."""

    file = serializers.FileField(help_text="The model file. Its content decides what it is.")
    external_data = serializers.ListField(
        child=serializers.FileField(),
        required=False,
        default=list,
        max_length=MAX_FILES,
        help_text="The files in which an ONNX model keeps its weights, under the names by which it refers to them. What is "
        "stored is one zip archive with all of them. `file` sent several times is the same.",
    )
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    description = serializers.CharField(max_length=MAX_DESCRIPTION, required=False, default="", allow_blank=True)
    tags = TagsField(required=False, default=list)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)


class ModelChangesSerializer(StrictSerializer):
    """What may be changed of a model; what is left out stays."""

    name = serializers.CharField(max_length=MAX_NAME, required=False)
    description = serializers.CharField(max_length=MAX_DESCRIPTION, required=False, allow_blank=True)
    tags = TagsField(required=False)
    visibility = EnumField(Visibility, required=False)

    def changes(self) -> dict[str, Any]:
        """Return the new values."""
        return dict(self.validated_data)


class ModelFromUploadSerializer(StrictSerializer):
    """A resumable upload, and what to call it."""

    upload = serializers.UUIDField(help_text="Id of a finished resumable upload.")
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    description = serializers.CharField(max_length=MAX_DESCRIPTION, required=False, default="", allow_blank=True)
    tags = TagsField(required=False, default=list)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)
