"""What pages say of a model or a device that somebody keeps private, where a job of it is shared.

``begins``: the words begin a line or a cell, and so with a capital; a name keeps its own letters.
"""

from __future__ import annotations

from typing import Final

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from edge_ai.models import Artifact, ComparedModel, DeviceProfile, Job, Model, seen

HIDDEN_MODEL: Final = "a private model"
HIDDEN_DEVICE: Final = "a private device"


def model_name(row: Job | Artifact | ComparedModel, *, begins: bool = False) -> str:
    """Return what the model of a row is called, or that it is hidden."""
    model: Model | None = seen(row, "model")
    return _said(HIDDEN_MODEL, begins=begins) if model is None else model.name


def device_name(row: Job | Artifact, *, begins: bool = False) -> str:
    """Return what the device of a row is called, or that it is hidden."""
    device: DeviceProfile | None = seen(row, "device_profile")
    return _said(HIDDEN_DEVICE, begins=begins) if device is None else device.name


def model_link(row: Job | Artifact, *, begins: bool = False) -> SafeString | str:
    """Return a link to the model of a row, or that it is hidden."""
    model: Model | None = seen(row, "model")
    return _said(HIDDEN_MODEL, begins=begins) if model is None else _link("edge_ai:model-detail", model)


def device_link(row: Job | Artifact, *, begins: bool = False) -> SafeString | str:
    """Return a link to the device of a row, or that it is hidden."""
    device: DeviceProfile | None = seen(row, "device_profile")
    return _said(HIDDEN_DEVICE, begins=begins) if device is None else _link("edge_ai:device-detail", device)


def _said(words: str, *, begins: bool) -> str:
    return words[0].upper() + words[1:] if begins else words


def _link(address: str, row: Model | DeviceProfile) -> SafeString:
    return format_html('<a class="link" href="{}">{}</a>', reverse(address, args=[row.pk]), row.name)
