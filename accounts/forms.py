"""Forms of sign-in and keys."""

from __future__ import annotations

from django import forms

from accounts.models import ApiKeyScope


class ApiKeyForm(forms.Form):
    """Asks for what a new key is called, may do, and how long it lasts."""

    name = forms.CharField(max_length=100, help_text="What uses it, such as “nightly build”.")
    scope = forms.ChoiceField(choices=ApiKeyScope.choices, initial=ApiKeyScope.WRITE)
    days = forms.TypedChoiceField(
        label="Expires",
        coerce=int,
        choices=[(30, "in 30 days"), (90, "in 90 days"), (365, "in a year"), (0, "never")],
        initial=90,
    )
