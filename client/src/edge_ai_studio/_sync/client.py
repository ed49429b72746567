"""The studio itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from edge_ai_studio._sync.downloads import download_file
from edge_ai_studio._sync.resources import (
    Artifact,
    Batch,
    BenchmarkJob,
    ComparisonJob,
    Dataset,
    Device,
    DiagnosisJob,
    ImportJob,
    Job,
    Model,
    OptimizationJob,
    PackageJob,
    Resource,
    Webhook,
)
from edge_ai_studio._sync.transport import Transport
from edge_ai_studio._sync.uploads import upload_file
from edge_ai_studio.config import find_access
from edge_ai_studio.errors import NoSuchName, NotFound
from edge_ai_studio.fields import clean, device_fits
from edge_ai_studio.names import is_id
from edge_ai_studio.progress import Progress

R = TypeVar("R", bound=Resource)
PAGE = 200
JOBS: dict[str, type[Job]] = {
    "optimization": OptimizationJob,
    "benchmark": BenchmarkJob,
    "comparison": ComparisonJob,
    "diagnosis": DiagnosisJob,
    "package": PackageJob,
    "import": ImportJob,
}


class Studio:
    """A studio, as the holder of an API key sees it.

    Parameters
    ----------
    url
        The address, such as ``https://studio.example.com``; else ``EDGEAI_URL``, else what ``edgeai login`` kept.
    key
        The API key, ``eas_…``; else ``EDGEAI_API_KEY``, else what ``edgeai login`` kept.
    workspace
        The short name of the workspace; only to be sure: a key belongs to one.
    timeout
        Seconds that one request may take.

    Raises
    ------
    NotConfigured
        When the address or the key is found nowhere.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, workspace: str | None = None, timeout: float = 60.0
    ) -> None:
        self.transport = Transport(find_access(url, key), workspace=workspace, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def me(self) -> dict[str, Any]:
        """Return the user, workspace, role, scopes, quota and usage of the key."""
        told: dict[str, Any] = (self.transport.ask("GET", "me/")).json()
        return told

    # Things, found by id or by name

    def devices(self, **filters: Any) -> list[Device]:
        """Return the device profiles; filters as in the API: ``search``, ``format``, ``precision``, ``is_host``, …"""
        return list(self._list(Device, filters))

    def device(self, wanted: str) -> Device:
        """Return the device of an id, a name, a slug, or the one whose name contains the words.

        Raises
        ------
        NoSuchName
            When none or several fit; the message names them.
        """
        if is_id(wanted):
            return self._get(Device, wanted)
        rows = [device.data for device in self._list(Device, {})]
        fits = device_fits(rows, wanted)
        if len(fits) == 1:
            return Device(self, fits[0])
        if fits:
            raise NoSuchName(f"“{wanted}” fits {len(fits)} devices: {', '.join(sorted(row['name'] for row in fits))}.")
        raise NoSuchName(f"There is no device “{wanted}”. There are {', '.join(sorted(row['name'] for row in rows))}.")

    def this_machine(self) -> Device:
        """Return the profile of the machine that the studio measures on."""
        for device in self.devices(is_host="true"):
            return device
        raise NoSuchName("The studio knows no machine that it runs on.")

    def models(self, **filters: Any) -> Iterator[Model]:
        """Go over the models, newest first; filters as in the API: ``search``, ``format``, ``status``, ``tag``, …"""
        return self._list(Model, filters)

    def model(self, wanted: str) -> Model:
        """Return the model of an id, a name, or a file's name; of several the newest.

        Raises
        ------
        NoSuchName
            When there is none.
        """
        return self._named(Model, wanted, "model")

    def datasets(self, **filters: Any) -> Iterator[Dataset]:
        """Go over the data sets, newest first."""
        return self._list(Dataset, filters)

    def dataset(self, wanted: str) -> Dataset:
        """Return the data set of an id, a name, or a file's name; of several the newest."""
        return self._named(Dataset, wanted, "data set")

    def artifacts(self, **filters: Any) -> Iterator[Artifact]:
        """Go over the files that jobs left, newest first."""
        return self._list(Artifact, filters)

    def artifact(self, artifact_id: str) -> Artifact:
        """Return the file of an id."""
        return self._get(Artifact, artifact_id)

    def webhooks(self) -> Iterator[Webhook]:
        """Go over the addresses that are told of events."""
        return self._list(Webhook, {})

    def create_webhook(self, url: str, events: Sequence[str] = ()) -> Webhook:
        """Have ``url`` told of ``events``, of all when none is named; the secret is in ``data`` this once."""
        body: dict[str, Any] = {"url": url} | ({"events": list(events)} if events else {})
        return Webhook(self, (self.transport.ask("POST", "webhooks/", json=body)).json())

    def webhook(self, webhook_id: str) -> Webhook:
        """Return the webhook of an id."""
        return self._get(Webhook, webhook_id)

    def jobs(self, kind: str = "optimization", **filters: Any) -> Iterator[Job]:
        """Go over the jobs of a kind, newest first: a key of :data:`JOBS`, such as ``benchmark``."""
        return self._list(JOBS[kind], filters)

    def job(self, job_id: str) -> Job:
        """Return the job of an id, of whatever kind.

        Raises
        ------
        NoSuchName
            When there is none.
        """
        for kind in JOBS.values():
            try:
                return self._get(kind, job_id)
            except NotFound:
                continue
        raise NoSuchName(f"There is no job {job_id}.")

    def batches(self, **filters: Any) -> Iterator[Batch]:
        """Go over the batches, newest first."""
        return self._list(Batch, filters)

    def batch(self, batch_id: str) -> Batch:
        """Return the batch of an id."""
        return self._get(Batch, batch_id)

    # What can be done

    def upload_model(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        visibility: str | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Model:
        """Upload a model; what it is, is decided by its content.

        Parameters
        ----------
        path
            The file; a SavedModel or OpenVINO IR as a zip.
        name
            What to call it; else the name of the file.
        visibility
            ``private`` or ``workspace``.
        wait
            Whether to wait until it is analysed.
        progress
            Told of the bytes as they are sent.

        Raises
        ------
        AnalysisFailed
            When ``wait`` is true and the file is no model that the studio can read.
        Refused
            When the studio does not take the file.
        """
        upload = upload_file(self.transport, Path(path), purpose="model", name=name, progress=progress)
        body = {
            "upload": upload,
            "name": name,
            "description": description,
            "tags": list(tags) if tags is not None else None,
            "visibility": visibility,
        }
        made = Model(self, (self.transport.ask("POST", "models/", json=clean(body))).json())
        return made.wait() if wait else made

    def import_model(
        self,
        *,
        url: str | None = None,
        s3_key: str | None = None,
        sha256: str | None = None,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        visibility: str | None = None,
        progress: bool = False,
    ) -> Model:
        """Have the studio fetch a model by itself, wait until it is there and analysed, and return it.

        Parameters
        ----------
        url
            A public http or https address, such as a presigned one; or else
        s3_key
            a key in the operator's bucket, below the workspace's prefix.
        sha256
            What the file must hash to.
        progress
            Whether to draw a bar on standard error.

        Raises
        ------
        JobFailed
            When the file could not be fetched; ``code`` says why.
        AnalysisFailed
            When it is no model that the studio can read.
        Refused
            When the studio does not fetch from there.
        """
        job = self.submit_import(
            url=url,
            s3_key=s3_key,
            sha256=sha256,
            name=name,
            description=description,
            tags=tags,
            visibility=visibility,
        )
        job.wait(progress=progress)
        return (job.model()).wait()

    def submit_import(self, *, tags: Sequence[str] | None = None, **asked: str | None) -> ImportJob:
        """Ask for an import without waiting for it; takes what :meth:`import_model` takes."""
        body = clean(asked | {"tags": list(tags) if tags is not None else None})
        return ImportJob(self, (self.transport.ask("POST", "models/imports/", json=body)).json())

    def upload_dataset(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        kind: str | None = None,
        visibility: str | None = None,
        progress: Progress | None = None,
    ) -> Dataset:
        """Upload data: an .npz, or a .zip of images or WAV files; ``kind`` is ``calibration``, ``evaluation``, ``both``."""
        upload = upload_file(self.transport, Path(path), purpose="dataset", name=name, progress=progress)
        body = {"upload": upload, "name": name, "kind": kind, "visibility": visibility}
        return Dataset(self, (self.transport.ask("POST", "datasets/", json=clean(body))).json())

    def submit_optimization(
        self,
        model: str | Model,
        device: str | Device,
        precision: str = "auto",
        *,
        target_format: str | None = None,
        level: str = "balanced",
        dataset: str | Dataset | None = None,
        options: dict[str, Any] | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
        fresh: bool = False,
    ) -> OptimizationJob:
        """Ask for a variant.

        Parameters
        ----------
        model, device, dataset
            The thing, its id, or its name.
        precision
            ``int8``, ``int8_dynamic``, ``int16x8``, ``int4``, ``fp8``, ``fp16``, ``fp32`` or ``auto``.
        target_format
            ``onnx``, ``tflite``, …; else the model's own.
        level
            ``speed``, ``balanced`` or ``size``.
        fresh
            Whether to work even where the same was asked and answered before.

        Raises
        ------
        Refused
            When it can never work; ``detail`` has the reason and the nearest thing that does.
        """
        body = self._plan(
            model, device, precision, target_format=target_format, level=level, dataset=dataset, options=options
        )
        body |= clean({"name": name, "priority": priority, "visibility": visibility, "fresh": fresh or None})
        return OptimizationJob(self, (self.transport.ask("POST", "optimization-jobs/", json=body)).json())

    def plan_optimization(
        self,
        model: str | Model,
        device: str | Device,
        precision: str = "auto",
        *,
        target_format: str | None = None,
        level: str = "balanced",
        dataset: str | Dataset | None = None,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return what :meth:`submit_optimization` would do, without doing it: route, stages, warnings."""
        body = self._plan(
            model, device, precision, target_format=target_format, level=level, dataset=dataset, options=options
        )
        told: dict[str, Any] = (self.transport.ask("POST", "optimization-jobs/", json=body | {"dry_run": True})).json()
        return told

    def _plan(
        self,
        model: str | Model,
        device: str | Device,
        precision: str,
        *,
        target_format: str | None,
        level: str,
        dataset: str | Dataset | None,
        options: dict[str, Any] | None,
    ) -> dict[str, Any]:
        source = model if isinstance(model, Model) else self.model(model)
        return clean(
            {
                "model": source.id,
                "device_profile": self._device_id(device),
                "precision": precision,
                "target_format": target_format or source.format,
                "optimization_level": level,
                "dataset": self._dataset_id(dataset),
                "options": options,
            }
        )

    def submit_benchmark(
        self,
        model: str | Model,
        device: str | Device | None = None,
        *,
        threads: int | None = None,
        batch_size: int | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        dataset: str | Dataset | None = None,
        baseline: str | BenchmarkJob | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
    ) -> BenchmarkJob:
        """Measure a model on the studio's own machine; for another ``device`` its latency is estimated.

        Raises
        ------
        Refused
            When it can be neither measured nor estimated there.
        """
        body = {
            "model": self._model_id(model),
            "device_profile": (self.this_machine()).id if device is None else self._device_id(device),
            "threads": threads,
            "batch_size": batch_size,
            "min_seconds": min_seconds,
            "max_seconds": max_seconds,
            "dataset": self._dataset_id(dataset),
            "baseline": baseline.id if isinstance(baseline, BenchmarkJob) else baseline,
            "name": name,
            "priority": priority,
            "visibility": visibility,
        }
        return BenchmarkJob(self, (self.transport.ask("POST", "benchmarks/", json=clean(body))).json())

    def compare(
        self,
        models: Sequence[str | Model],
        device: str | Device | None = None,
        *,
        threads: int | None = None,
        dataset: str | Dataset | None = None,
        margin: float | None = None,
        max_seconds: float | None = None,
        name: str | None = None,
    ) -> ComparisonJob:
        """Measure 2 to 8 models by turns; the others are held against the first. ``margin`` is what does not matter."""
        body = {
            "models": [self._model_id(model) for model in models],
            "device_profile": (self.this_machine()).id if device is None else self._device_id(device),
            "threads": threads,
            "dataset": self._dataset_id(dataset),
            "margin": margin,
            "max_seconds": max_seconds,
            "name": name,
        }
        return ComparisonJob(self, (self.transport.ask("POST", "comparisons/", json=clean(body))).json())

    def optimize_many(
        self,
        models: Sequence[str | Model],
        devices: Sequence[str | Device],
        precisions: Sequence[str],
        *,
        target_format: str | None = None,
        level: str | None = None,
        dataset: str | Dataset | None = None,
        options: dict[str, Any] | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
        fresh: bool = False,
        strict: bool = False,
    ) -> Batch:
        """Ask for every model, for every device, in every precision, all at once; takes what an optimization takes.

        Parameters
        ----------
        strict
            Whether to refuse all where one combination can never work. Otherwise :attr:`AsyncBatch.refused` has those.

        Raises
        ------
        Refused
            When no combination can work, with the reason of each in ``problem["details"]``.
        """
        body = {
            "models": [self._model_id(model) for model in models],
            "device_profiles": [self._device_id(device) for device in devices],
            "precisions": list(precisions),
            "target_format": target_format,
            "optimization_level": level,
            "dataset": self._dataset_id(dataset),
            "options": options,
            "name": name,
            "priority": priority,
            "visibility": visibility,
            "fresh": fresh or None,
            "strict": strict or None,
        }
        answer = self.transport.ask("POST", "optimization-jobs/batch/", json=clean(body))
        return Batch(self, answer.json())

    def diagnose(
        self,
        variant: str | Model,
        *,
        baseline: str | Model | None = None,
        device: str | Device | None = None,
        dataset: str | Dataset | None = None,
        threads: int | None = None,
        max_seconds: float | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
    ) -> DiagnosisJob:
        """Ask why a variant is slower, or answers otherwise, than ``baseline``: else than what it was made from.

        Raises
        ------
        Refused
            When the two cannot be held against each other.
        """
        body = {
            "model": self._model_id(variant),
            "baseline": None if baseline is None else self._model_id(baseline),
            "device_profile": (self.this_machine()).id if device is None else self._device_id(device),
            "dataset": self._dataset_id(dataset),
            "threads": threads,
            "max_seconds": max_seconds,
            "name": name,
            "priority": priority,
            "visibility": visibility,
        }
        return DiagnosisJob(self, (self.transport.ask("POST", "diagnoses/", json=clean(body))).json())

    def package(
        self,
        model: str | Model,
        *,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
    ) -> PackageJob:
        """Have a model bundled with its card, its recipe, checksums, and a program that runs it, in one archive."""
        body = {"model": self._model_id(model), "name": name, "priority": priority, "visibility": visibility}
        return PackageJob(self, (self.transport.ask("POST", "packages/", json=clean(body))).json())

    def download(
        self, what: str | Model | Artifact, to: str | Path | None = None, *, progress: Progress | None = None
    ) -> Path:
        """Save the file of a model (the thing, its id or name) or of an artifact; returns where it is.

        ``to`` is a file or a folder; else the present folder under the file's own name. A download that broke off goes
        on, and the file appears under its name only when its SHA-256 is right.

        Raises
        ------
        Corrupt
            When the checksum is wrong.
        """
        thing = self.model(what) if isinstance(what, str) else what
        own = thing.file_name if isinstance(thing, Model) else thing.name
        target = Path(to) if to is not None else Path()
        if target.is_dir() or (to is not None and str(to).endswith("/")):
            target = target / Path(own).name
        return download_file(
            self.transport,
            f"{thing.path}{thing.id}/download/",
            target,
            size=thing.size_bytes,
            sha256=thing.sha256,
            progress=progress,
        )

    # How things are found

    def _get(self, kind: type[R], row_id: str) -> R:
        return kind(self, (self.transport.ask("GET", f"{kind.path}{row_id}/")).json())

    def _list(self, kind: type[R], filters: dict[str, Any]) -> Iterator[R]:
        page: str | None = kind.path
        params: dict[str, Any] | None = {"page_size": PAGE} | filters
        while page:
            told = (self.transport.ask("GET", page, params=params)).json()
            for row in told["results"]:
                yield kind(self, row)
            page, params = told.get("next"), None

    def _named(self, kind: type[R], wanted: str, noun: str) -> R:
        if is_id(wanted):
            return self._get(kind, wanted)
        by_file: R | None = None
        for row in self._list(kind, {"search": wanted}):
            if row.name == wanted:
                return row
            file_name = str(row.data.get("file_name", ""))
            if by_file is None and wanted in {file_name, Path(file_name).stem}:
                by_file = row
        if by_file is not None:
            return by_file
        raise NoSuchName(f"There is no {noun} called “{wanted}”.")

    def _model_id(self, model: str | Model) -> str:
        return model.id if isinstance(model, Model) else (self.model(model)).id

    def _device_id(self, device: str | Device) -> str:
        return device.id if isinstance(device, Device) else (self.device(device)).id

    def _dataset_id(self, dataset: str | Dataset | None) -> str | None:
        if dataset is None:
            return None
        if isinstance(dataset, Dataset):
            return dataset.id
        return (self.dataset(dataset)).id
