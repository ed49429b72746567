"""Forms of devices. Which numbers are possible is what the API allows as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.forms.formsets import BaseFormSet, formset_factory
from django.http import QueryDict

from edge_ai.catalogue.loader import ACCELERATOR_KINDS, ARCHITECTURES, FORMATS, PRECISIONS, RUNTIME_FORMATS
from edge_ai.models import DeviceCategory, DeviceProfile, ModelFormat, Precision, Visibility

MAX_INTEGER = 2**31 - 1
MAX_WORDS = 60
MAX_ACCELERATORS = 8
#: Rows for another accelerator that the form offers without being asked.
SPARE = 1
KINDS = {"gpu": "GPU", "npu": "NPU", "tpu": "TPU", "dsp": "DSP"}
#: What a person writes, in the order of the form; each is a field of the profile.
TEXTS = ("name", "category", "vendor", "os", "description", "visibility")
PROCESSOR = ("cpu_model", "cpu_architecture", "cpu_cores", "cpu_frequency_mhz", "cpu_extensions")
NUMBERS = (*("memory_mb", "memory_bandwidth_gb_s", "peak_gflops_fp32", "peak_gflops_fp16", "peak_tops_int8", "tdp_w"),)


class WordsField(forms.CharField):
    """Words with commas between them, as a list."""

    def __init__(self, *, length: int, **options: Any) -> None:
        super().__init__(required=False, max_length=MAX_WORDS * (length + 2), **options)
        self.length = length

    def clean(self, value: Any) -> Any:
        words = list(dict.fromkeys(filter(None, (word.strip() for word in super().clean(value).split(",")))))
        if len(words) > MAX_WORDS or any(len(word) > self.length for word in words):
            raise forms.ValidationError(
                f"At most {MAX_WORDS} words of at most {self.length} letters each.", code="invalid_request"
            )
        return words

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value


def _whole(label: str, help_text: str = "") -> Any:
    return forms.IntegerField(label=label, min_value=1, max_value=MAX_INTEGER, required=False, help_text=help_text)


def _number(label: str, help_text: str) -> Any:
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(label=label, min_value=0, required=False, help_text=help_text, widget=widget)


class DeviceForm(forms.Form):
    """A device of one's own."""

    name = forms.CharField(max_length=200)
    category = forms.ChoiceField(
        label="Kind", choices=[choice for choice in DeviceCategory.choices if choice[0] != DeviceCategory.HOST]
    )
    vendor = forms.CharField(label="Maker", max_length=100, required=False)
    os = forms.CharField(label="Operating system", max_length=100, required=False)
    description = forms.CharField(max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 3}))
    visibility = forms.ChoiceField(label="Who sees it", choices=Visibility.choices)
    cpu_model = forms.CharField(label="Processor", max_length=200, required=False)
    cpu_architecture = forms.CharField(
        label="Architecture", max_length=30, required=False, help_text=f"Such as {', '.join(sorted(ARCHITECTURES))}."
    )
    cpu_cores = _whole("Cores")
    cpu_frequency_mhz = _whole("Highest clock (MHz)", "Of the fastest core.")
    cpu_extensions = WordsField(
        label="Vector extensions", length=30, help_text="With commas between them, such as neon, dotprod."
    )
    memory_mb = _whole("Memory (MiB)", "8 GB of a data sheet are 8192.")
    memory_bandwidth_gb_s = _number("Memory bandwidth (GB/s)", "An estimate of latencies needs it.")
    peak_gflops_fp32 = _number("CPU peak, fp32 (GFLOP/s)", "Of all cores together; an estimate needs it.")
    peak_gflops_fp16 = _number("CPU peak, fp16 (GFLOP/s)", "Of all cores together.")
    peak_tops_int8 = _number("CPU peak, int8 (TOP/s)", "Of all cores together.")
    tdp_w = _number("Power (W)", "What its maker names.")
    runtimes = WordsField(
        label="Runtimes",
        length=30,
        help_text=f"With commas between them, such as {', '.join(sorted(RUNTIME_FORMATS)[:6])}.",
    )
    formats = forms.MultipleChoiceField(
        choices=[choice for choice in ModelFormat.choices if choice[0] in FORMATS], required=False
    )
    precisions = forms.MultipleChoiceField(
        choices=[choice for choice in Precision.choices if choice[0] in PRECISIONS], required=False
    )


class AcceleratorForm(forms.Form):
    """A processor beside the CPU. A row without a name is none."""

    name = forms.CharField(max_length=200, required=False)
    kind = forms.ChoiceField(choices=[(kind, KINDS[kind]) for kind in sorted(ACCELERATOR_KINDS)], initial="npu")
    peak_tops_int8 = _number("Peak, int8 (TOP/s)", "")
    precisions = WordsField(label="Precisions", length=20, help_text="Such as int8, fp16.")

    def clean_precisions(self) -> list[str]:
        words: list[str] = self.cleaned_data["precisions"]
        strangers = [word for word in words if word not in PRECISIONS]
        if strangers:
            raise forms.ValidationError(
                f"“{strangers[0]}” is no precision. There are {', '.join(sorted(PRECISIONS))}.", code="invalid_request"
            )
        return words


AcceleratorForms = formset_factory(
    AcceleratorForm, extra=SPARE, max_num=MAX_ACCELERATORS, absolute_max=MAX_ACCELERATORS, validate_max=True
)


class DeviceForms:
    """The form of a device together with those of its accelerators."""

    def __init__(self, sent: QueryDict | None, *, known: DeviceProfile | None = None) -> None:
        initial: dict[str, Any] = (
            {} if known is None else {name: getattr(known, name) for name in DeviceForm.base_fields}
        )
        self.form = DeviceForm(sent, initial=initial)
        self.accelerators: BaseFormSet[AcceleratorForm] = AcceleratorForms(
            sent, prefix="accelerators", initial=[] if known is None else known.accelerators
        )

    def fields_named(self, names: tuple[str, ...]) -> list[forms.BoundField]:
        """Some of the fields, for the page."""
        return [self.form[name] for name in names]

    @property
    def texts(self) -> list[forms.BoundField]:
        """What it is."""
        return self.fields_named(TEXTS)

    @property
    def processor(self) -> list[forms.BoundField]:
        """What is known of the CPU."""
        return self.fields_named(PROCESSOR)

    @property
    def numbers(self) -> list[forms.BoundField]:
        """What is known of memory, speed and power."""
        return self.fields_named(NUMBERS)

    def is_valid(self) -> bool:
        """Tell whether all of it can be read; every form finds its faults."""
        return all([self.form.is_valid(), self.accelerators.is_valid()])

    def facts(self) -> dict[str, Any]:
        """Return the fields of the profile."""
        rows: list[Mapping[str, Any]] = [each.cleaned_data for each in self.accelerators.forms]
        named = [
            {
                "name": row["name"],
                "kind": row["kind"],
                "peak_tops_int8": row["peak_tops_int8"],
                "precisions": row["precisions"],
            }
            for row in rows
            if row.get("name")
        ]
        return self.form.cleaned_data | {"accelerators": named}
