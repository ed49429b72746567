"""Device templates, in the shared schema, where staff edit them; workspaces hold copies."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now

from edge_ai.models.device import DeviceDescription


class DeviceTemplate(DeviceDescription):
    """A device that every workspace is offered. One that staff edited is no longer overwritten by the catalogue file."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    edited = models.BooleanField(
        default=False,
        help_text="Changed by hand: a newer catalogue file leaves it alone. Untick to follow the file again.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["slug"], name="catalogue_devicetemplate_slug")]
