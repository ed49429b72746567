"""The studio's things, and what can be done with each."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge_ai_studio.errors import AnalysisFailed, JobFailed, Refused, StudioError, Unreachable, WaitedTooLong
from edge_ai_studio.fields import (
    SETTLED,
    ArtifactFields,
    BatchFields,
    BenchmarkFields,
    DatasetFields,
    DeviceFields,
    DiagnosisFields,
    Fields,
    JobFields,
    ModelFields,
)
from edge_ai_studio.progress import JobBar, Progress

if TYPE_CHECKING:
    from edge_ai_studio._sync.client import Studio

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 3.0
#: For so many seconds whoever waits for a job bears a studio that does not answer: it may be starting anew.
SILENCE = 120.0
#: What a proxy answers while the studio behind it is away.
AWAY = frozenset({502, 503, 504})


class Resource(Fields):
    """A row of the studio; ``studio`` is where it came from."""

    path: str

    def __init__(self, studio: Studio, data: dict[str, Any]) -> None:
        self.studio = studio
        self.data = data

    @property
    def _address(self) -> str:
        return f"{self.path}{self.id}/"

    def refresh(self) -> Self:
        """Ask the studio how it is now."""
        self.data = (self.studio.transport.ask("GET", self._address)).json()
        return self

    def delete(self) -> None:
        """Delete it for good."""
        self.studio.transport.ask("DELETE", self._address)

    def _look(self, silent_since: float | None) -> float | None:
        """Refresh it while waiting; returns since when the studio is silent, ``None`` where it has answered."""
        asked = time.monotonic()
        try:
            self.refresh()
        except (Unreachable, Refused) as error:
            since = asked if silent_since is None else silent_since
            away = isinstance(error, Unreachable) or error.status in AWAY
            if not away or time.monotonic() - since > SILENCE:
                raise
            return since
        return None


class Model(ModelFields, Resource):
    """A model."""

    path = "models/"

    def wait(self, *, timeout: float | None = None) -> Self:
        """Wait until it is analysed.

        Raises
        ------
        AnalysisFailed
            When the file is no model that the studio can read.
        WaitedTooLong
            After ``timeout`` seconds.
        """
        began, pause, silent = time.monotonic(), FIRST_PAUSE, None
        while self.status not in SETTLED:
            _in_time(began, timeout, f"The model “{self.name}” is still {self.status}")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.3)
            silent = self._look(silent)
        if self.status == "failed":
            raise AnalysisFailed(self.name, self.error or {})
        return self

    def optimize(self, device: str | Device, precision: str = "auto", **options: Any) -> OptimizationJob:
        """Ask for a smaller, faster variant of it; takes what :meth:`Studio.submit_optimization` takes."""
        return self.studio.submit_optimization(self, device, precision, **options)

    def benchmark(self, device: str | Device | None = None, **options: Any) -> BenchmarkJob:
        """Measure it; takes what :meth:`Studio.submit_benchmark` takes."""
        return self.studio.submit_benchmark(self, device, **options)

    def diagnose(self, *, baseline: str | Model | None = None, **options: Any) -> DiagnosisJob:
        """Ask why it is slower, or answers otherwise, than ``baseline``; takes what :meth:`Studio.diagnose` takes."""
        return self.studio.diagnose(self, baseline=baseline, **options)

    def package(self, **options: Any) -> PackageJob:
        """Have it bundled with its card, its recipe and a program that runs it; see :meth:`Studio.package`."""
        return self.studio.package(self, **options)

    def compatibility(self) -> dict[str, Any]:
        """Return what it can become on which device, with the reason for every refusal."""
        told: dict[str, Any] = (self.studio.transport.ask("GET", f"{self._address}compatibility/")).json()
        return told

    def download(self, to: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Save the file; see :meth:`Studio.download`."""
        return self.studio.download(self, to, progress=progress)

    def variants(self) -> list[Model]:
        """Return the models that were made from it."""
        return list(self.studio.models(parent=self.id))

    def update(self, **changes: Any) -> Self:
        """Change ``name``, ``description``, ``tags`` or ``visibility``."""
        self.data = (self.studio.transport.ask("PATCH", self._address, json=changes)).json()
        return self


class Device(DeviceFields, Resource):
    """A device profile."""

    path = "device-profiles/"


class Dataset(DatasetFields, Resource):
    """A data set."""

    path = "datasets/"


class Artifact(ArtifactFields, Resource):
    """A file that a job left."""

    path = "artifacts/"

    def download(self, to: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Save the file; see :meth:`Studio.download`."""
        return self.studio.download(self, to, progress=progress)


class Work(JobFields, Resource):
    """What workers have to do: a job, or a batch of them."""

    def wait(self, *, progress: bool = False, timeout: float | None = None, check: bool = True) -> Self:
        """Wait until it has ended.

        Parameters
        ----------
        progress
            Whether to draw a bar on standard error, where that is a terminal, else a line per stage.
        timeout
            Seconds; ``None`` waits for ever. The job goes on when the time is over.
        check
            Whether a job that failed or was cancelled raises.

        Raises
        ------
        JobFailed
            When it did not complete.
        WaitedTooLong
            After ``timeout`` seconds.
        """
        began, pause, silent = time.monotonic(), FIRST_PAUSE, None
        bar = JobBar(sys.stderr) if progress else None
        try:
            while True:
                if bar:
                    bar.show(self.status, self.stage, self.progress)
                if self.done:
                    break
                _in_time(began, timeout, f"The job {self.id} is still {self.status}")
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 1.3)
                silent = self._look(silent)
        finally:
            if bar:
                bar.close()
        if check and self.status != "completed":
            raise JobFailed(self.data | {"error": self.error})
        return self

    def cancel(self) -> Self:
        """Ask for its end; what runs ends within seconds."""
        self.data = (self.studio.transport.ask("POST", f"{self._address}cancel/", json={})).json()
        return self

    def retry(self) -> Self:
        """Try again what failed or was cancelled, from the last stage that was finished."""
        self.data = (self.studio.transport.ask("POST", f"{self._address}retry/", json={})).json()
        return self


class Job(Work):
    """A job."""

    def events(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return its log from the number ``after`` on, in order."""
        told = self.studio.transport.ask("GET", f"{self._address}events/", params={"after": after})
        rows: list[dict[str, Any]] = told.json()["results"]
        return rows


class OptimizationJob(Job):
    """A job that makes a variant."""

    path = "optimization-jobs/"

    def model(self) -> Model:
        """Return the variant that it made.

        Raises
        ------
        JobFailed
            When there is none.
        """
        if not self.result:
            raise JobFailed(self.data)
        return self.studio.model(str(self.result["model"]))

    def artifacts(self) -> Iterator[Artifact]:
        """Go over the files that it left."""
        yield from self.studio.artifacts(optimization_job=self.id)


class BenchmarkJob(BenchmarkFields, Job):
    """A job that measures a model."""

    path = "benchmarks/"

    def artifacts(self) -> Iterator[Artifact]:
        """Go over the files that it left."""
        yield from self.studio.artifacts(benchmark=self.id)


class ComparisonJob(Job):
    """A job that measures models by turns."""

    path = "comparisons/"

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Each other model against the first: ``{"a", "b", "ratio_p50", "ci95", "verdict"}``."""
        return list((self.result or {}).get("pairs") or [])


class ImportJob(Job):
    """A job that fetches a model from elsewhere."""

    path = "models/imports/"

    def model(self) -> Model:
        """Return the model that it made.

        Raises
        ------
        JobFailed
            When there is none.
        """
        if not self.result:
            raise JobFailed(self.data)
        return self.studio.model(str(self.result["model"]))


class DiagnosisJob(DiagnosisFields, Job):
    """A job that looks why a variant is slower, or answers otherwise, than what it was made from."""

    path = "diagnoses/"

    def mend(self, place: int = 0) -> OptimizationJob:
        """Ask for the optimization that may mend the finding at ``place``.

        Raises
        ------
        StudioError
            When there is no such finding, or nothing that mends it.
        """
        remedy = self.findings[place].get("fix_job") if place < len(self.findings) else None
        if not remedy:
            raise StudioError(f"Nothing is known to mend the finding {place}.")
        answer = self.studio.transport.ask("POST", "optimization-jobs/", json=remedy)
        return OptimizationJob(self.studio, answer.json())


class PackageJob(Job):
    """A job that makes a bundle."""

    path = "packages/"

    def artifact(self) -> Artifact:
        """Return the bundle that it made.

        Raises
        ------
        JobFailed
            When there is none.
        """
        if not self.result:
            raise JobFailed(self.data)
        return self.studio.artifact(str(self.result["artifact"]))

    def download(self, to: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Save the bundle, a zip archive; see :meth:`Studio.download`."""
        return (self.artifact()).download(to, progress=progress)


class Batch(BatchFields, Work):
    """Optimizations that were asked for together. It has failed when one of them has."""

    path = "optimization-jobs/batches/"

    def jobs(self) -> list[OptimizationJob]:
        """Return its jobs, the newest first, with their results."""
        rows = list(self.studio.jobs("optimization", batch=self.id))
        return [OptimizationJob(self.studio, row.data).refresh() for row in rows]


class Webhook(Resource):
    """An address that is told of events."""

    path = "webhooks/"

    def test(self) -> dict[str, Any]:
        """Send it a test event; returns the delivery."""
        told: dict[str, Any] = (self.studio.transport.ask("POST", f"{self._address}test/", json={})).json()
        return told


def _in_time(began: float, timeout: float | None, otherwise: str) -> None:
    if timeout is not None and time.monotonic() - began > timeout:
        raise WaitedTooLong(f"{otherwise} after {timeout:g} s.")
