"""The commands and their options. Shell completion is made from this, too."""

from __future__ import annotations

import argparse

from edge_ai_studio import __version__

PRECISIONS = ("auto", "int8", "int8_dynamic", "int16x8", "int4", "fp8", "fp16", "fp32")
FORMATS = ("onnx", "ort", "tflite", "openvino", "saved_model", "coreml", "ncnn")
KINDS = ("optimization", "benchmark", "comparison", "diagnosis", "package", "import")
EXITS = {
    0: "done",
    1: "the gate failed",
    2: "the command was not understood",
    3: "the studio refused the request",
    4: "a model could not be read, or a job failed or was cancelled",
    5: "the studio could not be reached, or was at fault itself",
    6: "the time to wait was over",
    7: "nothing, or more than one thing, has that name",
    8: "no address or key is known, or the key is not valid",
    130: "interrupted",
}
"""What a command ends with."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `edgeai`."""
    exits = "\n".join(f"  {code:<4} {words}" for code, words in EXITS.items())
    parser = argparse.ArgumentParser(
        prog="edgeai",
        description="Optimize, measure and gate models with an Edge AI Accelerator Studio.",
        epilog=f"exit status:\n{exits}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgeai {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.add_argument("--url", help="address of the studio (else EDGEAI_URL, else what `edgeai login` kept)")
        made.add_argument("--key", help="API key (else EDGEAI_API_KEY, else what `edgeai login` kept)")
        made.add_argument("--json", action="store_true", help="print the studio's answer as JSON")
        return made

    login = command("login", "Keep the address and an API key for later commands")
    login.add_argument("address", nargs="?", help="address of the studio")
    command("logout", "Forget the address and the key")
    command("me", "Show whom the key belongs to, and what it may use")

    devices = command("devices", "List the devices")
    devices.add_argument("search", nargs="?", help="words in the name")

    models = command("models", "List the models, newest first")
    models.add_argument("search", nargs="?", help="words in the name")
    models.add_argument("--format", help="only of this format")
    models.add_argument("--tag", help="only with this tag")
    models.add_argument("--limit", type=positive, default=50, help="at most so many (50)")

    datasets = command("datasets", "List the data sets, newest first")
    datasets.add_argument("search", nargs="?", help="words in the name")
    datasets.add_argument("--limit", type=positive, default=50, help="at most so many (50)")

    upload = command("upload", "Upload a model, or with --dataset, data; resumes where an earlier try stopped")
    upload.add_argument("file", nargs="?", help="the file")
    upload.add_argument(
        "--from-url", metavar="URL", help="have the studio fetch a model from there, instead of sending a file"
    )
    upload.add_argument("--sha256", help="with --from-url: what the file must hash to")
    upload.add_argument("--dataset", action="store_true", help="the file is calibration or evaluation data")
    upload.add_argument("--name", help="what to call it")
    upload.add_argument("--tag", action="append", default=[], help="a tag; may be given more than once")
    upload.add_argument("--kind", choices=("calibration", "evaluation", "both"), help="what the data is for")
    upload.add_argument("--share", action="store_true", help="let the whole workspace see it")
    upload.add_argument("--no-wait", action="store_true", help="do not wait until the model is analysed")

    analyze = command("analyze", "Show what is in a model")
    analyze.add_argument("model", help="a file, or a model's name or id")

    optimize = command("optimize", "Make a smaller, faster variant of a model")
    optimize.add_argument("model", help="a file, or a model's name or id")
    optimize.add_argument("--device", required=True, help="name or id of the device")
    optimize.add_argument("--precision", choices=PRECISIONS, default="auto", help="default: auto")
    optimize.add_argument("--format", choices=FORMATS, help="target format (else the model's own)")
    optimize.add_argument(
        "--level", choices=("speed", "balanced", "size"), default="balanced", help="default: balanced"
    )
    optimize.add_argument("--dataset", help="calibration data: a file, or a data set's name or id")
    optimize.add_argument(
        "--option", action="append", default=[], metavar="NAME=JSON", help="an option of the optimization"
    )
    optimize.add_argument("--dry-run", action="store_true", help="only show the plan")
    optimize.add_argument("--fresh", action="store_true", help="work even where the same was answered before")
    optimize.add_argument("--output", "-o", help="where to save the variant; implies --wait")
    _waiting(optimize)

    benchmark = command("benchmark", "Measure a model")
    benchmark.add_argument("model", help="a file, or a model's name or id")
    benchmark.add_argument("--device", help="name or id of the device (else the studio's own machine)")
    benchmark.add_argument("--dataset", help="evaluation data: a file, or a data set's name or id")
    benchmark.add_argument("--threads", type=positive)
    benchmark.add_argument("--batch-size", type=positive)
    benchmark.add_argument("--max-seconds", type=above_zero, help="time to measure, 3 at least (the studio's default)")
    _waiting(benchmark)

    compare = command("compare", "Measure 2 to 8 models by turns; the others are held against the first")
    compare.add_argument("models", nargs="+", help="files, or models' names or ids")
    compare.add_argument("--device", help="name or id of the device (else the studio's own machine)")
    compare.add_argument("--dataset", help="evaluation data: a file, or a data set's name or id")
    compare.add_argument("--threads", type=positive)
    compare.add_argument("--margin", type=share, help="the relative difference that does not matter (0.02)")
    compare.add_argument("--max-seconds", type=above_zero, help="time to measure (the studio's default)")
    _waiting(compare)

    diagnose = command("diagnose", "Look why a variant is slower, or answers otherwise, than its original")
    diagnose.add_argument("model", help="the variant: a file, or a model's name or id")
    diagnose.add_argument("--baseline", help="what it is held against (else the model that it was made from)")
    diagnose.add_argument("--device", help="name or id of the device (else the studio's own machine)")
    diagnose.add_argument("--dataset", help="samples to feed: a file, or a data set's name or id")
    diagnose.add_argument("--threads", type=positive)
    diagnose.add_argument("--max-seconds", type=above_zero, help="time to measure (the studio's default)")
    _waiting(diagnose)

    package = command("package", "Bundle a model with its card, its recipe and a program that runs it")
    package.add_argument("model", help="a file, or a model's name or id")
    package.add_argument("--output", "-o", help="where to save the archive; implies --wait")
    _waiting(package)

    batch = command("batch", "Make variants of several models, for several devices, in several precisions")
    batch.add_argument("models", nargs="+", help="files, or models' names or ids")
    batch.add_argument("--device", action="append", required=True, help="a device; may be given more than once")
    batch.add_argument(
        "--precision", action="append", required=True, choices=PRECISIONS, help="may be given more than once"
    )
    batch.add_argument("--format", choices=FORMATS, help="target format (else each model's own)")
    batch.add_argument("--level", choices=("speed", "balanced", "size"), help="default: balanced")
    batch.add_argument("--dataset", help="calibration data: a file, or a data set's name or id")
    batch.add_argument(
        "--option", action="append", default=[], metavar="NAME=JSON", help="an option of the optimizations"
    )
    batch.add_argument("--strict", action="store_true", help="refuse all where one combination can never work")
    batch.add_argument("--fresh", action="store_true", help="work even where the same was answered before")
    _waiting(batch)

    download = command("download", "Save a model's file, verified by its checksum")
    download.add_argument("model", help="a model's name or id")
    download.add_argument("--output", "-o", help="a file or a folder (else here, under its own name)")

    jobs = command("jobs", "List, follow, cancel or retry jobs")
    jobs.add_argument("action", nargs="?", choices=("list", "show", "wait", "log", "cancel", "retry"), default="list")
    jobs.add_argument("job", nargs="?", help="the job's id; not for list")
    jobs.add_argument("--kind", choices=KINDS, default="optimization", help="which jobs to list (optimization)")
    jobs.add_argument("--status", help="only jobs of this status")
    jobs.add_argument("--limit", type=positive, default=20, help="at most so many (20)")
    jobs.add_argument("--timeout", type=above_zero, help="seconds to wait at most")

    webhooks = command("webhooks", "List, add, test or delete the addresses that are told of events")
    webhooks.add_argument("action", nargs="?", choices=("list", "add", "test", "delete"), default="list")
    webhooks.add_argument("target", nargs="?", help="the address for add, the id for test and delete")
    webhooks.add_argument("--event", action="append", default=[], help="an event; may be given more than once (all)")

    gate = command("gate", "Fail when a model is too slow, too large, or worse than a baseline beyond chance")
    gate.add_argument("model", help="a file, or a model's name or id")
    gate.add_argument("--device", help="name or id of the device (else the studio's own machine)")
    gate.add_argument("--baseline", help="a model's id, name or tag; the newest with that tag")
    gate.add_argument("--dataset", help="labelled data: a file, or a data set's name or id")
    gate.add_argument("--max-p50-ms", type=above_zero, help="limit of the median latency")
    gate.add_argument("--max-size-mb", type=above_zero, help="limit of the file's size, MB of 10^6 bytes")
    gate.add_argument(
        "--max-accuracy-drop", type=share, help="limit of the loss against the baseline, 0.01 a hundredth"
    )
    gate.add_argument("--margin", type=share, default=0.02, help="slowdown that does not matter (0.02)")
    gate.add_argument("--threads", type=positive)
    gate.add_argument("--max-seconds", type=above_zero, help="time to measure, 3 at least (the studio's default)")
    gate.add_argument("--strict", action="store_true", help="fail on what is uncertain, too")
    gate.add_argument("--markdown", metavar="FILE", help="write the report as Markdown; - for standard output")
    gate.add_argument("--junit", metavar="FILE", help="write the report as JUnit XML")
    gate.add_argument("--timeout", type=above_zero, help="seconds to wait at most")

    completion = commands.add_parser("completion", help="Print a script that completes commands in a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


def _waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="what to call the job")
    parser.add_argument("--wait", action="store_true", help="wait for the end, with progress")
    parser.add_argument("--timeout", type=above_zero, help="seconds to wait at most")


def positive(text: str) -> int:
    """Return a whole number above zero."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def above_zero(text: str) -> float:
    """Return a number above zero."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def share(text: str) -> float:
    """Return a share of one, such as 0.01."""
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError(text)
    return value
