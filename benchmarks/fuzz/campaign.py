"""Many mutants of one format: each is tried, and what came of them is counted."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.fuzz.attempt import DATASET, MODEL, Ending, WarmProcess, attempt, emptied, sniff
from benchmarks.fuzz.mutate import mutant
from benchmarks.fuzz.seeds import FORMATS, SEEDS
from edge_ai.engine.spec import Format
from edge_ai.sandbox import Limits

WARM: Final = "benchmarks.fuzz.warm"
MEMORY_BYTES: Final = 12 << 30
#: Formats whose accepted mutants are run as well; the others run in TensorFlow, which takes seconds to load, or not at all.
QUICK_TO_RUN: Final = frozenset({Format.ONNX, Format.ORT, Format.TFLITE, Format.OPENVINO})
SLOW_TO_RUN: Final = frozenset({Format.KERAS, Format.SAVED_MODEL})
#: Nothing that is sniffed may keep a web process from its other requests for longer.
SNIFF_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A mutant after which something was as it must never be."""

    format: str
    number: int
    faults: tuple[str, ...]
    detail: str
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "format": self.format,
            "number": self.number,
            "faults": list(self.faults),
            "detail": self.detail,
            "sha256": self.sha256,
        }


@dataclass(kw_only=True)
class Tally:
    """What came of the mutants of one format."""

    format: str
    mutants: int = 0
    seconds: float = 0.0
    endings: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "format": self.format,
            "mutants": self.mutants,
            "seconds": round(self.seconds, 2),
            "per_second": round(self.mutants / max(self.seconds, 1e-9), 1),
            "endings": dict(self.endings.most_common()),
            "signals": dict(self.signals.most_common()),
            "slowest_seconds": round(self.slowest, 2),
            "violations": [item.to_json() for item in self.violations],
        }


class Campaign:
    """Tries mutants in forks of one warm process.

    Parameters
    ----------
    folder
        Where the children work; beside it lies a secret that nothing they say may hold.
    warm
        Forks a child for each.
    seed
        Of all randomness.
    wall_seconds
        When a child is stopped; a mutant that is stopped for that counts as ``resource_limit``.
    deep
        Run what TensorFlow runs, too.
    keep
        Where mutants with violations, and those that crash a library, are written to; ``None``: nowhere.
    """

    def __init__(
        self, folder: Path, warm: WarmProcess, *, seed: int, wall_seconds: float, deep: bool, keep: Path | None
    ) -> None:
        self._folder = folder
        self._warm = warm
        self._seed = seed
        self._limits = Limits(wall_seconds=wall_seconds, memory_bytes=MEMORY_BYTES)
        self._run = QUICK_TO_RUN | (SLOW_TO_RUN if deep else frozenset())
        self._keep = keep
        self._secret = secrets.token_hex(16)
        (folder / "secret").write_text(self._secret)

    def run(self, format: str, *, first: int, count: int, jobs: int) -> Tally:
        """Try ``count`` mutants of a format, from number ``first`` on."""
        seeds = SEEDS[format]()
        tally = Tally(format=format)
        began = time.monotonic()
        places = [self._folder / f"{format}-{place}" for place in range(jobs)]
        with ThreadPoolExecutor(jobs) as pool:
            shares = [range(first + place, first + count, jobs) for place in range(jobs)]
            for found in pool.map(lambda place, share: list(self._share(place, format, seeds, share)), places, shares):
                for number, data, endings, faults in found:
                    self._count(tally, number, data, endings, faults)
        tally.seconds = time.monotonic() - began
        return tally

    def _share(
        self, place: Path, format: str, seeds: Sequence[bytes], numbers: range
    ) -> Iterator[tuple[int, bytes, list[Ending], list[str]]]:
        for number in numbers:
            data = mutant(seeds, format, number, self._seed)
            endings, faults = self.try_one(emptied(place), format, data)
            yield number, data if faults or endings[-1].signal else b"", endings, faults

    def try_one(self, place: Path, format: str, data: bytes) -> tuple[list[Ending], list[str]]:
        """Take a file in; returns how each step ended, and what must not have been."""
        dataset = FORMATS[format] is None
        path = place / (DATASET if dataset else MODEL)
        path.write_bytes(data)
        taken, taken_for = sniff(path, dataset=dataset)
        endings, faults = [taken], taken.faults(limit_seconds=SNIFF_SECONDS)
        if taken.accepted:
            if dataset:
                requests: list[tuple[str, dict[str, Any]]] = [("analysis", {"fuzz": "dataset", "path": path.name})]
            else:
                requests = [("analysis", {"kind": "analyze", "model_path": path.name, "format": taken_for})]
                if taken_for in self._run:
                    requests.append(("run", {"fuzz": "run", "path": path.name, "format": taken_for}))
            for step, request in requests:
                ending = attempt(request, step=step, folder=place, limits=self._limits, warm=self._warm)
                endings.append(ending)
                faults += ending.faults(limit_seconds=self._limits.wall_seconds + 30)
                if not ending.accepted:
                    break
            if path.read_bytes() != data:
                faults.append("changed its input")
            if any(self._secret in ending.words for ending in endings):
                faults.append("leaked the secret")
            faults += [f"left {item.name}" for item in self._folder.iterdir() if self._is_foreign(item.name)]
            if not self._warm.alive:
                faults.append("the warm process died")
        return endings, faults

    def _is_foreign(self, name: str) -> bool:
        """What is neither a child's own folder nor ours was written by a mutant."""
        return name not in {"secret", "home"} and name.rpartition("-")[0] not in SEEDS

    def _count(self, tally: Tally, number: int, data: bytes, endings: Sequence[Ending], faults: Sequence[str]) -> None:
        last = endings[-1]
        tally.mutants += 1
        tally.endings["accepted" if last.accepted else f"{last.step} {last.code}"] += 1
        tally.slowest = max(tally.slowest, *(ending.seconds for ending in endings))
        if last.signal:
            tally.signals[f"{last.step} signal {last.signal}"] += 1
        if last.signal:
            self._put_by(tally.format, number, data, f"{last.step}: signal {last.signal}\n{last.words[-4000:]}")
        if faults:
            digest = hashlib.sha256(data).hexdigest()
            said = [line for line in last.words.splitlines() if not line.startswith('{"type": ')]
            detail = "\n".join([last.detail, *said[-40:]]).strip()
            tally.violations.append(
                Violation(format=tally.format, number=number, faults=tuple(faults), detail=detail, sha256=digest)
            )
            self._put_by(tally.format, number, data, f"{', '.join(faults)}\n{detail}\n")

    def _put_by(self, format: str, number: int, data: bytes, story: str) -> None:
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / f"{format}-{number}.bin").write_bytes(data)
            (self._keep / f"{format}-{number}.txt").write_text(story)


@contextmanager
def campaign(
    *, seed: int, wall_seconds: float = 30.0, deep: bool = False, keep: Path | None = None
) -> Iterator[Campaign]:
    """Set everything up for trying mutants; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="studio-fuzz-") as name:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        # What a child must not see of its parent.
        os.environ.setdefault("STUDIO_FUZZ_SECRET", "not for children")
        warm = WarmProcess(WARM, folder=home, idle_seconds=600)
        try:
            yield Campaign(folder, warm, seed=seed, wall_seconds=wall_seconds, deep=deep, keep=keep)
        finally:
            warm.stop()
