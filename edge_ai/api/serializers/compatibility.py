"""What a model can become, out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from edge_ai.services.compatibility import STATUSES

STATUS_HELP = "`works`; `needs_dataset`: with a data set to calibrate on it works; `refused`: it never works."


class DevicePrecisionSerializer(serializers.Serializer[Any]):
    """A precision on a device."""

    precision = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES, help_text=STATUS_HELP)
    code = serializers.CharField(allow_null=True, help_text="What an optimization would be refused with.")
    reason = serializers.CharField(allow_null=True, help_text="Why, in words; null where it works.")
    fix = serializers.CharField(allow_null=True, help_text="What to do instead.")


class TargetPrecisionSerializer(DevicePrecisionSerializer):
    """A precision of a target format, whatever the device."""

    expected_size_bytes = serializers.IntegerField(allow_null=True, help_text="By the weights.")


class TargetSerializer(serializers.Serializer[Any]):
    """A target format, and the way to it."""

    format = serializers.CharField()
    runtime = serializers.CharField(allow_null=True, help_text="What runs it in the studio; null: nothing does.")
    route = serializers.ListField(child=serializers.CharField(), help_text="The formats on the way; empty: no way.")
    reason = serializers.CharField(allow_null=True, help_text="Why there is no way.")
    precisions = TargetPrecisionSerializer(many=True)


class CellSerializer(serializers.Serializer[Any]):
    """A target format on a device."""

    target_format = serializers.CharField()
    precisions = DevicePrecisionSerializer(many=True)


class DeviceCompatibilitySerializer(serializers.Serializer[Any]):
    """A device with every target format."""

    device_profile = serializers.UUIDField()
    name = serializers.CharField()
    category = serializers.CharField()
    cells = CellSerializer(many=True)


class CompatibilitySerializer(serializers.Serializer[Any]):
    """What a model can become, and on which devices that runs."""

    decided = serializers.BooleanField(
        help_text="False while the model's analysis is not done; the rest is empty then."
    )
    targets = TargetSerializer(many=True)
    devices = DeviceCompatibilitySerializer(many=True)
