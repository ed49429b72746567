"""The engine for people, without the studio: inspect, convert, quantize, compress, benchmark, compare and package models."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.options import OptionRule, option_rules
from edge_ai.engine.progress import Level
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import (
    AnalyzeSpec,
    BenchmarkSpec,
    Format,
    OptimizationLevel,
    OptimizeSpec,
    PackageSpec,
    Precision,
    Spec,
)

COMPRESSION: Final = ("simplify", "deduplicate", "prune", "sparsity", "cluster", "seed")
"""The options of ``compress``."""

MAX_RECIPE_BYTES: Final = 4 << 20
"""More than any recipe has."""


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


def run_command(argv: Sequence[str]) -> int:
    """Run a person's command; returns the exit status: 0, 1 for what could not be done, 2 for what was not understood."""
    given = _parser().parse_args(argv)
    try:
        result = COMMANDS[given.command](given)
    except EngineError as error:
        if given.json:
            # The worker's protocol is only needed here.
            from edge_ai.engine.__main__ import describe_failure

            print(json.dumps(describe_failure(error), allow_nan=False))
        else:
            print(f"{error} {error.fix}".strip(), file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        SHOWS[given.command](result)
    return 0


def _inspect(given: argparse.Namespace) -> dict[str, Any]:
    source = _file(given.file)
    return _run(AnalyzeSpec(model_path=str(source), format=sniff_model(source).format), given)


def _optimize(given: argparse.Namespace) -> dict[str, Any]:
    source = _file(given.file)
    source_format = sniff_model(source).format
    if given.recipe is not None:
        spec = _from_recipe(given, source, source_format)
    else:
        spec = OptimizeSpec(
            model_path=str(source),
            source_format=source_format,
            target_format=Format(given.to) if given.to else source_format,
            precision=Precision(given.precision),
            optimization_level=OptimizationLevel(given.level),
            dataset_path=_optional_file(given.dataset),
            options={name: value for name, value in _options(given).items() if value is not None},
        )
    return _run(spec, given)


def _from_recipe(given: argparse.Namespace, source: Path, source_format: Format) -> OptimizeSpec:
    """Return the request that a recipe was made of, and say which libraries are other ones now."""
    from edge_ai.engine.recipe import differences, read_recipe
    from edge_ai.engine.report import sha256_of

    recipe = read_recipe(_text(given.recipe))
    for line in differences(recipe):
        print(f"warning: {line}", file=sys.stderr)
    made_for = recipe["hashes"]["source_sha256"]
    if made_for is None:
        print("warning: the recipe does not say which model it was made for", file=sys.stderr)
    elif made_for != sha256_of(source):
        print("warning: the recipe was made for another model", file=sys.stderr)
    request = recipe["request"]
    return OptimizeSpec(
        model_path=str(source),
        source_format=source_format,
        target_format=Format(request["target_format"]),
        precision=Precision(request["precision"]),
        optimization_level=OptimizationLevel(request["optimization_level"]),
        dataset_path=_optional_file(given.dataset),
        options=recipe["options"],
    )


def _benchmark(given: argparse.Namespace) -> dict[str, Any]:
    source = _file(given.file)
    spec = BenchmarkSpec(
        model_path=str(source),
        format=sniff_model(source).format,
        threads=given.threads,
        batch_size=given.batch_size,
        min_seconds=given.min_seconds,
        max_seconds=given.max_seconds,
        dataset_path=_optional_file(given.dataset),
    )
    return _run(spec, given)


def _compare(given: argparse.Namespace) -> dict[str, Any]:
    from edge_ai.engine.measure.compare_models import MAX_MODELS, compare_models

    if not 2 <= len(given.files) <= MAX_MODELS:
        raise UserInputError(
            f"{len(given.files)} models were given; two to {MAX_MODELS} are compared.",
            code="invalid_request",
            fix="Name the models, the one that the others are compared with first.",
        )
    paths = [_file(path) for path in given.files]
    dataset = _optional_file(given.dataset)
    with _work_folder() as folder:
        return dict(
            compare_models(
                [(path, sniff_model(path).format) for path in paths],
                dataset=None if dataset is None else Path(dataset),
                threads=given.threads,
                max_seconds=given.max_seconds,
                workdir=Path(folder),
            )
        )


def _package(given: argparse.Namespace) -> dict[str, Any]:
    source = _file(given.file)
    recipe = None
    if given.recipe is not None:
        from edge_ai.engine.recipe import read_recipe

        recipe = read_recipe(_file(given.recipe).read_text(encoding="utf-8"))
    spec = PackageSpec(
        model_path=str(source), format=sniff_model(source).format, name=given.name or source.stem, recipe=recipe
    )
    return _run(spec, given)


COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "inspect": _inspect,
    "convert": _optimize,
    "quantize": _optimize,
    "compress": _optimize,
    "benchmark": _benchmark,
    "compare": _compare,
    "package": _package,
}


def _run(spec: Spec, given: argparse.Namespace) -> dict[str, Any]:
    """Do the work in a folder of its own, and keep the file that was asked for."""
    # The pipeline loads heavy libraries, which --help and a mistyped path should not wait for.
    from edge_ai.engine.pipeline import run

    with _work_folder() as folder:
        done = run(spec, Path(folder), Terminal(quiet=given.json))
        output: Path | None = getattr(given, "output", None)
        if output is not None:
            for file in done.files:
                wanted = file.role in {"model", "bundle"}
                target = output if wanted else output.with_name(f"{output.stem}-{file.name}")
                if wanted or given.keep_recipe:
                    shutil.copyfile(Path(folder) / file.path, target)
    return done.result


@contextlib.contextmanager
def _work_folder() -> Iterator[str]:
    """Make a folder that is removed at the end, and let libraries keep their temporary files in it.

    TensorFlow leaves the code that it generates behind in the system's temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="edge-ai-") as folder:
        inner = Path(folder, "tmp")
        inner.mkdir()
        before, known = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(inner)
        try:
            yield folder
        finally:
            tempfile.tempdir = known
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UserInputError(f"There is no file {path}.", code="not_found", fix="Check the path.")
    return path.resolve()


def _text(path: Path) -> str:
    """Read a recipe; more than it may have is not read, since it is refused all the same."""
    with _file(path).open("rb") as stream:
        data = stream.read(MAX_RECIPE_BYTES + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UserInputError(
            f"{path} is no recipe: it is not text.",
            code="invalid_request",
            fix="Give the recipe that came with a variant, as JSON or YAML.",
            field="recipe",
        ) from None


def _optional_file(path: Path | None) -> str | None:
    return None if path is None else str(_file(path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_ai.engine",
        description="Analyse, convert, quantize, compress, measure and package models on this machine, without the studio.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="Do one piece of work described as JSON on standard input (how workers call this).")
    inspect = commands.add_parser("inspect", help="Say what a model holds.")
    inspect.add_argument("file", type=Path, help="The model.")
    convert = commands.add_parser("convert", help="Bring a model into another format.")
    quantize = commands.add_parser("quantize", help="Make a variant in another precision.")
    compress = commands.add_parser("compress", help="Make an ONNX model smaller whatever its precision.")
    for command, precision in ((convert, "fp32"), (quantize, "auto"), (compress, "fp32")):
        _add_optimization(command, precision=precision, options=COMPRESSION if command is compress else None)
    benchmark = commands.add_parser("benchmark", help="Measure a model on this machine.")
    benchmark.add_argument("file", type=Path, help="The model.")
    benchmark.add_argument("--batch-size", type=int, default=1, help="Samples in one inference; default: 1.")
    benchmark.add_argument("--min-seconds", type=float, default=3.0, help="Measure at least this long; default: 3.")
    compare = commands.add_parser("compare", help="Measure two to eight models by turns, and say which is faster.")
    compare.add_argument("files", type=Path, nargs="+", help="The models; the others are compared with the first.")
    for command in (benchmark, compare):
        command.add_argument("--dataset", type=Path, help="Samples (.npz or .zip) to feed; default: made-up input.")
        command.add_argument("--threads", type=int, help="Threads of one inference; default: all processors.")
        command.add_argument("--max-seconds", type=float, default=30.0, help="Measure at most this long; default: 30.")
    package = commands.add_parser("package", help="Make a bundle: the model, its card, and a program that runs it.")
    package.add_argument("file", type=Path, help="The model.")
    package.add_argument("-o", "--output", type=Path, required=True, help="Where the bundle (.zip) goes.")
    package.add_argument("--name", help="What the model is called; default: as its file.")
    package.add_argument("--recipe", type=Path, help="The recipe (JSON or YAML) that the model was made with.")
    for command in (inspect, convert, quantize, compress, benchmark, compare, package):
        command.add_argument("--json", action="store_true", help="Print the whole result as JSON.")
    return parser


def _add_optimization(
    command: argparse.ArgumentParser, *, precision: str, options: Sequence[str] | None = None
) -> None:
    command.add_argument("file", type=Path, help="The model.")
    command.add_argument("-o", "--output", type=Path, required=True, help="Where the variant goes; folders are zipped.")
    command.add_argument("--to", choices=[f.value for f in Format], help="Target format; default: the model's own.")
    command.add_argument(
        "--precision",
        choices=[p.value for p in Precision],
        default=precision,
        help=f"How numbers are kept; default: {precision}.",
    )
    command.add_argument("--dataset", type=Path, help="Samples (.npz or .zip) to calibrate on and compare on.")
    command.add_argument(
        "--level", choices=[level.value for level in OptimizationLevel], default="balanced", help="What to choose for."
    )
    command.add_argument("--recipe", type=Path, help="Repeat what a recipe (JSON or YAML) did, to this model.")
    command.add_argument("--keep-recipe", action="store_true", help="Write the recipe beside the variant.")
    for name, rule in option_rules().items():
        if options is None or name in options:
            _add_option(command, name, rule)


def _add_option(command: argparse.ArgumentParser, name: str, rule: OptionRule) -> None:
    flag, dest = f"--{name.replace('_', '-')}", f"option_{name}"
    if rule.kind == "boolean":
        command.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction, help=rule.help)
    elif rule.kind == "names":
        command.add_argument(flag, dest=dest, nargs="+", metavar="NAME", help=rule.help)
    elif rule.kind == "choice":
        kind = type(rule.choices[0])
        command.add_argument(flag, dest=dest, type=kind, choices=rule.choices, help=rule.help)
    else:
        command.add_argument(flag, dest=dest, type=int if rule.kind == "integer" else float, help=rule.help)


def _options(given: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(given, f"option_{name}", None) for name in option_rules()}


def _show_inspection(result: Mapping[str, Any]) -> None:
    for name in ("inputs", "outputs"):
        for item in result[name]:
            print(f"{name[:-1]:<10}{item['name']}  {item['dtype']}  {item['shape']}")
    for name in ("parameter_count", "weight_bytes", "macs", "peak_activation_bytes", "opset", "producer", "precision"):
        print(f"{name:<22}{result[name]}")
    print("operators             " + ", ".join(f"{name} × {count}" for name, count in result["operators"].items()))
    _show_warnings(result)


def _show_variant(result: Mapping[str, Any]) -> None:
    parity = result["parity"]
    before = round(result["size_bytes"] * result["compression_ratio"])
    print(f"{' → '.join(result['route'])}: {before:,} → {result['size_bytes']:,} bytes ", end="")
    print(f"({result['compression_ratio']:.2f}×; packed {result['original_gzip_bytes']:,} → {result['gzip_bytes']:,})")
    if parity["data"] == "not_checked":
        print("parity not checked")
    else:
        print(f"SQNR {parity['sqnr_db']} dB on {parity['samples']} {parity['data']} inputs")
    for trial in result["trials"]:
        ratio = "" if trial["latency_ratio"] is None else f", {trial['latency_ratio']:.2f} × the time"
        outcome = trial["refused_because"] or f"{trial['sqnr_db']} dB{ratio}"
        print(f"{'*' if trial['chosen'] else ' '} {trial['name']}: {outcome} ({trial['seconds']} s)")
    _show_warnings(result)


def _show_measurement(result: Mapping[str, Any]) -> None:
    latency = result["latency_ms"]
    print(f"p50 {latency['p50']:.4f} ms (95 % interval {latency['ci95'][0]:.4f} to {latency['ci95'][1]:.4f})")
    print(f"p90 {latency['p90']:.4f}  p95 {latency['p95']:.4f}  p99 {latency['p99']:.4f} ms, {latency['samples']} runs")
    attempts = result["noise"]["attempts"]
    times = f", after {len(attempts)} attempts" if len(attempts) > 1 else ""
    print(f"noise: {result['noise']['verdict']}{times} ({result['noise']['detail']})")
    _show_warnings(result)


def _show_comparison(result: Mapping[str, Any]) -> None:
    for run in result["runs"]:
        print(f"{run['model']}: p50 {run['latency_ms']['p50']:.4f} ms")
    for pair in result["pairs"]:
        low, high = pair["ci95"]
        print(
            f"{pair['b']} is {pair['verdict']}: {pair['ratio_p50']:.3f} × {pair['a']} (95 % interval {low:.3f} to {high:.3f})"
        )


def _show_bundle(result: Mapping[str, Any]) -> None:
    for file in result["files"]:
        print(f"{file['sha256'][:12]}  {file['size_bytes']:>12,}  {file['path']}")
    runs = "run.py runs it" if result["runs_here"] else "README.md says what runs it"
    print(f"{result['size_bytes']:,} bytes packed; {runs}")


def _show_warnings(result: Mapping[str, Any]) -> None:
    for warning in result.get("warnings") or []:
        print(f"note: {warning['detail']} {warning['fix']}")


SHOWS: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
    "inspect": _show_inspection,
    "convert": _show_variant,
    "quantize": _show_variant,
    "compress": _show_variant,
    "benchmark": _show_measurement,
    "compare": _show_comparison,
    "package": _show_bundle,
}
