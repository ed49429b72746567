"""Device templates: changed by staff, after a look at what will spread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html_join, urlize
from django.utils.safestring import SafeString
from django_q.tasks import async_task

from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.models import DESCRIPTION_FIELDS, Queue
from edge_ai.services.usage import reach_of

SYNC = "edge_ai.worker.tasks.sync_templates"
#: Numbers that take a source each.
NUMBERS = (
    *("cpu_cores", "cpu_frequency_mhz", "memory_mb", "memory_bandwidth_gb_s"),
    *("peak_gflops_fp32", "peak_gflops_fp16", "peak_tops_int8", "tdp_w"),
)
LABELS = {
    "cpu_cores": "CPU cores",
    "cpu_architecture": "Architecture",
    "cpu_extensions": "Vector extensions",
    "cpu_frequency_mhz": "Highest clock (MHz)",
    "memory_mb": "Memory (MiB)",
    "memory_bandwidth_gb_s": "Memory bandwidth (GB/s)",
    "peak_gflops_fp32": "CPU peak, fp32 (GFLOP/s)",
    "peak_gflops_fp16": "CPU peak, fp16 (GFLOP/s)",
    "peak_tops_int8": "CPU peak, int8 (TOP/s)",
    "tdp_w": "Power (W)",
}
CONFIRMED, SEEN = "_confirmed", "_seen"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A field before and after."""

    title: str
    was: str
    now: str


class DeviceTemplateForm(forms.ModelForm[DeviceTemplate]):
    """Gives every number its source."""

    class Meta:
        model = DeviceTemplate
        fields = "__all__"  # noqa: DJ007 - the fieldsets choose
        labels = LABELS

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        sources = values.get("sources")
        if not isinstance(sources, dict):
            if "sources" in values:
                self.add_error("sources", "Sources are an object: field names, each with where its number is from.")
            return values
        accelerators = values.get("accelerators") or []
        numbers = {name: values.get(name) for name in NUMBERS}
        if isinstance(accelerators, list) and all(isinstance(each, dict) for each in accelerators):
            numbers |= {
                f"accelerators.{place}.peak_tops_int8": each.get("peak_tops_int8")
                for place, each in enumerate(accelerators)
            }
        else:
            self.add_error("accelerators", "Accelerators are a list of objects with name, kind, peak and precisions.")
        bare = [name for name, value in numbers.items() if value is not None and not sources.get(name)]
        if bare:
            self.add_error("sources", f"Say where these numbers are from: {', '.join(bare)}.")
        return values


@admin.register(DeviceTemplate)
class DeviceTemplateAdmin(admin.ModelAdmin[DeviceTemplate]):
    """What staff change here reaches every workspace within seconds, and a newer catalogue file leaves it alone."""

    form = DeviceTemplateForm
    list_display = ("name", "vendor", "category", "cpu_cores", "memory_mb", "edited", "updated_at")
    list_filter = ("category", "edited")
    search_fields = ("name", "vendor", "cpu_model", "slug")
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("is_host", "source_links", "created_at", "updated_at")
    delete_confirmation_template = "admin/device_template_delete.html"
    fieldsets = (
        (
            None,
            {"fields": ("name", "slug", "vendor", "category", "description", "os", "position", "is_host", "edited")},
        ),
        (
            "Processor",
            {"fields": ("cpu_model", "cpu_cores", "cpu_architecture", "cpu_extensions", "cpu_frequency_mhz")},
        ),
        (
            "Numbers",
            {
                "fields": (
                    "memory_mb",
                    "memory_bandwidth_gb_s",
                    "peak_gflops_fp32",
                    "peak_gflops_fp16",
                    "peak_tops_int8",
                    "tdp_w",
                    "sources",
                    "source_links",
                ),
                "description": "Leave empty what nobody published, and give every number its source.",
            },
        ),
        ("What it runs", {"fields": ("accelerators", "runtimes", "formats", "precisions")}),
        ("Dates", {"fields": ("created_at", "updated_at")}),
    )

    @admin.display(description="Sources as they are")
    def source_links(self, obj: DeviceTemplate) -> SafeString:
        """Where each number is from, to be opened."""
        told = ((name, urlize(text, autoescape=True)) for name, text in sorted((obj.sources or {}).items()))
        return format_html_join("", "<p><strong>{}</strong>: {}</p>", told)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show what will change, and for whom, before it spreads; an edit that was overtaken is shown anew."""
        if request.method == "POST":
            question = self._question(request, object_id)
            if question is not None:
                return question
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _question(self, request: HttpRequest, object_id: str | None) -> HttpResponse | None:
        """Return the page that asks; ``None`` where there is nothing to ask, or it was answered."""
        known = None if object_id is None else self.get_object(request, object_id)
        allowed = self.has_add_permission(request) if known is None else self.has_change_permission(request, known)
        if (object_id is not None and known is None) or not allowed:
            return None
        was = {name: getattr(known, name) if known is not None else None for name in DESCRIPTION_FIELDS}
        # The form writes what was sent into the row that it is given: the page names the template as it still is.
        form = self.get_form(request, known, change=known is not None)(request.POST, instance=copy(known))
        if not form.is_valid():
            return None
        sent = form.cleaned_data
        changed = [name for name in DESCRIPTION_FIELDS if name in sent and sent[name] != was[name]]
        seen = _digest(was)
        if not changed or (CONFIRMED in request.POST and request.POST.get(SEEN) == seen):
            return None
        context = admin.site.each_context(request) | {
            "title": f"Change “{known.name}”?" if known is not None else "Add a device template?",
            "template": known,
            "changes": [Change(title=_title(name), was=_words(was[name]), now=_words(sent[name])) for name in changed],
            "reach": reach_of(known.slug if known is not None else str(sent["slug"])),
            "sent": [
                (name, value)
                for name, values in request.POST.lists()
                for value in values
                if name not in {"csrfmiddlewaretoken", CONFIRMED, SEEN}
            ],
            "seen": seen,
            "overtaken": CONFIRMED in request.POST,
            "opts": self.opts,
        }
        return render(request, "admin/device_template_confirm.html", context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say before whom it concerns."""
        found = self.get_object(request, object_id)
        reach = {"reach": reach_of(found.slug)} if found is not None else {}
        return super().delete_view(request, object_id, (extra_context or {}) | reach)

    def save_model(self, request: HttpRequest, obj: DeviceTemplate, form: Any, change: bool) -> None:
        known = DeviceTemplate.objects.filter(pk=obj.pk).first()
        # Not by what the form takes for changed: it compares lists with how they are written.
        if known is None or any(getattr(known, name) != getattr(obj, name) for name in DESCRIPTION_FIELDS):
            obj.edited = True
        super().save_model(request, obj, form, change)
        self._spread(request)

    def delete_model(self, request: HttpRequest, obj: DeviceTemplate) -> None:
        super().delete_model(request, obj)
        self._spread(request)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[DeviceTemplate]) -> None:
        super().delete_queryset(request, queryset)
        self._spread(request)

    def _spread(self, request: HttpRequest) -> None:
        # In the transaction of the edit: the message is there when, and only when, the edit is.
        async_task(SYNC, q_options={"cluster": Queue.STUDIO.value, "save": False, "task_name": "sync device templates"})
        messages.info(request, "The change is on its way to every workspace.")


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, cls=DjangoJSONEncoder, sort_keys=True).encode()).hexdigest()


def _title(name: str) -> str:
    return LABELS.get(name) or str(DeviceTemplate._meta.get_field(name).verbose_name).capitalize()  # type: ignore[union-attr]  # columns, never relations


def _words(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_words(each)}" for name, each in sorted(value.items()))
    if isinstance(value, list):
        return ("\n\n" if any(isinstance(each, dict) for each in value) else ", ").join(map(_words, value))
    return str(value)
