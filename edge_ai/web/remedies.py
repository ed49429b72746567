"""What helps with a warning or a failure of a job, as buttons: what would be refused is not offered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.urls import reverse

from accounts.models import User
from edge_ai.engine.options import MAX_CALIBRATION_SAMPLES
from edge_ai.models import Dataset, Job, JobKind, OptimizationJob, seen
from edge_ai.services.optimizations import OptimizationRequest, request_of
from edge_ai.web.again import PARAMETER
from edge_ai.web.changes import address_of, changed_request, words_of
from edge_ai.web.forms import fitting

OFFERED: Final = 2
DATASETS_LOOKED_AT: Final = 50
LAYERS_KEPT: Final = 5
#: The variant is too far from the original.
FAR: Final = frozenset({"parity_failed", "low_parity", "low_agreement"})
#: More or better samples would help.
DATA: Final = frozenset(
    {
        *("dataset_required", "dataset_mismatch", "few_samples", "no_dataset", "same_samples", "uninformative_input"),
        *("calibration_few", "calibration_synthetic", "calibration_overlap", "calibration_classes_missing"),
    }
)
#: The same again may succeed.
AGAIN: Final = frozenset(
    {
        *("cancelled", "worker_lost", "engine_crashed", "internal_error", "dependency_failed"),
        *("storage_unavailable", "storage_full", "sandbox_unavailable", "resource_limit"),
    }
)
#: What reduces the numbers less, or elsewhere; the nearest first.
GENTLER: Final[Mapping[str, tuple[str, ...]]] = {
    "int4": ("int8_dynamic", "int8", "fp16"),
    "int8": ("fp16", "int8_dynamic"),
    "int8_dynamic": ("fp16", "int8"),
    "fp8": ("fp16", "int8"),
    "int16x8": ("fp16", "int8"),
    "fp16": ("fp32", "int8"),
}
SMALLER: Final = ("fp16", "int8", "int8_dynamic", "int4")
OTHER_PRECISIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "variant_slower": ("fp16", "int8_dynamic", "int8"),
    "variant_not_smaller": ("fp16", "int8"),
    "little_gained": ("int8", "fp16"),
    "recurrent_stays_float": ("int8_dynamic",),
    "slow_reference_kernels": ("int8",),
    "nothing_to_quantize": ("fp16",),
    "unsupported_operator": ("fp16", "int8_dynamic"),
    "resource_limit": SMALLER,
}
BETTER_IN_ONNX: Final = frozenset({"ort_slower_here", "option_ignored"})


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A button: what it is called, where it leads, and whether it acts at once."""

    words: str
    address: str
    acts: bool = False


class Remedies:
    """Finds what helps with the warnings and the failure of one job that the user may act on."""

    def __init__(self, user: User, job: Job) -> None:
        self._user = user
        self._job = job
        # Of a model that is hidden nothing else can be asked for.
        self._asked = request_of(job) if isinstance(job, OptimizationJob) and _is_seen(job) else None
        result = job.result or {}
        error = job.error or {}
        made = result.get("precision") or (error.get("details") or {}).get("precision")
        self._made = str(made or getattr(job, "precision", ""))
        self._better: list[Dataset] | None = None

    def of(self, told: Mapping[str, Any]) -> list[Remedy]:
        """Return what helps with a warning, or with the error of a failed job; often nothing but its advice in words."""
        code = str(told.get("code", ""))
        details: Mapping[str, Any] = told.get("details") or {}
        found = [] if self._asked is None else self._other_requests(self._asked, code, details)
        if code in DATA and self._asked is not None and not any("data" in remedy.words for remedy in found):
            found.append(Remedy(words="Add a data set", address=reverse("edge_ai:dataset-list")))
        if code == "dependency_failed":
            found += self._what_failed()
        if self._job.kind == JobKind.ANALYSIS and self._job.error and code not in AGAIN:
            found.append(Remedy(words="Upload another file", address=reverse("edge_ai:model-list")))
        if code in {"quota_exceeded", "too_many_jobs"}:
            found.append(Remedy(words="See what is used", address=reverse("edge_ai:usage")))
        if code in AGAIN and self._job.may_retry and self._job.owner_id == self._user.pk:
            address = reverse("edge_ai:job-retry", args=[self._job.pk])
            found.insert(0, Remedy(words="Run it again", address=address, acts=True))
        return found

    def _other_requests(self, asked: OptimizationRequest, code: str, details: Mapping[str, Any]) -> list[Remedy]:
        found: dict[str, Remedy] = {}
        for changes in self._changes(asked, code, details):
            if len(found) == OFFERED:
                break
            remedy = self._planned(asked, changes)
            if remedy is not None:
                found.setdefault(remedy.address, remedy)
        return list(found.values())

    def _changes(self, asked: OptimizationRequest, code: str, details: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what could be asked for instead, the most promising first."""
        nearest = details.get("nearest")
        if isinstance(nearest, Mapping):
            yield dict(nearest)
        if code in FAR:
            worst = [str(item["layer"]) for item in details.get("worst_layers") or () if item.get("layer")]
            kept = list(asked.options.get("exclude_layers") or ())
            more = [name for name in worst[:LAYERS_KEPT] if name not in kept]
            if more:
                yield {"options": {"exclude_layers": [*kept, *more]}}
            if asked.options.get("search") is False:
                yield {"options": {"search": True}}
            yield from ({"precision": each} for each in GENTLER.get(self._made, ()))
        if code in DATA:
            yield from ({"dataset": dataset} for dataset in self._better_data(asked))
        if code in BETTER_IN_ONNX:
            yield {"target_format": "onnx"}
        if code == "recurrent_slow_in_openvino":
            yield {"target_format": "onnx", "precision": "int8_dynamic"}
        if code == "calibration_wide" and asked.options.get("calibration_method") != "percentile":
            yield {"options": {"calibration_method": "percentile"}}
        if code == "calibration_coverage" and asked.dataset is not None:
            used = int(asked.options.get("calibration_samples") or 200)
            more_samples = min(MAX_CALIBRATION_SAMPLES, asked.dataset.sample_count)
            if more_samples > used:
                yield {"options": {"calibration_samples": more_samples}}
        if code == "variant_slower" and asked.optimization_level != "speed":
            yield {"optimization_level": "speed"}
        yield from ({"precision": each} for each in OTHER_PRECISIONS.get(code, ()))

    def _planned(self, asked: OptimizationRequest, changes: dict[str, Any]) -> Remedy | None:
        """Return the form for a changed request as a remedy; ``None`` where it is the same, or would be refused."""
        changed = changed_request(self._user, asked, changes, made=self._made)
        if changed is None:
            return None
        address = address_of(changed, against=asked, **{PARAMETER: str(self._job.pk)})
        return None if address is None else Remedy(words=words_of(asked, changed), address=address)

    def _better_data(self, asked: OptimizationRequest) -> list[Dataset]:
        """Return other data sets that fit and hold more samples, the largest first. One query at most."""
        if self._better is None:
            seen = Dataset.objects.visible_to(self._user).order_by("-sample_count", "-created_at")
            fit = fitting(asked.model, seen[:DATASETS_LOOKED_AT])
            held = 0 if asked.dataset is None else asked.dataset.sample_count
            self._better = [dataset for dataset in fit if dataset.sample_count > held and dataset != asked.dataset]
        return self._better[:1]

    def _what_failed(self) -> list[Remedy]:
        found = []
        if (
            self._job.waits_for_id is not None
            and Job.objects.visible_to(self._user).filter(pk=self._job.waits_for_id).exists()
        ):
            address = reverse("edge_ai:job-detail", args=[self._job.waits_for_id])
            found.append(Remedy(words="See what it waited for", address=address))
        return found


def _is_seen(job: OptimizationJob) -> bool:
    return seen(job, "model") is not None and seen(job, "device_profile") is not None
