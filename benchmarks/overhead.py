"""What a job of the engine costs over the bare library call: both in processes of their own, by turns.

The engine is asked for one way (``search`` off), as the call makes one. It still does more: it reads the model with care,
runs the original, compares the variant with it and measures both. Its share is in the last column, from the result's
``passes``. For SavedModels there is a second comparison: a fork of the
warm process against the converter's second run in one and the same script.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.jobs import LIMITS, Taken, command, engine_job, last_message, median, passes_of, work_folder
from edge_ai.engine.spec import Format, OptimizeSpec, Precision, spec_to_json
from edge_ai.sandbox.warm import WarmProcess

ROOT = Path(__file__).resolve().parent.parent
LONG_S = 10.0
MAX_RATIO = 1.15
MAX_EXTRA_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison: what the engine is asked for, and the bare call of :mod:`benchmarks.bare` that does the like."""

    name: str
    bare: str
    model: Path
    target: Format
    precision: Precision
    samples: Path | None = None
    count: int = 50
    options: Mapping[str, object]

    @property
    def source(self) -> Format:
        """The format of the model."""
        return Format.ONNX if self.model.suffix == ".onnx" else Format.SAVED_MODEL

    def spec(self) -> OptimizeSpec:
        """Return what the engine is asked for."""
        return OptimizeSpec(
            model_path="model" + self.model.suffix,
            source_format=self.source,
            target_format=self.target,
            precision=self.precision,
            dataset_path=None if self.samples is None else "samples.npz",
            options=self.options,
        )

    def files(self) -> dict[str, Path]:
        """Return what lies in the engine's folder."""
        return {"model" + self.model.suffix: self.model} | ({"samples.npz": self.samples} if self.samples else {})

    def by_library(self, repeat: int = 1) -> Taken:
        """Do it by the bare call."""
        with tempfile.TemporaryDirectory(prefix="bare-") as folder:
            given = [self.bare, str(self.model), str(Path(folder) / "made.bin")]
            given += [str(self.samples), str(self.count)] if self.samples else []
            argv = [sys.executable, "-m", "benchmarks.bare", *given, f"--repeat={repeat}"]
            return command(argv, folder=ROOT, environment={"ORT_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": "-1"})


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield the comparisons that the given models allow."""
    for pair in arguments.onnx:
        model, samples = (Path(part).resolve() for part in pair.split(":"))
        yield _case(model, "onnx-int8", Format.ONNX, Precision.INT8, samples)
        yield _case(model, "onnx-int8-dynamic", Format.ONNX, Precision.INT8_DYNAMIC)
        yield _case(model, "onnx-tflite", Format.TFLITE, Precision.FP32)
        yield _case(model, "onnx-openvino", Format.OPENVINO, Precision.FP16)
    for pair in arguments.saved_model:
        model, *rest = (Path(part).resolve() for part in pair.split(":"))
        yield _case(model, "saved-model-tflite", Format.TFLITE, Precision.FP16)
        if rest:
            yield _case(model, "saved-model-tflite", Format.TFLITE, Precision.INT8, rest[0])


def _case(model: Path, bare: str, target: Format, precision: Precision, samples: Path | None = None) -> Case:
    # One way, as the bare call tries one.
    options: dict[str, object] = {"search": False, "accuracy_budget": 1.0}
    if samples:
        options |= {"calibration_method": "minmax", "calibration_samples": 50}
    name = f"{model.stem} → {target} {precision}"
    return Case(name=name, bare=bare, model=model, target=target, precision=precision, samples=samples, options=options)


def by_fork(process: WarmProcess, case: Case) -> Taken:
    """Do it in a fork of the warm process."""
    with work_folder(case.files()) as folder:
        began = time.monotonic()
        told = json.dumps(spec_to_json(case.spec())).encode()
        child = process.child(folder=folder, stdin=told, limits=LIMITS)
        answer = last_message(child)
        child.close()
        return Taken(wall_s=time.monotonic() - began, answer=answer)


@contextmanager
def warm_process() -> Iterator[WarmProcess]:
    """Have a warm engine."""
    with tempfile.TemporaryDirectory(prefix="warm-") as home:
        process = WarmProcess("edge_ai.engine.warm", folder=Path(home), idle_seconds=600)
        try:
            yield process
        finally:
            process.stop()


def report(name: str, library_s: Sequence[float], engine_s: Sequence[float], spent: str) -> None:
    """Print a row: medians, ratio, what is added, whether that is within the aim."""
    bare, ours = median(library_s), median(engine_s)
    good = ours <= bare * MAX_RATIO if bare > LONG_S else ours <= bare + MAX_EXTRA_S
    print(
        f"| {name} | {bare:.2f} | {ours:.2f} | {ours / bare:.2f} × | {ours - bare:+.2f} | {'yes' if good else 'no'} "
        f"| {spent} |",
        flush=True,
    )


def compare(case: Case, runs: int) -> None:
    """Compare cold processes, by turns."""
    library, engine = [], []
    for _ in range(runs):
        library.append(case.by_library())
        engine.append(engine_job(case.spec(), case.files()))
    spent = passes_of(engine[-1].answer)
    report(case.name, [run.wall_s for run in library], [run.wall_s for run in engine], spent)


def compare_warm(case: Case, runs: int, process: WarmProcess) -> None:
    """Compare a fork of the warm process with runs of the bare call in one script, after its first."""
    by_fork(process, case)
    library = case.by_library(repeat=runs + 1).answer["seconds"][1:]
    engine = [by_fork(process, case) for _ in range(runs)]
    report(f"{case.name}, warm", library, [run.wall_s for run in engine], passes_of(engine[-1].answer))


def tried(case: Case, run: Callable[[], None]) -> None:
    """Run one comparison; what fails is a row too."""
    try:
        run()
    except RuntimeError as error:
        print(f"| {case.name} | fails: {str(error).strip().splitlines()[-1][:200]} | | | | | |", flush=True)


def main() -> int:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", nargs="*", default=[], metavar="MODEL.onnx:SAMPLES.npz")
    parser.add_argument("--saved-model", nargs="*", default=[], metavar="MODEL.zip[:SAMPLES.npz]")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print("| case | bare, s | engine, s | ratio | added, s | within the aim | the engine's passes, s |")
    print("|---|---|---|---|---|---|---|")
    chosen = list(cases(arguments))
    for case in chosen:
        tried(case, partial(compare, case, arguments.runs))
    if arguments.saved_model:
        with warm_process() as process:
            for case in chosen:
                if case.source is Format.SAVED_MODEL:
                    tried(case, partial(compare_warm, case, arguments.runs, process))
    return 0


if __name__ == "__main__":
    sys.exit(main())
