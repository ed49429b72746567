"""``device-profiles/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import DeviceFilters
from edge_ai.api.schema import CHANGING, LISTING, WRITING, asked, documented
from edge_ai.api.serializers.devices import DeviceProfileSerializer, DeviceRequestSerializer
from edge_ai.api.views.base import StudioListView, StudioView, created, find, gone, valid
from edge_ai.models import DeviceProfile
from edge_ai.services import devices as service

TAG = "device-profiles"


class DeviceList(StudioListView[DeviceProfile]):
    """Templates and own profiles together; “This machine” comes first."""

    serializer_class = DeviceProfileSerializer
    filterset_class = DeviceFilters
    ordering_fields = ("position", "name", "created_at", "updated_at", "memory_mb", "cpu_cores")
    ordering = ("position", "name")

    def get_queryset(self) -> Any:
        return DeviceProfile.objects.visible_to(self.request.user)

    @documented(
        "list_device_profiles",
        tag=TAG,
        summary="List devices, “This machine” first",
        description="Templates, which come with the studio, and your own profiles together. What runs on “This "
        "machine” is measured; for others it is estimated.",
        answers={200: DeviceProfileSerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_device_profile",
        tag=TAG,
        summary="Add a device of your own",
        description="A device is described by what it can run: formats, precisions, memory and cores. With its speed "
        "and bandwidth, latencies on it are estimated.",
        request=DeviceRequestSerializer,
        answers={201: DeviceProfileSerializer},
        problems=WRITING,
        examples=[
            asked(
                "A board",
                {
                    "name": "Conveyor camera",
                    "category": "single_board_computer",
                    "cpu_architecture": "arm64",
                    "cpu_cores": 4,
                    "memory_mb": 4096,
                    "formats": ["onnx", "tflite"],
                    "precisions": ["fp32", "fp16", "int8"],
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        wanted = DeviceRequestSerializer(data=request.data)
        valid(wanted)
        profile = service.create_profile(actor(request), fields=wanted.facts())
        return created(DeviceProfileSerializer(profile).data, reverse("api:device-profile-detail", args=[profile.pk]))


class DeviceDetail(StudioView):
    """One device."""

    @documented(
        "get_device_profile",
        tag=TAG,
        summary="One device",
        description="What it can run, its memory, cores and accelerators, and for templates the source of each number.",
        answers={200: DeviceProfileSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(DeviceProfileSerializer(_device(request, id)).data)

    @documented(
        "update_device_profile",
        tag=TAG,
        summary="Change a device of your own",
        description="Templates are changed by staff alone: 403. Send what changes.",
        request=DeviceRequestSerializer,
        answers={200: DeviceProfileSerializer},
        problems=WRITING,
        examples=[asked("More memory", {"memory_mb": 8192})],
    )
    def patch(self, request: Request, id: UUID) -> Response:
        profile = _device(request, id)
        changes = DeviceRequestSerializer(data=request.data, partial=True)
        valid(changes)
        profile = service.update_profile(actor(request), profile=profile, fields=changes.facts())
        return Response(DeviceProfileSerializer(profile).data)

    @documented(
        "delete_device_profile",
        tag=TAG,
        summary="Remove a device of your own that no job refers to",
        description="A device that a job refers to stays: 409. Templates are removed by staff alone: 403.",
        answers={204: "Removed."},
        problems=CHANGING,
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        service.delete_profile(actor(request), profile=_device(request, id))
        return gone()


def _device(request: Request, device_id: UUID) -> DeviceProfile:
    found: DeviceProfile = find(DeviceProfile.objects.visible_to(actor(request)), device_id)
    return found
