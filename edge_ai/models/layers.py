"""The layers of a model, kept apart from it: the list may be long, and one page alone shows it."""

from __future__ import annotations

from django.db import models

from edge_ai.models.model import Model


class ModelLayers(models.Model):
    """What the analysis found, layer by layer; ``count`` says how many there are, of which the first are kept."""

    model = models.OneToOneField(Model, on_delete=models.CASCADE, primary_key=True, related_name="layers")
    rows = models.JSONField()
    count = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.count} layers of {self.model_id}"
