"""The same static int8 variant by this engine and by Olive's command line, from the start of the process to the file.

Both quantize with the same samples, ranges from their minimum and maximum, uint8 activations and int8 weights per
channel, in one way (the engine's ``search`` is off). Olive does that and no more; the engine also analyses the model,
compares the variant with the original on all samples and measures both. Runs alternate.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.jobs import Taken, command, engine_job, median, passes_of
from edge_ai.engine.spec import Format, OptimizeSpec, Precision

#: olive-ai 0.13 imports requests without asking for it.
PACKAGES = ("olive-ai[cpu]", "requests")
SAMPLES_SCRIPT = """
import os
import numpy as np
from olive.data.registry import Registry


class Samples:
    def __init__(self):
        arrays = np.load(os.environ["SAMPLES"])
        count = int(os.environ["SAMPLE_COUNT"])
        self.arrays = {name: arrays[name][:count] for name in arrays.files if name != "labels"}

    def __len__(self):
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, row):
        return {name: array[row] for name, array in self.arrays.items()}, 0


@Registry.register_dataset()
def npz_samples(**_):
    return Samples()
"""


def olive_config(model: Path) -> dict[str, object]:
    """Return the description of the work as Olive reads it."""
    return {
        "input_model": {"type": "OnnxModel", "model_path": str(model)},
        "data_configs": [
            {
                "name": "samples",
                "type": "DataContainer",
                "user_script": "samples.py",
                "load_dataset_config": {"type": "npz_samples"},
                "dataloader_config": {"batch_size": 1},
            }
        ],
        "passes": {
            "quantize": {
                "type": "OnnxStaticQuantization",
                "data_config": "samples",
                "quant_format": "QDQ",
                "activation_type": "uint8",
                "precision": "int8",
                "per_channel": True,
                "calibrate_method": "MinMax",
            }
        },
        "output_dir": "out",
        "cache_dir": "cache",
        "log_severity_level": 3,
    }


def install(folder: Path) -> Path:
    """Put Olive into a virtual environment of its own, unless it is there; returns its command."""
    olive = folder / "bin" / "olive"
    if not olive.is_file():
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        command(
            [uv, "venv", "--quiet", "--python", "3.11", str(folder)],
            folder=Path.cwd(),
            environment={},
            made=folder / "pyvenv.cfg",
        )
        python = str(folder / "bin" / "python")
        command(
            [uv, "pip", "install", "--quiet", "--python", python, *PACKAGES],
            folder=Path.cwd(),
            environment={},
            made=olive,
        )
    return olive


def by_olive(olive: Path, model: Path, dataset: Path, samples: int) -> Taken:
    """Quantize by Olive."""
    with tempfile.TemporaryDirectory(prefix="olive-") as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(olive_config(model)))
        (folder / "samples.py").write_text(SAMPLES_SCRIPT)
        return command(
            [str(olive), "run", "--config", "config.json", "--disable_telemetry"],
            folder=folder,
            environment={"SAMPLES": str(dataset), "SAMPLE_COUNT": str(samples), "HOME": name},
            made=folder / "out" / "model.onnx",
        )


def by_engine(model: Path, dataset: Path, samples: int) -> Taken:
    """Quantize by the engine, in the sandbox."""
    spec = OptimizeSpec(
        model_path="model.onnx",
        source_format=Format.ONNX,
        target_format=Format.ONNX,
        precision=Precision.INT8,
        dataset_path="samples.npz",
        # One way, as Olive tries one.
        options={
            "calibration_method": "minmax",
            "calibration_samples": samples,
            "accuracy_budget": 1.0,
            "search": False,
        },
    )
    return engine_job(spec, {"model.onnx": model, "samples.npz": dataset})


def attempt(make: Callable[..., Taken], *arguments: object) -> Taken | None:
    """Run one side; ``None`` when it fails."""
    try:
        return make(*arguments)
    except RuntimeError as error:
        print(str(error).strip().splitlines()[-1], file=sys.stderr)
        return None


def cells(theirs: Sequence[Taken | None], ours: Sequence[Taken | None]) -> list[str]:
    """Return the cells of a model's row: medians, and how many times faster the engine is."""
    done = [[run for run in runs if run is not None] for runs in (theirs, ours)]
    sides = [f"{median([r.wall_s for r in runs]):.1f}" if runs else "fails" for runs in done]
    sizes = [str(runs[0].size_bytes) if runs else "–" for runs in done]
    ratio = "–"
    if all(done):
        ratio = f"{median([run.wall_s for run in done[0]]) / median([run.wall_s for run in done[1]]):.1f} ×"
    return [*sides, ratio, *sizes]


def main() -> int:
    """Compare, and print a table row per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", metavar="MODEL.onnx:DATASET.npz", help="a model and its samples")
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "olive-environment")
    parser.add_argument("--samples", type=int, default=50, help="how many calibrate")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    olive = install(arguments.environment)
    print("| model | Olive, s | engine, s | ratio | Olive, bytes | engine, bytes |")
    print("|---|---|---|---|---|---|")
    for pair in arguments.pairs:
        model, dataset = (Path(part).resolve() for part in pair.split(":"))
        theirs, ours = [], []
        for _ in range(arguments.runs):
            theirs.append(attempt(by_olive, olive, model, dataset, arguments.samples))
            ours.append(attempt(by_engine, model, dataset, arguments.samples))
        print(f"| {model.stem} | {' | '.join(cells(theirs, ours))} |", flush=True)
        if ours[-1] is not None:
            print(f"engine: {passes_of(ours[-1].answer)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
