"""Device profiles, in and out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import EnumField, NumberField, StrictSerializer
from edge_ai.catalogue.loader import ACCELERATOR_KINDS, FORMATS, PRECISIONS
from edge_ai.models import DeviceCategory, DeviceProfile, Visibility

MAX_INTEGER = 2**31 - 1
MAX_WORDS = 60


def _words(choices: frozenset[str], help_text: str = "") -> Any:
    return serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(choices)),
        max_length=MAX_WORDS,
        required=False,
        help_text=help_text,
    )


def _free_words(length: int) -> Any:
    return serializers.ListField(
        child=serializers.CharField(max_length=length), max_length=MAX_WORDS, required=False, default=list
    )


def _text(length: int) -> Any:
    return serializers.CharField(max_length=length, required=False, allow_blank=True)


def _whole(help_text: str = "") -> Any:
    return serializers.IntegerField(
        min_value=1, max_value=MAX_INTEGER, required=False, allow_null=True, help_text=help_text
    )


def _number(help_text: str) -> Any:
    return NumberField(min_value=0, required=False, allow_null=True, help_text=help_text)


class AcceleratorSerializer(StrictSerializer):
    """A processor beside the CPU that can run models."""

    name = serializers.CharField(max_length=200)
    kind = serializers.ChoiceField(choices=sorted(ACCELERATOR_KINDS))
    peak_tops_int8 = NumberField(min_value=0, required=False, allow_null=True, default=None)
    precisions = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(PRECISIONS)), max_length=MAX_WORDS, required=False, default=list
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the whole of it: with PATCH, REST framework would let parts of an item be left out as well."""
        missing = {name: ["This field is required."] for name in ("name", "kind") if name not in attrs}
        if missing:
            raise serializers.ValidationError(missing, "required")
        return {"peak_tops_int8": None, "precisions": []} | attrs


class DeviceProfileSerializer(serializers.ModelSerializer[DeviceProfile]):
    """A device: a template, or somebody's own. A number that nobody published is null."""

    owner = serializers.UUIDField(source="owner_id", read_only=True, allow_null=True)
    visibility = EnumField(Visibility, read_only=True)
    category = EnumField(DeviceCategory, read_only=True)
    accelerators = AcceleratorSerializer(many=True, read_only=True)
    sources = serializers.DictField(
        child=serializers.CharField(), read_only=True, help_text="Where each number is from, by the name of its field."
    )

    class Meta:
        model = DeviceProfile
        fields = [
            "id",
            "owner",
            "visibility",
            "is_template",
            "is_host",
            "slug",
            "name",
            "vendor",
            "category",
            "description",
            "os",
            "cpu_model",
            "cpu_cores",
            "cpu_architecture",
            "cpu_extensions",
            "cpu_frequency_mhz",
            "memory_mb",
            "memory_bandwidth_gb_s",
            "peak_gflops_fp32",
            "peak_gflops_fp16",
            "peak_tops_int8",
            "tdp_w",
            "accelerators",
            "runtimes",
            "formats",
            "precisions",
            "sources",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


@extend_schema_serializer(component_name="DeviceProfile")
class DeviceRequestSerializer(StrictSerializer):
    """A device of one's own. With PATCH, what is left out stays."""

    name = serializers.CharField(max_length=200)
    category = EnumField(DeviceCategory)
    visibility = EnumField(Visibility, required=False)
    vendor = _text(100)
    description = _text(2000)
    os = _text(100)
    cpu_model = _text(200)
    cpu_cores = _whole()
    cpu_architecture = _text(30)
    cpu_extensions = _free_words(30)
    cpu_frequency_mhz = _whole("The highest of the fastest core.")
    memory_mb = _whole("In 1024 × 1024 bytes.")
    memory_bandwidth_gb_s = _number("In 10^9 bytes per second.")
    peak_gflops_fp32 = _number("Of the CPU, all cores together.")
    peak_gflops_fp16 = _number("Of the CPU, all cores together.")
    peak_tops_int8 = _number("Of the CPU, all cores together.")
    tdp_w = _number("In watts.")
    accelerators = AcceleratorSerializer(many=True, required=False)
    runtimes = _free_words(30)
    formats = _words(FORMATS, "Which model formats the device runs; empty means that it is not known.")
    precisions = _words(PRECISIONS, "Which precisions the device runs; empty means that it is not known.")

    def validate_category(self, value: str) -> str:
        """Refuse a second “This machine”: the host is detected."""
        if value == DeviceCategory.HOST:
            raise serializers.ValidationError(
                "“This machine” is detected and cannot be made by hand.", "invalid_choice"
            )
        return value

    def facts(self) -> dict[str, Any]:
        """Return the values, ready for the database."""
        values = dict(self.validated_data)
        if "accelerators" in values:
            values["accelerators"] = [dict(item) for item in values["accelerators"]]
        return values
