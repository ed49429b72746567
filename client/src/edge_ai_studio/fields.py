"""What the studio tells of its things, by the names of its API. ``data`` holds the whole answer, fields to come included."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

FINAL = frozenset({"completed", "failed", "cancelled"})
SETTLED = frozenset({"ready", "failed", "archived"})
_BRACKETS = re.compile(r"\([^()]*\)")


class Fields:
    """An answer of the API, as attributes and as ``data``."""

    data: dict[str, Any]

    @property
    def id(self) -> str:
        """The UUID."""
        return str(self.data["id"])

    @property
    def name(self) -> str:
        """The name that people gave it; may be empty."""
        return str(self.data.get("name") or "")

    def __repr__(self) -> str:
        state = self.data.get("status")
        return f"<{type(self).__name__} {self.name or self.id}{f' {state}' if state else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and type(other) is type(self) and other.id == self.id

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.id))


class ModelFields(Fields):
    """A model: an uploaded one, or a variant that a job made."""

    @property
    def format(self) -> str:
        """What the file is, by its content: ``onnx``, ``tflite``, …"""
        return str(self.data["format"])

    @property
    def status(self) -> str:
        """``uploaded``, ``analyzing``, ``ready``, ``failed`` or ``archived``."""
        return str(self.data["status"])

    @property
    def precision(self) -> str | None:
        """Of its weights, where that can be told."""
        return self.data.get("precision")

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return int(self.data["size_bytes"])

    @property
    def sha256(self) -> str:
        """The checksum of the file, in hex."""
        return str(self.data["sha256"])

    @property
    def file_name(self) -> str:
        """The name that the file was uploaded under."""
        return str(self.data["file_name"])

    @property
    def analysis(self) -> dict[str, Any] | None:
        """Inputs, outputs, operators, parameters, MACs, …; ``None`` until it is analysed."""
        return self.data.get("analysis")

    @property
    def error(self) -> dict[str, Any] | None:
        """Why the file could not be read."""
        return self.data.get("error")

    @property
    def parent(self) -> str | None:
        """The id of the model that this one was made from."""
        return self.data.get("parent")

    @property
    def tags(self) -> list[str]:
        """Words to find it by."""
        return list(self.data.get("tags") or [])


class DeviceFields(Fields):
    """A device profile: a template, an own one, or the machine that the studio runs on."""

    @property
    def is_host(self) -> bool:
        """Whether this is the machine that measures."""
        return bool(self.data.get("is_host"))

    @property
    def is_template(self) -> bool:
        """Whether it came with the studio, and is read-only."""
        return bool(self.data.get("is_template"))


class DatasetFields(Fields):
    """Data to calibrate on and to judge by."""

    @property
    def kind(self) -> str:
        """``calibration``, ``evaluation`` or ``both``."""
        return str(self.data["kind"])

    @property
    def sample_count(self) -> int:
        """How many samples it has."""
        return int(self.data["sample_count"])


class ArtifactFields(Fields):
    """A file that a job left."""

    @property
    def name(self) -> str:
        """The name of the file."""
        return str(self.data["file_name"])

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return int(self.data["size_bytes"])

    @property
    def sha256(self) -> str:
        """The checksum of the file, in hex."""
        return str(self.data["sha256"])


class JobFields(Fields):
    """A job of any kind."""

    @property
    def status(self) -> str:
        """``pending``, ``queued``, ``running``, ``completed``, ``failed`` or ``cancelled``."""
        return str(self.data["status"])

    @property
    def stage(self) -> str:
        """What it does while it is running."""
        return str(self.data.get("stage") or "")

    @property
    def progress(self) -> int:
        """0 to 100."""
        return int(self.data.get("progress") or 0)

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in FINAL

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of it; ``None`` unless it is completed."""
        return self.data.get("result")

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it failed."""
        return self.data.get("error")

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """``[{"code", "detail", "fix"}]`` of the result."""
        return list((self.result or {}).get("warnings") or [])


class DiagnosisFields(JobFields):
    """A diagnosis of a variant."""

    @property
    def question(self) -> str | None:
        """What is the matter: ``slower``, ``wrong``, ``both`` or ``neither``; ``None`` until it is completed."""
        return (self.result or {}).get("question")

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The causes, the weightiest first: ``{"code", "severity", "title", "evidence", "fix", "fix_job"}``."""
        return list((self.result or {}).get("findings") or [])


class BatchFields(JobFields):
    """Optimizations that were asked for together."""

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs are ``completed``, ``failed``, …, and how many combinations were ``refused``."""
        return dict(self.data["counts"])

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The combinations that can never work, each with its ``code`` and ``detail``."""
        return list(self.data.get("refused") or [])

    @property
    def error(self) -> dict[str, Any] | None:
        """Why the first of its jobs failed that did."""
        errors = (job.get("error") for job in self.data.get("jobs") or [])
        return next(filter(None, errors), None)


class BenchmarkFields(JobFields):
    """A benchmark of a model on a device."""

    @property
    def p50_ms(self) -> float | None:
        """The median latency in milliseconds, once it is measured."""
        return self.data.get("p50_ms")

    @property
    def kind(self) -> str:
        """``measured``, or ``estimated`` for a device that the studio does not run on."""
        return str(self.data.get("kind") or "measured")

    @property
    def estimated_ms(self) -> float | None:
        """The estimated median latency in milliseconds, of an estimate that is completed."""
        return self.data.get("estimated_ms")

    @property
    def latency_ms(self) -> dict[str, Any]:
        """Percentiles, ``ci95``, ``samples``; empty until it is measured."""
        return dict((self.result or {}).get("latency_ms") or {})


def device_fits(rows: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """Return the devices that a name means.

    Those of exactly that name or slug; else those of that name apart from what stands in brackets, so that “Raspberry Pi 5”
    is “Raspberry Pi 5 (8 GB)” and not the one “(8 GB) with AI HAT+”; else those whose name contains it.
    """
    low = wanted.strip().lower()
    names = [str(row.get("name", "")).lower() for row in rows]
    ways: tuple[Callable[[str, str], bool], ...] = (
        lambda name, slug: low in {name, slug},
        lambda name, slug: low == " ".join(_BRACKETS.sub(" ", name).split()),
        lambda name, slug: low in name,
    )
    for fits in ways:
        found = [row for row, name in zip(rows, names, strict=True) if fits(name, str(row.get("slug", "")))]
        if found:
            return found
    return []


def clean(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without what was left to the studio."""
    return {name: value for name, value in body.items() if value is not None}
