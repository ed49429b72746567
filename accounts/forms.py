"""Forms of the account and of keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from accounts.models import ApiKeyScope, User


class NameForm(forms.ModelForm[User]):
    """Asks what somebody wants to be called."""

    class Meta:
        model = User
        fields = ("name",)
        help_texts = {"name": "What colleagues see."}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"})}


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
    rate = forms.IntegerField(
        label="Requests a minute", required=False, min_value=1, max_value=10**6, help_text="Empty: as many as any key."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = settings.API_RATE_PER_MINUTE
        if most:
            # Whoever makes a key may hold it back, and no more.
            self.fields["rate"] = forms.IntegerField(
                label="Requests a minute", required=False, min_value=1, max_value=most, help_text=f"Empty: {most:,}."
            )
