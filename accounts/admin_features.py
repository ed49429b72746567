"""Feature flags in the admin pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django_tenants.utils import schema_context

from accounts.models import Flag
from config.features import WORDS, Feature


class FlagForm(forms.ModelForm[Flag]):
    """A feature's switch."""

    name = forms.ChoiceField(choices=[(each.value, f"{each.value}: {WORDS[each]}") for each in Feature])

    class Meta:
        model = Flag
        fields = ("name", "everyone", "on_in", "off_in", "note")
        labels = {"everyone": "Everywhere", "on_in": "On in", "off_in": "Off in"}
        help_texts = {
            "everyone": "Unknown: as STUDIO_FEATURES_OFF says.",
            "note": "Why, for those who come after you.",
        }


@admin.register(Flag)
class FlagAdmin(admin.ModelAdmin[Flag]):
    """Which parts of the studio are on. Processes take a change up within STUDIO_MEMORY_SECONDS."""

    form = FlagForm
    list_display = ("name", "everyone", "exceptions", "note", "modified")
    ordering = ("name",)
    filter_horizontal = ("on_in", "off_in")

    @admin.display(description="exceptions")
    def exceptions(self, flag: Flag) -> str:
        """How many workspaces are excepted."""
        counts = (("on in", flag.on_in.count()), ("off in", flag.off_in.count()))
        return ", ".join(f"{words} {count}" for words, count in counts if count) or "none"

    def save_model(self, request: HttpRequest, obj: Flag, form: Any, change: bool) -> None:
        # Flags are kept in the shared schema; the member of staff may be inside another one.
        with schema_context("public"):
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        with schema_context("public"):
            super().save_related(request, form, formsets, change)
        # Once more: saving the flag has flushed what did not know the workspaces yet.
        form.instance.flush()
