"""Devices that models are made for."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now

from edge_ai.engine.estimate.machine import ESTIMABLE, NEEDED, Machine
from edge_ai.engine.plan import DeviceFacts
from edge_ai.models.base import Visibility, known

if TYPE_CHECKING:
    from accounts.models import User


class DeviceCategory(models.TextChoices):
    """What kind of machine a device is."""

    HOST = "host", "This machine"
    SINGLE_BOARD_COMPUTER = "single_board_computer", "Single-board computer"
    EMBEDDED_GPU = "embedded_gpu", "Embedded GPU"
    ACCELERATOR_BOARD = "accelerator_board", "Accelerator board"
    PHONE = "phone", "Phone"
    AI_PC = "ai_pc", "AI PC"
    SERVER = "server", "Edge server"
    MICROCONTROLLER = "microcontroller", "Microcontroller"


def _positive(**options: Any) -> Any:
    return models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)], **options)


class DeviceDescription(models.Model):
    """What is known about a device. A number that nobody published is null; every other one has its source."""

    slug = models.SlugField(max_length=80)
    name = models.CharField(max_length=200)
    vendor = models.CharField(max_length=100, blank=True)
    category = models.CharField(max_length=30, choices=DeviceCategory.choices)
    description = models.TextField(blank=True, max_length=2000)
    os = models.CharField("operating system", max_length=100, blank=True)
    position = models.PositiveIntegerField(default=1000, help_text="Order in lists; the smallest comes first.")
    cpu_model = models.CharField("CPU", max_length=200, blank=True)
    cpu_cores = _positive()
    cpu_architecture = models.CharField(max_length=30, blank=True)
    cpu_extensions = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    cpu_frequency_mhz = _positive()
    memory_mb = _positive()
    memory_bandwidth_gb_s = models.FloatField(null=True, blank=True)
    peak_gflops_fp32 = models.FloatField(null=True, blank=True)
    peak_gflops_fp16 = models.FloatField(null=True, blank=True)
    peak_tops_int8 = models.FloatField(null=True, blank=True)
    tdp_w = models.FloatField(null=True, blank=True)
    accelerators = models.JSONField(default=list, blank=True)
    runtimes = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    formats = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    precisions = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    sources = models.JSONField(default=dict, blank=True)
    is_host = models.BooleanField(default=False, help_text="The machine that the studio's workers run on.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


#: The fields that a template hands down to every workspace's copy of it.
DESCRIPTION_FIELDS = tuple(field.name for field in DeviceDescription._meta.local_fields)


class DeviceQuerySet(models.QuerySet["DeviceProfile"]):
    """Which devices a person sees."""

    def visible_to(self, user: User | Any) -> DeviceQuerySet:
        """Templates, one's own, and those shared with the workspace."""
        return self.filter(
            models.Q(is_template=True) | models.Q(owner_id=user.pk) | models.Q(visibility=Visibility.WORKSPACE)
        )

    def owned_by(self, user: User | Any) -> DeviceQuerySet:
        """Profiles that the user may change; templates are changed in the admin pages."""
        return self.filter(owner_id=user.pk, is_template=False)


class DeviceProfile(DeviceDescription):
    """A device in a workspace: a copy of a template (no owner), or somebody's own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", null=True, blank=True, editable=False
    )
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PRIVATE)
    is_template = models.BooleanField(default=False, editable=False)
    #: The slug of the template that an own profile was begun with. No foreign key: the profile is its owner's since.
    made_from = models.SlugField(max_length=80, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[DeviceQuerySet] = DeviceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["position", "name", "id"]
        constraints = [
            known("category", DeviceCategory.values, "edge_ai_device_category_known"),
            known("visibility", ["private", "workspace"], "edge_ai_device_visibility_known"),
            models.CheckConstraint(
                condition=models.Q(is_template=True, owner__isnull=True)
                | models.Q(is_template=False, owner__isnull=False),
                name="edge_ai_device_template_or_owned",
            ),
            models.UniqueConstraint(
                fields=["slug"], condition=models.Q(is_template=True), name="edge_ai_device_template_slug"
            ),
        ]
        indexes = [models.Index(fields=["position", "name", "id"], name="edge_ai_device_order")]  # list: in order

    @property
    def facts(self) -> DeviceFacts:
        """What a plan needs to know."""
        return DeviceFacts(
            name=self.name,
            is_host=self.is_host,
            architecture=self.cpu_architecture,
            extensions=tuple(self.cpu_extensions),
            formats=tuple(self.formats),
            precisions=tuple(self.precisions),
            memory_mb=self.memory_mb,
            machine=None if self.is_host else self.machine,
        )

    @property
    def is_estimable(self) -> bool:
        """Whether latencies on it are estimated, since nothing can be measured there."""
        runs = not self.formats or any(format.value in self.formats for format in ESTIMABLE)
        return not self.is_host and runs and not self.machine.missing()

    @property
    def lacking(self) -> list[str]:
        """What an estimate lacks, in words."""
        return [] if self.is_host else [NEEDED[name] for name in self.machine.missing()]

    @property
    def machine(self) -> Machine:
        """What an estimate rests on."""
        return Machine(
            name=self.name,
            peak_gflops_fp32=self.peak_gflops_fp32,
            peak_tops_int8=self.peak_tops_int8,
            memory_bandwidth_gb_s=self.memory_bandwidth_gb_s,
            cpu_cores=self.cpu_cores,
            cpu_frequency_mhz=self.cpu_frequency_mhz,
            memory_mb=self.memory_mb,
            architecture=self.cpu_architecture,
            accelerators=tuple(str(item.get("name", "")) for item in self.accelerators),
            formats=tuple(self.formats),
            sources=self.sources,
        )
