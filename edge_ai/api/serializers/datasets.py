"""Data sets, in and out."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge_ai.api.fields import MAX_DESCRIPTION, MAX_NAME, EnumField, StrictSerializer
from edge_ai.engine.dataset_task import TASKS
from edge_ai.models import Dataset, DatasetKind, Visibility


@extend_schema_field(
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "dtype", "shape"],
            "properties": {
                "name": {"type": "string", "description": "`*`: whichever is the model's only input."},
                "dtype": {"type": "string", "examples": ["float32"]},
                "shape": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "description": "The first axis counts samples.",
                },
            },
        },
    }
)
class ArraysField(serializers.JSONField):
    """The arrays that the file says it holds."""


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """Calibration or evaluation data."""

    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    kind = EnumField(DatasetKind, read_only=True)
    arrays = ArraysField(source="header.arrays", read_only=True)
    # Rows of old lack both.
    content = serializers.ChoiceField(
        choices=["arrays", "images", "audio"],
        source="header.content",
        read_only=True,
        default="arrays",
        help_text="What the file holds.",
    )
    task = serializers.ChoiceField(
        choices=TASKS,
        source="header.task",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="What the labels mean, where the data set tells; null: inferred when a model is judged.",
    )

    class Meta:
        model = Dataset
        fields = [
            "id",
            "owner",
            "name",
            "description",
            "visibility",
            "kind",
            "file_name",
            "size_bytes",
            "sha256",
            "sample_count",
            "has_labels",
            "arrays",
            "content",
            "task",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class DatasetUploadSerializer(StrictSerializer):
    """A file, and what it is for."""

    file = serializers.FileField(
        help_text="A .npz with one array for each model input, under the input's name, and `labels` if there are any; or a "
        ".zip of images or WAV files with `labels.csv`, `preprocess.json` and `task.json` beside them."
    )
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    description = serializers.CharField(max_length=MAX_DESCRIPTION, required=False, default="", allow_blank=True)
    kind = EnumField(DatasetKind, required=False, default=DatasetKind.BOTH.value)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)


class DatasetFromUploadSerializer(StrictSerializer):
    """A resumable upload, and what it is for."""

    upload = serializers.UUIDField(help_text="Id of a finished resumable upload.")
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    description = serializers.CharField(max_length=MAX_DESCRIPTION, required=False, default="", allow_blank=True)
    kind = EnumField(DatasetKind, required=False, default=DatasetKind.BOTH.value)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)
