"""The engine alone: ``python -m edge_ai.engine``. ``run`` is how the studio's workers call it; the rest is for people."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from edge_ai.engine.errors import EngineError, InternalError, ResourceError, UserInputError
from edge_ai.engine.progress import Level
from edge_ai.engine.spec import (
    AnalyzeSpec,
    BenchmarkSpec,
    Format,
    OptimizationLevel,
    OptimizeSpec,
    Precision,
    Spec,
    refuse,
    spec_from_json,
)


class JsonLines:
    """Progress as the worker reads it: one JSON object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, message: dict[str, Any]) -> None:
        """Write one message and push it out."""
        self._stream.write(json.dumps(message, allow_nan=False) + "\n")
        self._stream.flush()

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Tell that a stage has begun."""
        self.write({"type": "stage", "stage": name, "progress": int(progress), "message": message})

    def log(self, level: Level, message: str) -> None:
        """Tell something worth keeping."""
        self.write({"type": "log", "level": level, "message": message})


class Terminal:
    """Progress as a person reads it."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Tell that a stage has begun."""
        if not self._quiet:
            print(f"{progress:3d} %  {message or name}", file=sys.stderr)

    def log(self, level: Level, message: str) -> None:
        """Tell something worth keeping."""
        print(f"{level}: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    given = _parser().parse_args(argv)
    # The quantizers advise on steps that were done already; what matters is told through progress.
    logging.disable(logging.WARNING)
    if given.command == "run":
        return _serve()
    try:
        result, source = _work(given)
    except EngineError as error:
        if given.json:
            print(json.dumps(_failure(error), allow_nan=False))
        else:
            print(f"{error} {error.fix}".strip(), file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        _show(given.command, result, source)
    return 0


def _serve() -> int:
    """Answer one spec from standard input with JSON lines on standard output."""
    # Libraries print where they like: the protocol keeps the real output for itself and gives them the log.
    protocol = JsonLines(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    try:
        spec = spec_from_json(_read_request(sys.stdin))
        # Heavy libraries are loaded by the pipeline, after the spec has been understood.
        from edge_ai.engine.pipeline import run

        done = run(spec, Path.cwd(), protocol)
        protocol.write(
            {
                "type": "result",
                "result": done.result,
                "files": [
                    {"role": f.role, "path": f.path, "name": f.name, "format": f.format, "mime_type": f.mime_type}
                    for f in done.files
                ],
            }
        )
    except EngineError as error:
        protocol.write(_failure(error))
        return 1
    except MemoryError:
        protocol.write(_failure(_out_of_memory()))
        return 1
    except Exception as error:
        # The outermost boundary of the process: the person gets a code, the log gets the traceback.
        traceback.print_exc()
        protocol.write(_failure(_out_of_memory() if _is_memory(error) else _unexpected()))
        return 1
    return 0


def _read_request(stream: IO[str]) -> dict[str, Any]:
    """Read the one JSON object that says what is to be done."""
    try:
        data = json.load(stream)
    except ValueError as error:
        raise refuse("kind", f"The description of the work is not JSON: {error}.", "Send one JSON object.") from None
    if not isinstance(data, dict):
        raise refuse("kind", "The description of the work is not a JSON object.", "Send one JSON object.")
    return data


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return "bad_alloc" in text or "failed to allocate memory" in text or "out of memory" in text


def _out_of_memory() -> ResourceError:
    return ResourceError(
        "The work needed more memory than it may use.",
        code="resource_limit",
        fix="Try a smaller model, a smaller data set or a smaller batch.",
    )


def _unexpected() -> InternalError:
    return InternalError(
        "Something unexpected happened in the engine.",
        code="internal_error",
        fix="The job's log has the details; try again, and report it if it stays.",
        retryable=False,
    )


def _failure(error: EngineError) -> dict[str, Any]:
    return {
        "type": "error",
        "code": error.code,
        "message": str(error),
        "fix": error.fix,
        "retryable": error.retryable,
        "field": error.field,
        "details": error.details or {},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_ai.engine",
        description="Analyse, quantize and benchmark models on this machine, without the studio around it.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="Do one piece of work described as JSON on standard input (how workers call this).")

    inspect = commands.add_parser("inspect", help="Say what a model holds.")
    inspect.add_argument("file", type=Path, help="The model.")

    quantize = commands.add_parser("quantize", help="Make a smaller variant of an ONNX model.")
    quantize.add_argument("file", type=Path, help="The model.")
    quantize.add_argument("-o", "--output", type=Path, required=True, help="Where the variant goes.")
    quantize.add_argument(
        "--precision", choices=[p.value for p in Precision], default="auto", help="How numbers are kept; default: auto."
    )
    quantize.add_argument("--dataset", type=Path, help="Samples (.npz) to calibrate on and compare on.")
    quantize.add_argument(
        "--level", choices=[level.value for level in OptimizationLevel], default="balanced", help="What to choose for."
    )

    benchmark = commands.add_parser("benchmark", help="Measure a model on this machine.")
    benchmark.add_argument("file", type=Path, help="The model.")
    benchmark.add_argument(
        "--dataset", type=Path, help="Samples (.npz) to feed; with labels, accuracy is measured too."
    )
    benchmark.add_argument("--threads", type=int, help="Threads of one operator; default: all processors.")
    benchmark.add_argument("--batch-size", type=int, default=1, help="Samples in one inference; default: 1.")
    benchmark.add_argument("--min-seconds", type=float, default=3.0, help="Measure at least this long; default: 3.")
    benchmark.add_argument("--max-seconds", type=float, default=30.0, help="Measure at most this long; default: 30.")
    for command in (inspect, quantize, benchmark):
        command.add_argument("--json", action="store_true", help="Print the whole result as JSON.")
    return parser


def _work(given: argparse.Namespace) -> tuple[dict[str, Any], Path]:
    """Run a person's command in a work folder of its own."""
    # Only needed here; the pipeline loads heavy libraries, which --help and a mistyped path should not wait for.
    import shutil
    import tempfile

    from edge_ai.engine.pipeline import run
    from edge_ai.engine.sniff import sniff_model

    source: Path = given.file.resolve()
    dataset: Path | None = getattr(given, "dataset", None)
    for path in (source, dataset):
        if path is not None and not path.is_file():
            raise UserInputError(f"There is no file {path}.", code="not_found", fix="Check the path.")
    format = sniff_model(source).format
    spec: Spec
    with tempfile.TemporaryDirectory(prefix="edge-ai-") as folder:
        if given.command == "inspect":
            spec = AnalyzeSpec(model_path=str(source), format=format)
        elif given.command == "quantize":
            spec = OptimizeSpec(
                model_path=str(source),
                source_format=format,
                target_format=Format.ONNX,
                precision=Precision(given.precision),
                optimization_level=OptimizationLevel(given.level),
                dataset_path=str(dataset.resolve()) if dataset else None,
            )
        else:
            spec = BenchmarkSpec(
                model_path=str(source),
                format=format,
                threads=given.threads,
                batch_size=given.batch_size,
                min_seconds=given.min_seconds,
                max_seconds=given.max_seconds,
                dataset_path=str(dataset.resolve()) if dataset else None,
            )
        done = run(spec, Path(folder), Terminal(quiet=given.json))
        if given.command == "quantize":
            shutil.copyfile(Path(folder) / done.files[0].path, given.output)
        return done.result, source


def _show(command: str, result: dict[str, Any], source: Path) -> None:
    if command == "inspect":
        for name in ("inputs", "outputs"):
            for item in result[name]:
                print(f"{name[:-1]:<10}{item['name']}  {item['dtype']}  {item['shape']}")
        for name in ("parameter_count", "weight_bytes", "macs", "opset", "producer", "precision"):
            print(f"{name:<18}{result[name]}")
        print("operators         " + ", ".join(f"{name} × {count}" for name, count in result["operators"].items()))
    elif command == "quantize":
        parity = result["parity"]
        print(
            f"{source.stat().st_size:,} → {result['size_bytes']:,} bytes ({result['compression_ratio']:.2f}×), "
            f"SQNR {parity['sqnr_db']} dB on {parity['samples']} {parity['data']} inputs"
        )
    else:
        latency = result["latency_ms"]
        print(f"p50 {latency['p50']:.4f} ms (95 % interval {latency['ci95'][0]:.4f} to {latency['ci95'][1]:.4f})")
        print(
            f"p90 {latency['p90']:.4f}  p95 {latency['p95']:.4f}  p99 {latency['p99']:.4f} ms, {latency['samples']} runs"
        )
        print(f"noise: {result['noise']['verdict']} ({result['noise']['detail']})")
    for warning in result.get("warnings") or []:
        print(f"note: {warning['detail']} {warning['fix']}")


if __name__ == "__main__":
    sys.exit(main())
