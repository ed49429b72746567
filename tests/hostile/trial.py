"""Trying a hostile file: as the web process takes it in, then as a worker has it opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz.attempt import DATASET, MODEL, Ending, WarmProcess, attempt, emptied, sniff
from benchmarks.fuzz.seeds import dense_onnx
from edge_ai.engine.spec import Format
from edge_ai.sandbox import Limits
from tests.hostile.kinds import Bait, Kind

MEMORY_BYTES = 12 << 30


@dataclass(kw_only=True)
class Range:
    """Where files are tried: the warm processes, and a folder for a child beside what it must not touch."""

    readers: WarmProcess
    folder: Path
    secret: str
    _converters: WarmProcess | None = None

    @property
    def bait(self) -> Bait:
        """What there is to be had."""
        return Bait(
            secret=self.secret,
            secret_file=self.folder / "beside" / "secret.bin",
            marker=self.folder / "beside" / "marker",
            folder=self.folder / "work",
        )

    def converters(self) -> WarmProcess:
        """Return the process that a worker forks conversions from, which has TensorFlow."""
        if self._converters is None:
            self._converters = WarmProcess("edge_ai.engine.warm", folder=self.folder / "home", idle_seconds=300)
        return self._converters

    def stop(self) -> None:
        """End the processes."""
        self.readers.stop()
        if self._converters is not None:
            self._converters.stop()

    def try_kind(self, kind: Kind) -> list[Ending]:
        """Take a file of a kind through the steps up to its own; returns how each ended."""
        work = emptied(self.bait.folder)
        data = kind.make(self.bait)
        path = work / (DATASET if kind.dataset else MODEL)
        path.write_bytes(data)
        taken, format = sniff(path, dataset=kind.dataset)
        endings = [taken]
        if kind.dataset:
            format = Format.ONNX.value
            (work / MODEL).write_bytes(dense_onnx().SerializeToString())
        for step, request in _requests(kind, format):
            if not endings[-1].accepted:
                break
            limits = Limits(wall_seconds=kind.wall_seconds, memory_bytes=MEMORY_BYTES)
            tensorflow = step == "conversion" and format in {Format.KERAS, Format.SAVED_MODEL}
            warm = self.converters() if tensorflow else self.readers
            endings.append(attempt(request, step=step, folder=work, limits=limits, warm=warm))
        return endings

    def honest(self) -> Ending:
        """Analyse an honest model."""
        work = emptied(self.bait.folder)
        (work / MODEL).write_bytes(dense_onnx().SerializeToString())
        limits = Limits(wall_seconds=55.0, memory_bytes=MEMORY_BYTES)
        return attempt(_analysis("onnx"), step="analysis", folder=work, limits=limits, warm=self.readers)


def _analysis(format: str) -> dict[str, Any]:
    return {"kind": "analyze", "model_path": MODEL, "format": format}


def _requests(kind: Kind, format: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind.step != "upload":
        yield "analysis", _analysis(format)
    if kind.step == "benchmark":
        measure = {"min_seconds": 0.1, "max_seconds": 0.5, "warmup": 1, "profile_operators": False}
        yield "benchmark", {"kind": "benchmark", "model_path": MODEL, "format": format} | measure | dict(kind.request)
    if kind.step == "conversion":
        data = {"dataset_path": DATASET} if kind.dataset else {}
        made = {"kind": "optimize", "model_path": MODEL, "source_format": format, "optimization_level": "balanced"}
        yield "conversion", made | data | dict(kind.request)


@contextmanager
def firing_range(folder: Path, secret: str) -> Iterator[Range]:
    """Set everything up; no process is left afterwards."""
    for name in ("home", "work", "beside"):
        (folder / name).mkdir()
    readers = WarmProcess("benchmarks.fuzz.warm", folder=folder / "home", idle_seconds=300)
    made = Range(readers=readers, folder=folder, secret=secret)
    made.bait.secret_file.write_bytes(secret.encode().ljust(4096, b"\0"))
    try:
        yield made
    finally:
        made.stop()
