"""The form of a data set's name and use."""

from __future__ import annotations

from django import forms

from edge_ai.models import DatasetKind, Visibility


class DatasetForm(forms.Form):
    """What people call a data set, what it is for, and who sees it."""

    name = forms.CharField(max_length=200)
    description = forms.CharField(max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 3}))
    kind = forms.ChoiceField(
        label="Used for",
        choices=DatasetKind.choices,
        help_text="Data that calibrates a variant should not be what judges it.",
    )
    visibility = forms.ChoiceField(label="Who sees it", choices=Visibility.choices)
