"""The form that a comparison is asked for with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import QuerySet

from accounts.models import User
from edge_ai.engine.spec import MAX_BENCHMARK_SECONDS, MAX_MARGIN, MAX_THREADS, MIN_COMPARISON_SECONDS
from edge_ai.models import Dataset, DeviceProfile, Model
from edge_ai.web.forms import PriorityField, offer_rows
from edge_ai.web.row_fields import DatasetField, DeviceField, Offers, RowField, RowsField


class ComparisonForm(forms.Form):
    """Models, which of them comes first, device, data and budget."""

    model = RowsField(
        label="Models",
        queryset=Model.objects.none(),
        error_messages={"required": "Choose two to eight models."},
    )
    first = RowField(label="Compared with", queryset=Model.objects.none(), required=False)
    device_profile = DeviceField(label="Device", queryset=DeviceProfile.objects.none(), empty_label=None)
    dataset = DatasetField(
        label="Data",
        queryset=Dataset.objects.none(),
        required=False,
        empty_label="Made-up input",
        help_text="With labels, accuracy is measured too. Every model must take it.",
    )
    threads = forms.IntegerField(
        required=False,
        help_text="Left empty: as many as there are processors.",
        widget=forms.NumberInput(attrs={"min": "1", "max": str(MAX_THREADS)}),
    )
    margin = forms.FloatField(
        label="Margin, in percent",
        required=False,
        initial=2,
        help_text="The largest difference that does not matter.",
        widget=forms.NumberInput(attrs={"min": "0.1", "max": f"{MAX_MARGIN * 100:g}", "step": "any"}),
    )
    max_seconds = forms.FloatField(
        label="At most, in seconds",
        required=False,
        initial=120,
        help_text="Stops earlier, once every verdict is clear.",
        widget=forms.NumberInput(
            attrs={"min": f"{MIN_COMPARISON_SECONDS:g}", "max": f"{MAX_BENCHMARK_SECONDS:g}", "step": "any"}
        ),
    )
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the models.")
    priority = PriorityField()

    def __init__(
        self,
        data: Any = None,
        *,
        user: User,
        models: QuerySet[Model],
        offered: Sequence[Model],
        offers: Offers | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data, **options)
        self.offers = offers or Offers.to(user)
        self._field("model").offer(models, offered)
        self._field("first").offer(models, offered)
        offer_rows(self, user, self.offers)

    def _field(self, name: str) -> Any:
        return self.fields[name]

    def in_order(self) -> list[Model]:
        """Return the chosen models as they stand in the form, the one that the others are held against first."""
        named = [str(each) for each in self["model"].value() or ()]
        found: list[Model] = sorted(self.cleaned_data["model"], key=lambda model: named.index(str(model.pk)))
        first: Model | None = self.cleaned_data["first"]
        if first is None:
            return found
        return [first, *(model for model in found if model.pk != first.pk)]
