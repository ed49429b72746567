"""The form that many optimizations are asked for with at once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import forms
from django.db.models import QuerySet

from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import LANES
from edge_ai.models import Dataset, DeviceProfile, Model, OptimizationLevel, Precision
from edge_ai.services.batches import BatchRequest
from edge_ai.web.forms import PRECISIONS, TARGETS, FormError, PriorityField
from edge_ai.web.row_fields import DatasetField, Offers, RowsField, seen_datasets, seen_devices


class BatchForm(forms.Form):
    """Models, devices, precisions, and what all jobs share."""

    model = forms.ModelMultipleChoiceField(
        label="Models", queryset=Model.objects.none(), error_messages={"required": "Choose a model at least."}
    )
    device_profile = RowsField(
        label="Devices", queryset=DeviceProfile.objects.none(), error_messages={"required": "Choose a device at least."}
    )
    precision = forms.MultipleChoiceField(
        label="Precisions", choices=Precision.choices, error_messages={"required": "Choose a precision at least."}
    )
    target_format = forms.ChoiceField(
        label="Format",
        choices=[("", "Each model’s own")] + [(value, word) for value, word, _ in TARGETS if value in LANES],
        required=False,
    )
    optimization_level = forms.ChoiceField(
        label="Prefer", choices=OptimizationLevel.choices, initial=OptimizationLevel.BALANCED, required=False
    )
    dataset = DatasetField(
        label="Calibration data",
        queryset=Dataset.objects.none(),
        required=False,
        empty_label="No data",
        help_text="Must fit every model; int8 needs it.",
    )
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the models and devices.")
    priority = PriorityField()
    #: Sent twice, the same form is the same batch.
    key = forms.UUIDField(widget=forms.HiddenInput, required=False)

    def __init__(
        self, data: Any = None, *, user: User, models: QuerySet[Model], offers: Offers, **options: Any
    ) -> None:
        super().__init__(data, **options)
        self.user = user
        self.offers = offers
        self.initial.setdefault("key", str(uuid4()))
        self._field("model").queryset = models
        self._field("device_profile").offer(seen_devices(user), offers.devices)
        self._field("dataset").offer(seen_datasets(user), offers.datasets)
        self._field("dataset").offer_also(self["dataset"].value())

    def _field(self, name: str) -> Any:
        return self.fields[name]

    def chosen(self, name: str) -> set[str]:
        """Return what is ticked of a field with several values."""
        return {str(each) for each in self[name].value() or ()}

    def precisions(self) -> list[dict[str, Any]]:
        """Return the tiles of the precisions."""
        ticked = self.chosen("precision")
        return [
            {"value": value, "word": word, "detail": detail, "checked": value in ticked}
            for value, word, detail in PRECISIONS
        ]

    def request(self) -> BatchRequest:
        """Return what the form asks for, models and devices in the order of the form."""
        given = self.cleaned_data
        order = [str(each) for each in self["model"].value() or ()]
        return BatchRequest(
            models=sorted(given["model"], key=lambda model: order.index(str(model.pk))),
            device_profiles=list(given["device_profile"]),
            precisions=[value for value, _, _ in PRECISIONS if value in given["precision"]],
            dataset=given["dataset"],
            target_format=given["target_format"] or None,
            optimization_level=given["optimization_level"] or OptimizationLevel.BALANCED,
            name=given["name"],
            priority=given["priority"],
        )

    def refuse(self, error: EngineError) -> None:
        """Show a refusal of the whole above the form, or at the field that it names."""
        names = {"models": "model", "device_profiles": "device_profile"}
        name = names.get(error.field or "", error.field)
        self.add_error(name if name in self.fields else None, FormError(error))
