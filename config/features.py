"""What can be switched off, for the studio or for one workspace, and the doors that are shut then.

The doors of pages and API look here before a view runs. Services ask again where jobs and files are made, so that no way
leads around.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Feature(StrEnum):
    """What can be switched off."""

    UPLOADS = "uploads"
    OPTIMIZATION = "optimization"
    BENCHMARKING = "benchmarking"
    PACKAGING = "packaging"
    SIGN_UP = "sign-up"


#: What goes with each, in words.
WORDS: Final[Mapping[Feature, str]] = {
    Feature.UPLOADS: "Uploading models and data sets",
    Feature.OPTIMIZATION: "Optimizing models",
    Feature.BENCHMARKING: "Measuring by benchmarks, comparisons and diagnoses",
    Feature.PACKAGING: "Making bundles",
    Feature.SIGN_UP: "Making new accounts, also by an invitation",
}
FORM: Final = frozenset({"GET", "HEAD", "POST"})
SEND: Final = frozenset({"POST", "PATCH"})
#: By the name that ``reverse()`` takes: which feature, and which verbs need it. What is there is read and removed as before.
DOORS: Final[Mapping[str, tuple[Feature, frozenset[str]]]] = {
    "edge_ai:model-upload": (Feature.UPLOADS, SEND),
    "edge_ai:model-import": (Feature.UPLOADS, SEND),
    "edge_ai:dataset-upload": (Feature.UPLOADS, SEND),
    "edge_ai:optimization-create": (Feature.OPTIMIZATION, FORM),
    "edge_ai:batch-create": (Feature.OPTIMIZATION, FORM),
    "edge_ai:batch-retry": (Feature.OPTIMIZATION, SEND),
    "edge_ai:diagnosis-fix": (Feature.OPTIMIZATION, SEND),
    "edge_ai:benchmark-create": (Feature.BENCHMARKING, FORM),
    "edge_ai:variant-benchmark": (Feature.BENCHMARKING, SEND),
    "edge_ai:comparison-create": (Feature.BENCHMARKING, FORM),
    "edge_ai:diagnosis-create": (Feature.BENCHMARKING, SEND),
    "edge_ai:packaging-create": (Feature.PACKAGING, SEND),
    "api:model-list": (Feature.UPLOADS, SEND),
    "api:dataset-list": (Feature.UPLOADS, SEND),
    "api:upload-list": (Feature.UPLOADS, SEND),
    "api:upload-detail": (Feature.UPLOADS, SEND),
    "api:job-list": (Feature.OPTIMIZATION, SEND),
    "api:job-retry": (Feature.OPTIMIZATION, SEND),
    "api:batch-create": (Feature.OPTIMIZATION, SEND),
    "api:batch-retry": (Feature.OPTIMIZATION, SEND),
    "api:benchmark-list": (Feature.BENCHMARKING, SEND),
    "api:benchmark-retry": (Feature.BENCHMARKING, SEND),
    "api:comparison-list": (Feature.BENCHMARKING, SEND),
    "api:comparison-retry": (Feature.BENCHMARKING, SEND),
    "api:diagnosis-list": (Feature.BENCHMARKING, SEND),
    "api:diagnosis-retry": (Feature.BENCHMARKING, SEND),
    "api:import-list": (Feature.UPLOADS, SEND),
    "api:import-retry": (Feature.UPLOADS, SEND),
    "api:package-list": (Feature.PACKAGING, SEND),
    "api:package-retry": (Feature.PACKAGING, SEND),
}


def needed(name: str, verb: str) -> Feature | None:
    """Return the feature that a verb at an address by that name needs."""
    feature, verbs = DOORS.get(name, (None, frozenset()))
    return feature if verb in verbs else None
