"""The studio itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from edge_ai_studio._async.downloads import download_file
from edge_ai_studio._async.resources import (
    AsyncArtifact,
    AsyncBatch,
    AsyncBenchmarkJob,
    AsyncComparisonJob,
    AsyncDataset,
    AsyncDevice,
    AsyncDiagnosisJob,
    AsyncImportJob,
    AsyncJob,
    AsyncModel,
    AsyncOptimizationJob,
    AsyncPackageJob,
    AsyncResource,
    AsyncWebhook,
)
from edge_ai_studio._async.transport import AsyncTransport
from edge_ai_studio._async.uploads import upload_file
from edge_ai_studio.config import find_access
from edge_ai_studio.errors import NoSuchName, NotFound
from edge_ai_studio.fields import clean, device_fits
from edge_ai_studio.names import is_id
from edge_ai_studio.progress import Progress

R = TypeVar("R", bound=AsyncResource)
PAGE = 200
JOBS: dict[str, type[AsyncJob]] = {
    "optimization": AsyncOptimizationJob,
    "benchmark": AsyncBenchmarkJob,
    "comparison": AsyncComparisonJob,
    "diagnosis": AsyncDiagnosisJob,
    "package": AsyncPackageJob,
    "import": AsyncImportJob,
}


class AsyncStudio:
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
        self.transport = AsyncTransport(find_access(url, key), workspace=workspace, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    async def me(self) -> dict[str, Any]:
        """Return the user, workspace, role, scopes, quota and usage of the key."""
        told: dict[str, Any] = (await self.transport.ask("GET", "me/")).json()
        return told

    # Things, found by id or by name

    async def devices(self, **filters: Any) -> list[AsyncDevice]:
        """Return the device profiles; filters as in the API: ``search``, ``format``, ``precision``, ``is_host``, …"""
        return [device async for device in self._list(AsyncDevice, filters)]

    async def device(self, wanted: str) -> AsyncDevice:
        """Return the device of an id, a name, a slug, or the one whose name contains the words.

        Raises
        ------
        NoSuchName
            When none or several fit; the message names them.
        """
        if is_id(wanted):
            return await self._get(AsyncDevice, wanted)
        rows = [device.data async for device in self._list(AsyncDevice, {})]
        fits = device_fits(rows, wanted)
        if len(fits) == 1:
            return AsyncDevice(self, fits[0])
        if fits:
            raise NoSuchName(f"“{wanted}” fits {len(fits)} devices: {', '.join(sorted(row['name'] for row in fits))}.")
        raise NoSuchName(f"There is no device “{wanted}”. There are {', '.join(sorted(row['name'] for row in rows))}.")

    async def this_machine(self) -> AsyncDevice:
        """Return the profile of the machine that the studio measures on."""
        for device in await self.devices(is_host="true"):
            return device
        raise NoSuchName("The studio knows no machine that it runs on.")

    def models(self, **filters: Any) -> AsyncIterator[AsyncModel]:
        """Go over the models, newest first; filters as in the API: ``search``, ``format``, ``status``, ``tag``, …"""
        return self._list(AsyncModel, filters)

    async def model(self, wanted: str) -> AsyncModel:
        """Return the model of an id, a name, or a file's name; of several the newest.

        Raises
        ------
        NoSuchName
            When there is none.
        """
        return await self._named(AsyncModel, wanted, "model")

    def datasets(self, **filters: Any) -> AsyncIterator[AsyncDataset]:
        """Go over the data sets, newest first."""
        return self._list(AsyncDataset, filters)

    async def dataset(self, wanted: str) -> AsyncDataset:
        """Return the data set of an id, a name, or a file's name; of several the newest."""
        return await self._named(AsyncDataset, wanted, "data set")

    def artifacts(self, **filters: Any) -> AsyncIterator[AsyncArtifact]:
        """Go over the files that jobs left, newest first."""
        return self._list(AsyncArtifact, filters)

    async def artifact(self, artifact_id: str) -> AsyncArtifact:
        """Return the file of an id."""
        return await self._get(AsyncArtifact, artifact_id)

    def webhooks(self) -> AsyncIterator[AsyncWebhook]:
        """Go over the addresses that are told of events."""
        return self._list(AsyncWebhook, {})

    async def create_webhook(self, url: str, events: Sequence[str] = ()) -> AsyncWebhook:
        """Have ``url`` told of ``events``, of all when none is named; the secret is in ``data`` this once."""
        body: dict[str, Any] = {"url": url} | ({"events": list(events)} if events else {})
        return AsyncWebhook(self, (await self.transport.ask("POST", "webhooks/", json=body)).json())

    async def webhook(self, webhook_id: str) -> AsyncWebhook:
        """Return the webhook of an id."""
        return await self._get(AsyncWebhook, webhook_id)

    def jobs(self, kind: str = "optimization", **filters: Any) -> AsyncIterator[AsyncJob]:
        """Go over the jobs of a kind, newest first: a key of :data:`JOBS`, such as ``benchmark``."""
        return self._list(JOBS[kind], filters)

    async def job(self, job_id: str) -> AsyncJob:
        """Return the job of an id, of whatever kind.

        Raises
        ------
        NoSuchName
            When there is none.
        """
        for kind in JOBS.values():
            try:
                return await self._get(kind, job_id)
            except NotFound:
                continue
        raise NoSuchName(f"There is no job {job_id}.")

    def batches(self, **filters: Any) -> AsyncIterator[AsyncBatch]:
        """Go over the batches, newest first."""
        return self._list(AsyncBatch, filters)

    async def batch(self, batch_id: str) -> AsyncBatch:
        """Return the batch of an id."""
        return await self._get(AsyncBatch, batch_id)

    # What can be done

    async def upload_model(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        visibility: str | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> AsyncModel:
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
        upload = await upload_file(self.transport, Path(path), purpose="model", name=name, progress=progress)
        body = {
            "upload": upload,
            "name": name,
            "description": description,
            "tags": list(tags) if tags is not None else None,
            "visibility": visibility,
        }
        made = AsyncModel(self, (await self.transport.ask("POST", "models/", json=clean(body))).json())
        return await made.wait() if wait else made

    async def import_model(
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
    ) -> AsyncModel:
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
        job = await self.submit_import(
            url=url,
            s3_key=s3_key,
            sha256=sha256,
            name=name,
            description=description,
            tags=tags,
            visibility=visibility,
        )
        await job.wait(progress=progress)
        return await (await job.model()).wait()

    async def submit_import(self, *, tags: Sequence[str] | None = None, **asked: str | None) -> AsyncImportJob:
        """Ask for an import without waiting for it; takes what :meth:`import_model` takes."""
        body = clean(asked | {"tags": list(tags) if tags is not None else None})
        return AsyncImportJob(self, (await self.transport.ask("POST", "models/imports/", json=body)).json())

    async def upload_dataset(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        kind: str | None = None,
        visibility: str | None = None,
        progress: Progress | None = None,
    ) -> AsyncDataset:
        """Upload data: an .npz, or a .zip of images or WAV files; ``kind`` is ``calibration``, ``evaluation``, ``both``."""
        upload = await upload_file(self.transport, Path(path), purpose="dataset", name=name, progress=progress)
        body = {"upload": upload, "name": name, "kind": kind, "visibility": visibility}
        return AsyncDataset(self, (await self.transport.ask("POST", "datasets/", json=clean(body))).json())

    async def submit_optimization(
        self,
        model: str | AsyncModel,
        device: str | AsyncDevice,
        precision: str = "auto",
        *,
        target_format: str | None = None,
        level: str = "balanced",
        dataset: str | AsyncDataset | None = None,
        options: dict[str, Any] | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
        fresh: bool = False,
    ) -> AsyncOptimizationJob:
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
        body = await self._plan(
            model, device, precision, target_format=target_format, level=level, dataset=dataset, options=options
        )
        body |= clean({"name": name, "priority": priority, "visibility": visibility, "fresh": fresh or None})
        return AsyncOptimizationJob(self, (await self.transport.ask("POST", "optimization-jobs/", json=body)).json())

    async def plan_optimization(
        self,
        model: str | AsyncModel,
        device: str | AsyncDevice,
        precision: str = "auto",
        *,
        target_format: str | None = None,
        level: str = "balanced",
        dataset: str | AsyncDataset | None = None,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return what :meth:`submit_optimization` would do, without doing it: route, stages, warnings."""
        body = await self._plan(
            model, device, precision, target_format=target_format, level=level, dataset=dataset, options=options
        )
        told: dict[str, Any] = (
            await self.transport.ask("POST", "optimization-jobs/", json=body | {"dry_run": True})
        ).json()
        return told

    async def _plan(
        self,
        model: str | AsyncModel,
        device: str | AsyncDevice,
        precision: str,
        *,
        target_format: str | None,
        level: str,
        dataset: str | AsyncDataset | None,
        options: dict[str, Any] | None,
    ) -> dict[str, Any]:
        source = model if isinstance(model, AsyncModel) else await self.model(model)
        return clean(
            {
                "model": source.id,
                "device_profile": await self._device_id(device),
                "precision": precision,
                "target_format": target_format or source.format,
                "optimization_level": level,
                "dataset": await self._dataset_id(dataset),
                "options": options,
            }
        )

    async def submit_benchmark(
        self,
        model: str | AsyncModel,
        device: str | AsyncDevice | None = None,
        *,
        threads: int | None = None,
        batch_size: int | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        dataset: str | AsyncDataset | None = None,
        baseline: str | AsyncBenchmarkJob | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
    ) -> AsyncBenchmarkJob:
        """Measure a model on the studio's own machine; for another ``device`` its latency is estimated.

        Raises
        ------
        Refused
            When it can be neither measured nor estimated there.
        """
        body = {
            "model": await self._model_id(model),
            "device_profile": (await self.this_machine()).id if device is None else await self._device_id(device),
            "threads": threads,
            "batch_size": batch_size,
            "min_seconds": min_seconds,
            "max_seconds": max_seconds,
            "dataset": await self._dataset_id(dataset),
            "baseline": baseline.id if isinstance(baseline, AsyncBenchmarkJob) else baseline,
            "name": name,
            "priority": priority,
            "visibility": visibility,
        }
        return AsyncBenchmarkJob(self, (await self.transport.ask("POST", "benchmarks/", json=clean(body))).json())

    async def compare(
        self,
        models: Sequence[str | AsyncModel],
        device: str | AsyncDevice | None = None,
        *,
        threads: int | None = None,
        dataset: str | AsyncDataset | None = None,
        margin: float | None = None,
        max_seconds: float | None = None,
        name: str | None = None,
    ) -> AsyncComparisonJob:
        """Measure 2 to 8 models by turns; the others are held against the first. ``margin`` is what does not matter."""
        body = {
            "models": [await self._model_id(model) for model in models],
            "device_profile": (await self.this_machine()).id if device is None else await self._device_id(device),
            "threads": threads,
            "dataset": await self._dataset_id(dataset),
            "margin": margin,
            "max_seconds": max_seconds,
            "name": name,
        }
        return AsyncComparisonJob(self, (await self.transport.ask("POST", "comparisons/", json=clean(body))).json())

    async def optimize_many(
        self,
        models: Sequence[str | AsyncModel],
        devices: Sequence[str | AsyncDevice],
        precisions: Sequence[str],
        *,
        target_format: str | None = None,
        level: str | None = None,
        dataset: str | AsyncDataset | None = None,
        options: dict[str, Any] | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
        fresh: bool = False,
        strict: bool = False,
    ) -> AsyncBatch:
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
            "models": [await self._model_id(model) for model in models],
            "device_profiles": [await self._device_id(device) for device in devices],
            "precisions": list(precisions),
            "target_format": target_format,
            "optimization_level": level,
            "dataset": await self._dataset_id(dataset),
            "options": options,
            "name": name,
            "priority": priority,
            "visibility": visibility,
            "fresh": fresh or None,
            "strict": strict or None,
        }
        answer = await self.transport.ask("POST", "optimization-jobs/batch/", json=clean(body))
        return AsyncBatch(self, answer.json())

    async def diagnose(
        self,
        variant: str | AsyncModel,
        *,
        baseline: str | AsyncModel | None = None,
        device: str | AsyncDevice | None = None,
        dataset: str | AsyncDataset | None = None,
        threads: int | None = None,
        max_seconds: float | None = None,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
    ) -> AsyncDiagnosisJob:
        """Ask why a variant is slower, or answers otherwise, than ``baseline``: else than what it was made from.

        Raises
        ------
        Refused
            When the two cannot be held against each other.
        """
        body = {
            "model": await self._model_id(variant),
            "baseline": None if baseline is None else await self._model_id(baseline),
            "device_profile": (await self.this_machine()).id if device is None else await self._device_id(device),
            "dataset": await self._dataset_id(dataset),
            "threads": threads,
            "max_seconds": max_seconds,
            "name": name,
            "priority": priority,
            "visibility": visibility,
        }
        return AsyncDiagnosisJob(self, (await self.transport.ask("POST", "diagnoses/", json=clean(body))).json())

    async def package(
        self,
        model: str | AsyncModel,
        *,
        name: str | None = None,
        priority: str | None = None,
        visibility: str | None = None,
    ) -> AsyncPackageJob:
        """Have a model bundled with its card, its recipe, checksums, and a program that runs it, in one archive."""
        body = {"model": await self._model_id(model), "name": name, "priority": priority, "visibility": visibility}
        return AsyncPackageJob(self, (await self.transport.ask("POST", "packages/", json=clean(body))).json())

    async def download(
        self, what: str | AsyncModel | AsyncArtifact, to: str | Path | None = None, *, progress: Progress | None = None
    ) -> Path:
        """Save the file of a model (the thing, its id or name) or of an artifact; returns where it is.

        ``to`` is a file or a folder; else the present folder under the file's own name. A download that broke off goes
        on, and the file appears under its name only when its SHA-256 is right.

        Raises
        ------
        Corrupt
            When the checksum is wrong.
        """
        thing = await self.model(what) if isinstance(what, str) else what
        own = thing.file_name if isinstance(thing, AsyncModel) else thing.name
        target = Path(to) if to is not None else Path()
        if target.is_dir() or (to is not None and str(to).endswith("/")):
            target = target / Path(own).name
        return await download_file(
            self.transport,
            f"{thing.path}{thing.id}/download/",
            target,
            size=thing.size_bytes,
            sha256=thing.sha256,
            progress=progress,
        )

    # How things are found

    async def _get(self, kind: type[R], row_id: str) -> R:
        return kind(self, (await self.transport.ask("GET", f"{kind.path}{row_id}/")).json())

    async def _list(self, kind: type[R], filters: dict[str, Any]) -> AsyncIterator[R]:
        page: str | None = kind.path
        params: dict[str, Any] | None = {"page_size": PAGE} | filters
        while page:
            told = (await self.transport.ask("GET", page, params=params)).json()
            for row in told["results"]:
                yield kind(self, row)
            page, params = told.get("next"), None

    async def _named(self, kind: type[R], wanted: str, noun: str) -> R:
        if is_id(wanted):
            return await self._get(kind, wanted)
        by_file: R | None = None
        async for row in self._list(kind, {"search": wanted}):
            if row.name == wanted:
                return row
            file_name = str(row.data.get("file_name", ""))
            if by_file is None and wanted in {file_name, Path(file_name).stem}:
                by_file = row
        if by_file is not None:
            return by_file
        raise NoSuchName(f"There is no {noun} called “{wanted}”.")

    async def _model_id(self, model: str | AsyncModel) -> str:
        return model.id if isinstance(model, AsyncModel) else (await self.model(model)).id

    async def _device_id(self, device: str | AsyncDevice) -> str:
        return device.id if isinstance(device, AsyncDevice) else (await self.device(device)).id

    async def _dataset_id(self, dataset: str | AsyncDataset | None) -> str | None:
        if dataset is None:
            return None
        if isinstance(dataset, AsyncDataset):
            return dataset.id
        return (await self.dataset(dataset)).id
