"""Forms: they parse what a browser sends and nothing more. What is allowed is decided by the services and the engine's spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import QueryDict

from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.engine.feasible import ENTROPY_TARGETS
from edge_ai.engine.plan import check_dataset
from edge_ai.engine.routes import LANES, targets_of
from edge_ai.engine.sniff import DatasetHeader
from edge_ai.engine.spec import (
    MAX_BATCH_SIZE,
    MAX_BENCHMARK_SECONDS,
    MAX_THREADS,
    MIN_BENCHMARK_SECONDS,
    Format,
)
from edge_ai.models import (
    BenchmarkRun,
    Dataset,
    DatasetKind,
    DeviceProfile,
    JobStatus,
    Model,
    ModelFormat,
    OptimizationLevel,
    Precision,
    Priority,
    ResultKind,
    Visibility,
)
from edge_ai.outbound.addresses import MAX_URL
from edge_ai.services.imports import MAX_KEY
from edge_ai.services.targets import usual_target
from edge_ai.web.option_fields import ENTROPY, GROUPS, UNDECIDED, offer_within, option_fields, read_options
from edge_ai.web.row_fields import OFFERED, DatasetField, DeviceField, Offers, RunField, seen_datasets, seen_devices
from edge_ai.web.tag_forms import TagsForm

# Precisions that are made here, with what a person needs to know to choose; the plan has the last word.
PRECISIONS: tuple[tuple[str, str, str], ...] = (
    (
        Precision.AUTO,
        "Choose for me",
        "Decided by the model's operators, and by whether there is data to calibrate on.",
    ),
    (
        Precision.INT8,
        "int8, calibrated",
        "Smallest, and often fastest on processors with int8 instructions. Needs data.",
    ),
    (Precision.INT8_DYNAMIC, "int8, dynamic", "For transformers and recurrent networks. Needs no data."),
    (Precision.FP16, "fp16 weights", "Half the size, nearly the same numbers, the same speed on a CPU. Needs no data."),
    (Precision.FP32, "fp32, as it is", "Only converted, or compressed by the options below."),
    (Precision.INT4, "int4 weights", "A sixth of the size, for large dense layers; the numbers move more."),
    (
        Precision.INT16X8,
        "int16 × int8",
        "Nearly float's accuracy for accelerators with 16-bit activations; slow on a CPU.",
    ),
    (Precision.FP8, "fp8 weights", "A quarter of the size with a wider range than int8, widened when the model loads."),
)
TARGETS: tuple[tuple[str, str, str], ...] = (
    (Format.ONNX, "ONNX", "Runs in ONNX Runtime, nearly everywhere."),
    (Format.TFLITE, "TensorFlow Lite", "For phones, microcontrollers and LiteRT."),
    (Format.OPENVINO, "OpenVINO", "For Intel processors."),
    (Format.ORT, "ORT", "For ONNX Runtime's small builds; often slower on a PC."),
    (Format.SAVED_MODEL, "SavedModel", "For TensorFlow."),
    (Format.COREML, "Core ML", "For Apple's devices; made here, but not run."),
    (Format.NCNN, "NCNN", "For phones with Vulkan or Arm processors."),
)
_NAMES = {value: word for value, word, _ in TARGETS}
LEVELS: tuple[tuple[str, str, str], ...] = (
    (OptimizationLevel.BALANCED, "Balanced", "Stops at the first variant that is good, else takes the knee of all."),
    (OptimizationLevel.SPEED, "Fastest", "Measures every variant that passes the parity gate; takes the fastest."),
    (OptimizationLevel.SIZE, "Smallest", "Takes the smallest variant that passes the parity gate."),
)


class FormError(forms.ValidationError):
    """A domain error at its field, with the code and the fix."""

    def __init__(self, error: EngineError) -> None:
        super().__init__(error.message, code=error.code)
        self.fix = error.fix


def add_domain_error(form: forms.Form, error: EngineError) -> None:
    """Show a domain error where the person can mend it: at the field it names, or above the form."""
    name = (error.field or "").replace("options.", "")
    form.add_error(name if name in form.fields else None, FormError(error))


class PriorityField(forms.TypedChoiceField):
    """Which of the workspace's own jobs goes first."""

    def __init__(self) -> None:
        super().__init__(
            choices=Priority.choices,
            coerce=int,
            initial=Priority.NORMAL,
            empty_value=Priority.NORMAL,  # type: ignore[arg-type]  # the stubs think of texts alone
            required=False,
            help_text="Among this workspace’s own jobs; other workspaces do not wait longer for it.",
        )


def described(choices: Iterable[tuple[str, str, str]], chosen: object) -> list[dict[str, Any]]:
    """Return the tiles of a choice: value, word, explanation, and whether it is chosen."""
    return [
        {"value": value, "word": word, "detail": detail, "checked": str(chosen) == value}
        for value, word, detail in choices
    ]


def fitting(model: Model, datasets: Iterable[Dataset]) -> list[Dataset]:
    """Return the data sets whose arrays fit the model's inputs."""
    analysis: Mapping[str, Any] = model.analysis or {}
    found = []
    for dataset in datasets:
        try:
            check_dataset(analysis, DatasetHeader.from_json(dataset.header))
        except EngineError:
            continue
        found.append(dataset)
    return found


def offer_rows(form: forms.Form, user: User, offers: Offers, *, dataset: Dataset | None = None) -> None:
    """Let a form choose from what was read; the first device and this data set, unless others are named."""
    if offers.devices:
        form.initial.setdefault("device_profile", offers.devices[0].pk)
    if dataset is not None:
        form.initial.setdefault("dataset", dataset.pk)
    fields: dict[str, Any] = form.fields
    fields["device_profile"].offer(seen_devices(user), offers.devices)
    fields["dataset"].offer(seen_datasets(user), offers.datasets)
    for name in ("device_profile", "dataset"):
        fields[name].offer_also(form[name].value())


class SeveralFilesInput(forms.FileInput):
    """Takes several files."""

    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """Any number of files."""

    widget = SeveralFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        """Return the files."""
        return [super(SeveralFilesField, self).clean(each, initial) for each in data or ()]


class ModelUploadForm(forms.Form):
    """A model file and what to call it."""

    file = forms.FileField(label="Model file", error_messages={"required": "Choose a model file first."})
    external_data = SeveralFilesField(
        label="Its weights, where they are in other files",
        required=False,
        help_text="For an ONNX model that is not in a .zip with them: all files that it refers to.",
    )
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the file's name.")
    visibility = forms.ChoiceField(
        label="Who sees it", choices=Visibility.choices, initial=Visibility.PRIVATE, required=False
    )


class ModelImportForm(forms.Form):
    """Where a model lies, and what to call it."""

    prefix = "import"
    url = forms.CharField(
        label="Link",
        max_length=MAX_URL,
        required=False,
        widget=forms.URLInput(attrs={"placeholder": "https://", "autocomplete": "off"}),
        help_text="What stands behind its “?” may be a password, and is shown nowhere.",
    )
    s3_key = forms.CharField(
        label="Key in the bucket", max_length=MAX_KEY, required=False, strip=False, help_text="Instead of a link."
    )
    sha256 = forms.CharField(
        label="SHA-256", max_length=80, required=False, help_text="If you know it; another file is refused then."
    )
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the file's name.")
    visibility = forms.ChoiceField(
        label="Who sees it", choices=Visibility.choices, initial=Visibility.PRIVATE, required=False
    )

    def __init__(self, data: QueryDict | None = None, *, s3_prefix: str) -> None:
        super().__init__(data)
        if s3_prefix:
            self.fields["s3_key"].help_text = f"Instead of a link. Looked for below {s3_prefix}"


class ModelForm(TagsForm):
    """What people call a model, and who sees it."""

    name = forms.CharField(max_length=200)
    description = forms.CharField(max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 3}))
    visibility = forms.ChoiceField(label="Who sees it", choices=Visibility.choices)
    field_order = ("name", "description", "tags", "visibility")


class DatasetUploadForm(forms.Form):
    """A data set's file, and what it is for."""

    file = forms.FileField(
        label="Data set (.npz or .zip)",
        help_text="One array for each input of the model, under the input's name, and “labels” (.npz); or images or WAV files "
        "with labels.csv and preprocess.json (.zip).",
        error_messages={"required": "Choose an .npz or a .zip file first."},
    )
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the file's name.")
    kind = forms.ChoiceField(label="Used for", choices=DatasetKind.choices, initial=DatasetKind.BOTH, required=False)
    visibility = forms.ChoiceField(
        label="Who sees it", choices=Visibility.choices, initial=Visibility.PRIVATE, required=False
    )


class OptimizationForm(forms.Form):
    """Device, goal and data of an optimization."""

    device_profile = DeviceField(label="Device", queryset=DeviceProfile.objects.none(), empty_label=None)
    target_format = forms.ChoiceField(choices=ModelFormat.choices, widget=forms.RadioSelect, required=False)
    precision = forms.ChoiceField(
        choices=Precision.choices, initial=Precision.AUTO, widget=forms.RadioSelect, required=False
    )
    optimization_level = forms.ChoiceField(
        label="Prefer",
        choices=OptimizationLevel.choices,
        initial=OptimizationLevel.BALANCED,
        widget=forms.RadioSelect,
        required=False,
    )
    dataset = DatasetField(
        label="Calibration data", queryset=Dataset.objects.none(), required=False, empty_label="No data"
    )
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the model's name and the goal.")
    fresh = forms.BooleanField(
        label="Run afresh",
        required=False,
        help_text="Without it, a request that was answered before has the same answer at once.",
    )
    priority = PriorityField()

    def __init__(
        self, data: Any = None, *, user: User, model: Model, offers: Offers | None = None, **options: Any
    ) -> None:
        super().__init__(data, **options)
        self.offers = offers or Offers.to(user)
        self.fields |= option_fields()
        self._targets = targets_of(Format(model.format))
        self.initial.setdefault("target_format", usual_target(model))
        offer_within(self.fields["calibration_method"], str(self["target_format"].value()))
        self.fitting = fitting(model, self.offers.datasets)
        best = next((dataset for dataset in self.fitting if dataset.kind != DatasetKind.EVALUATION), None)
        offer_rows(self, user, self.offers, dataset=best)

    @staticmethod
    def adjusted(data: QueryDict) -> QueryDict:
        """Return what was sent, without a calibration that the format chosen meanwhile does not have.

        For plans alone: what is submitted is refused as it is, and said to be.
        """
        if data.get("calibration_method") != ENTROPY or data.get("target_format", "") in {"", *ENTROPY_TARGETS}:
            return data
        changed = data.copy()
        changed["calibration_method"] = UNDECIDED
        return changed

    def options(self) -> dict[str, Any]:
        """Return the engine's options that were given."""
        return read_options(self.cleaned_data)

    def option_groups(self) -> list[dict[str, Any]]:
        """Return the options' fields under the headings of what they are about."""
        return [
            {"title": title, "detail": detail, "fields": [self[name] for name in names]}
            for title, detail, names in GROUPS
        ]

    def has_option_errors(self) -> bool:
        """Whether one of the options must be mended."""
        return "priority" in self.errors or any(name in self.errors for _, _, names in GROUPS for name in names)

    def options_changed(self) -> int:
        """Return how many options differ from what they usually are."""
        if not self.is_bound:
            return sum(1 for _, _, names in GROUPS for name in names if name in self.initial)
        return len(self.options()) if self.is_valid() else 0

    def targets(self) -> list[dict[str, Any]]:
        """Return the tiles of the formats that the model can become."""
        reachable = [tile for tile in TARGETS if tile[0] in self._targets]
        return described(reachable, self["target_format"].value())

    def precisions(self) -> list[dict[str, Any]]:
        """Return the tiles of the precisions that some reachable format has, and whether the chosen one has them."""
        chosen = str(self["target_format"].value())
        made = {
            precision: [target for target in self._targets if precision in LANES[target].precisions]
            for precision in Precision.values
        }
        tiles = described(
            (tile for tile in PRECISIONS if tile[0] == Precision.AUTO or made[tile[0]]), self["precision"].value()
        )
        for tile in tiles:
            formats = made[tile["value"]]
            tile["off"] = bool(formats) and chosen not in formats
            few = tile["off"] or len(formats) < len(self._targets)
            tile["formats"] = [_NAMES[target] for target in formats] if formats and few else []
        return tiles

    def levels(self) -> list[dict[str, Any]]:
        """Return the tiles of the goal."""
        return described(LEVELS, self["optimization_level"].value())


class BenchmarkForm(forms.Form):
    """Device, data and budget of a benchmark."""

    device_profile = DeviceField(label="Device", queryset=DeviceProfile.objects.none(), empty_label=None)
    dataset = DatasetField(
        label="Data",
        queryset=Dataset.objects.none(),
        required=False,
        empty_label="Made-up input",
        help_text="With labels, accuracy is measured too.",
    )
    baseline = RunField(
        label="Compare with",
        queryset=BenchmarkRun.objects.none(),
        required=False,
        empty_label="Nothing",
        help_text="An earlier benchmark on the same device, such as that of the original.",
    )
    threads = forms.IntegerField(
        required=False,
        help_text="Left empty: as many as there are processors.",
        widget=forms.NumberInput(attrs={"min": "1", "max": str(MAX_THREADS)}),
    )
    batch_size = forms.IntegerField(
        required=False, initial=1, widget=forms.NumberInput(attrs={"min": "1", "max": str(MAX_BATCH_SIZE)})
    )
    min_seconds = forms.FloatField(
        label="At least, in seconds",
        required=False,
        initial=3,
        widget=forms.NumberInput(attrs={"min": f"{MIN_BENCHMARK_SECONDS:g}", "step": "any"}),
    )
    max_seconds = forms.FloatField(
        label="At most, in seconds",
        required=False,
        initial=60,
        help_text="Stops earlier, once the median is known within 2 %.",
        widget=forms.NumberInput(attrs={"max": f"{MAX_BENCHMARK_SECONDS:g}", "step": "any"}),
    )
    warmup = forms.IntegerField(
        label="Warm-up runs",
        required=False,
        help_text="Left empty: until the latency is steady.",
        widget=forms.NumberInput(attrs={"min": "0"}),
    )
    profile_operators = forms.BooleanField(label="Time every operator", required=False, initial=True)
    name = forms.CharField(max_length=200, required=False, help_text="Left empty: the model and the device.")
    priority = PriorityField()

    def __init__(
        self,
        data: Any = None,
        *,
        user: User,
        model: Model,
        offers: Offers | None = None,
        runs: Sequence[BenchmarkRun] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data, **options)
        self.offers = offers or Offers.to(user)
        comparable = self.comparable(user, model)
        self.runs = list(comparable[:OFFERED]) if runs is None else runs
        self.fitting = fitting(model, self.offers.datasets)
        labelled = (each for each in self.fitting if each.has_labels and each.kind != DatasetKind.CALIBRATION)
        offer_rows(self, user, self.offers, dataset=next(labelled, None))
        of_parent = next((run for run in self.runs if run.model_id == model.parent_id), None)
        if of_parent is not None:
            self.initial.setdefault("baseline", of_parent.pk)
        baseline: Any = self.fields["baseline"]
        baseline.offer(comparable, self.runs)
        baseline.offer_also(self["baseline"].value())

    @staticmethod
    def comparable(user: User, model: Model) -> QuerySet[BenchmarkRun]:
        """Completed measurements of the model and of its family, the newest first."""
        heads = [pk for pk in (model.pk, model.parent_id) if pk is not None]
        family = Model.objects.filter(Q(pk__in=heads) | Q(parent__in=heads)).order_by().values("pk")
        measured = BenchmarkRun.objects.visible_to(user).filter(result_kind=ResultKind.MEASURED, model__in=family)
        return measured.filter(status=JobStatus.COMPLETED).defer("result").order_by("-created_at")
