"""Pages that anybody may read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from config.errors import status_of
from edge_ai.engine.errors import CODES
from edge_ai.models import Model
from edge_ai.sample import ONNX_MODEL
from edge_ai.web.documentation import groups


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """What the studio makes of the bundled sample: a line of the table that says what this is."""

    name: str
    size_bytes: int
    sqnr_db: float | None = None
    agreement: float | None = None


# From the jobs that `make run` does on the bundled sample; a test makes int8 again and compares.
SAMPLE_RESULTS = (
    SampleResult(name="original, fp32", size_bytes=451_130),
    SampleResult(name="int8, calibrated", size_bytes=128_821, sqnr_db=38.63, agreement=1.0),
    SampleResult(name="int8, dynamic", size_bytes=229_140, sqnr_db=54.39, agreement=1.0),
    SampleResult(name="fp16 weights", size_bytes=228_283, sqnr_db=68.54, agreement=1.0),
)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in one theme, for wide windows and for phones; `benchmarks/pictures.py` takes them."""

    theme: str

    @property
    def wide(self) -> str:
        return f"img/comparison-{self.theme}.webp"

    @property
    def phone(self) -> str:
        return f"img/comparison-phone-{self.theme}.webp"


PICTURES = (Picture(theme="light"), Picture(theme="dark"))


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this is, in ten seconds; who is signed in goes to work."""
    if request.user.is_authenticated:
        return redirect("edge_ai:overview")
    return render(request, "edge_ai/landing.html", {"rows": SAMPLE_RESULTS, "pictures": PICTURES})


@cache
def _sample_hash() -> str:
    return hashlib.sha256(ONNX_MODEL.read_bytes()).hexdigest()


@require_safe
def sample(request: HttpRequest) -> HttpResponse:
    """Lead members of a workspace that has the sample to it; tell everybody else how to get it."""
    if request.user.is_authenticated and request.workspace is not None:  # type: ignore[attr-defined]
        found = Model.objects.visible_to(request.user).filter(sha256=_sample_hash()).order_by("created_at").first()
        if found is not None:
            return redirect("edge_ai:model-detail", found.pk)
    return render(request, "edge_ai/sample.html", {"rows": SAMPLE_RESULTS})


@require_safe
def error_codes(request: HttpRequest) -> HttpResponse:
    """Every error code with its meaning and its fix: where the ``type`` of a problem leads."""
    codes = [{"code": code, "known": known, "status": status_of(code)} for code, known in sorted(CODES.items())]
    return render(request, "edge_ai/error_codes.html", {"codes": codes, "groups": groups(), "current": "errors"})
