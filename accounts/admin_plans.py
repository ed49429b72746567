"""The plan table of the admin pages, and what workspaces have instead of their plan's limits."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django_tenants.utils import schema_context

from accounts.models import LIMITS, Plan

#: Limits in bytes, and how the list shows them.
MEGABYTES = {"max_stored_bytes": "stored", "max_upload_bytes": "one_upload"}
LIMIT_FIELDS: tuple[str, Any] = (
    "Limits",
    {"fields": (*LIMITS, "artifact_days"), "description": "Left empty, there is no limit."},
)
OWN_LIMIT_FIELDS: tuple[str, Any] = (
    "Quota",
    {
        "fields": ("plan", *LIMITS, "artifact_days"),
        "description": "A limit that is set here goes before the plan's; an empty one is as the plan has it. To lift a limit "
        "for one workspace, give it a plan without that limit.",
    },
)


def _megabytes(size_bytes: int | None) -> str | None:
    return None if size_bytes is None else f"{size_bytes / 1e6:,.0f} MB"


class PlanForm(forms.ModelForm[Plan]):
    """A plan."""

    class Meta:
        model = Plan
        fields = ("name", "description", "is_default", *LIMITS, "artifact_days")

    def clean_is_default(self) -> bool:
        """Leave workspaces without a plan of their own with one."""
        wanted: bool = self.cleaned_data["is_default"]
        if self.instance.is_default and not wanted:
            raise ValidationError("Make another plan the default; this one is it no longer then.")
        return wanted

    def _get_validation_exclusions(self) -> set[str]:
        # The default before gives way when this one is saved.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return excluded | {"is_default"}


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin[Plan]):
    """Plans, their limits, and how many workspaces have each."""

    form = PlanForm
    list_display = ("name", "is_default", *(MEGABYTES.get(name, name) for name in LIMITS), "used_by")
    search_fields = ("name",)
    fieldsets = ((None, {"fields": ("name", "description", "is_default")}), LIMIT_FIELDS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        return super().get_queryset(request).annotate(used=Count("workspaces"))

    @admin.display(description="stored", ordering="max_stored_bytes", empty_value="-")
    def stored(self, plan: Plan) -> str | None:
        """How much may be stored."""
        return _megabytes(plan.max_stored_bytes)

    @admin.display(description="one upload", ordering="max_upload_bytes", empty_value="-")
    def one_upload(self, plan: Plan) -> str | None:
        """How large one file may be."""
        return _megabytes(plan.max_upload_bytes)

    @admin.display(description="workspaces")
    def used_by(self, plan: Plan) -> str:
        """How many workspaces have it by name; the default one all others besides."""
        used = getattr(plan, "used", 0)
        return f"{used} and all without a plan" if plan.is_default else str(used)

    def save_model(self, request: HttpRequest, obj: Plan, form: ModelForm[Plan], change: bool) -> None:
        # Plans are kept in the shared schema; the member of staff may be inside another one.
        with schema_context("public"), transaction.atomic():
            if obj.is_default:
                Plan.objects.filter(is_default=True).exclude(pk=obj.pk).update(is_default=False)
            super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        return (obj is None or not obj.is_default) and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # One by one, so that the default plan is not among them.
        return {}
