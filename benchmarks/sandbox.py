"""What each level of the sandbox costs a job: a program that does nothing, and the analysis of the bundled model, by turns.

Wall time from before the start until nothing of the child is left: the median, and the fastest run, which others who use
the machine disturb least.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.jobs import LIMITS, last_message, median, work_folder
from edge_ai.engine.spec import AnalyzeSpec, Format, spec_to_json
from edge_ai.sample import ONNX_MODEL
from edge_ai.sandbox import Child, Level, python_module
from edge_ai.sandbox.probe import try_level

ORDER = (Level.NONE, Level.PARTIAL, Level.STANDARD, Level.STRONG)
NOTHING = [sys.executable, "-I", "-S", "-c", "print('{}')"]
ANALYSIS = json.dumps(spec_to_json(AnalyzeSpec(model_path="model.onnx", format=Format.ONNX))).encode()


def seconds_of(argv: list[str], level: Level, files: dict[str, Path], stdin: bytes) -> float:
    """Do one job at a level; returns its wall time.

    Raises
    ------
    RuntimeError
        It was not done.
    """
    with work_folder(files) as folder:
        began = time.perf_counter()
        child = Child(argv, folder=folder, stdin=stdin, limits=LIMITS, level=level)
        last_message(child)
        child.close()
        taken = time.perf_counter() - began
        if child.returncode != 0:
            raise RuntimeError(f"The job failed at level {level}: {child.killed_for or child.returncode}")
        return taken


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=21, help="runs of each job at each level")
    runs = parser.parse_args().runs
    levels = [level for level in ORDER if level is Level.NONE or try_level(level).works]
    jobs = {
        "nothing": (NOTHING, {}, b""),
        "analysis": (python_module("edge_ai.engine", "run"), {"model.onnx": ONNX_MODEL}, ANALYSIS),
    }
    taken: dict[tuple[str, Level], list[float]] = {(name, level): [] for name in jobs for level in levels}
    for _ in range(runs):
        for name, (argv, files, stdin) in jobs.items():
            for level in levels:
                taken[name, level].append(seconds_of(argv, level, files, stdin))
    print("| job | level | median, ms | fastest, ms | added to the median, ms |")
    print("| --- | --- | --- | --- | --- |")
    for name in jobs:
        base = median(taken[name, Level.NONE])
        for level in levels:
            middle, fastest = median(taken[name, level]), min(taken[name, level])
            print(f"| {name} | {level} | {1e3 * middle:.0f} | {1e3 * fastest:.0f} | {1e3 * (middle - base):+.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
