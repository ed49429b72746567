"""Try every route and precision on real models, and write down what came of it: the table of ``docs/formats.md``.

Each conversion is a job of the engine in a process of its own with a time limit. What has been tried is kept in a file
with one JSON object a line, so that a run that was stopped goes on where it was; ``--again`` tries what is chosen anew.
Lines of the page that were not tried stay as they are, so that single cases can be corrected:
``--only minilm --target tflite --precision int8 --again``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import LIMITS, last_message, work_folder
from edge_ai.engine.routes import LANES, targets_of
from edge_ai.engine.spec import Format, OptimizeSpec, Precision, spec_to_json
from edge_ai.sandbox import Child, Limits, python_module

FORMATS = {
    ".onnx": Format.ONNX,
    ".tflite": Format.TFLITE,
    ".keras": Format.KERAS,
    ".h5": Format.KERAS,
    ".zip": Format.SAVED_MODEL,
}
BEGIN = "<!-- Written by `python -m benchmarks.formats`: begin -->"
END = "<!-- Written by `python -m benchmarks.formats`: end -->"
HEAD = (
    "| Model | From | To | Precision | Seconds | Smaller by | SQNR, dB | Compared on | Metric falls by "
    "| Latency ratio | Said |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)
Row = dict[str, Any]
Key = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model file and, where there is one, its data set."""

    path: Path
    format: Format
    dataset: Path | None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.stem


def subjects_in(folder: Path) -> Iterator[Subject]:
    """Yield the models of a folder; ``data/NAME.npz`` is the data set of ``NAME.onnx``."""
    for path in sorted(folder.iterdir()):
        if path.suffix in FORMATS:
            yield _subject(path, FORMATS[path.suffix], folder / "data" / f"{path.stem}.npz")


def subjects_of(cases: Path) -> Iterator[Subject]:
    """Yield the models of a list: ``{"models": FOLDER, "cases": [{"file", "format", "dataset"}]}``."""
    described = json.loads(cases.read_text())
    folder = cases.parent / described.get("models", ".")
    seen = set()
    for case in described["cases"]:
        if case["file"] not in seen:
            seen.add(case["file"])
            dataset = folder / case["dataset"] if case.get("dataset") else None
            yield _subject(folder / case["file"], Format(case["format"]), dataset)


def _subject(path: Path, model_format: Format, dataset: Path | None) -> Subject:
    return Subject(path=path, format=model_format, dataset=dataset if dataset and dataset.is_file() else None)


def plan(subjects: Iterable[Subject]) -> Iterator[tuple[Subject, Format, Precision]]:
    """Yield every model with every target that there is a way to, in every precision of that target."""
    for subject in subjects:
        for target in targets_of(subject.format):
            for precision in LANES[target].precisions:
                if (target, precision) != (subject.format, Precision.FP32):
                    yield subject, target, precision


def attempt(subject: Subject, target: Format, precision: Precision, limits: Limits) -> Row:
    """Do one conversion; a refusal is an answer."""
    name = "model" + subject.path.suffix
    files = {name: subject.path} | ({"dataset.npz": subject.dataset} if subject.dataset else {})
    spec = OptimizeSpec(
        model_path=name,
        source_format=subject.format,
        target_format=target,
        precision=precision,
        dataset_path="dataset.npz" if subject.dataset else None,
    )
    with work_folder(files) as folder:
        began = time.monotonic()
        told = json.dumps(spec_to_json(spec)).encode()
        child = Child(python_module("edge_ai.engine", "run"), folder=folder, stdin=told, limits=limits)
        answer = last_message(child)
        child.close()
        seconds = time.monotonic() - began
    row = key_of(subject, target, precision) | {"seconds": round(seconds, 1)}
    return row | (_made(answer["result"]) if answer.get("type") == "result" else _refused(answer, child.returncode))


def key_of(subject: Subject, target: Format, precision: Precision) -> Row:
    """Return what a row begins with."""
    return {
        "model": subject.name,
        "source": subject.format.value,
        "target": target.value,
        "precision": precision.value,
    }


def _made(result: Mapping[str, Any]) -> Row:
    parity = result.get("parity") or {}
    chosen: Mapping[str, Any] = next((trial for trial in result.get("trials", []) if trial.get("chosen")), {})
    return {
        "code": "",
        "compression_ratio": result.get("compression_ratio"),
        "sqnr_db": parity.get("sqnr_db"),
        "data": parity.get("data"),
        "metric": (parity.get("metric") or {}).get("name"),
        "metric_drop": (parity.get("metric") or {}).get("drop"),
        "latency_ratio": chosen.get("latency_ratio"),
        "warnings": [warning["code"] for warning in result.get("warnings", [])],
        "passes": result.get("passes", []),
    }


def _refused(answer: Mapping[str, Any], returncode: int | None) -> Row:
    code = answer.get("code") or f"no answer, exit status {returncode}"
    return {"code": code, "message": answer.get("message", ""), "details": answer.get("details") or {}}


def read_rows(path: Path) -> list[Row]:
    """Return what was tried before."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(rows: Iterable[Row], before: Mapping[Key, str]) -> str:
    """Return the rows as Markdown, the later of two for one case, among the lines that the page had before."""
    lines = dict(before) | {identity(row): _line(row) for row in rows}
    return HEAD + "".join(lines[key] for key in sorted(lines, key=lambda key: (key[1], key[0], *key[2:])))


def lines_of(page: Path) -> dict[Key, str]:
    """Return the lines that a page has between its marks, by what they tell of."""
    text = page.read_text() if page.is_file() else ""
    written = text.partition(BEGIN)[2].partition(END)[0]
    cells = [(line, [cell.strip() for cell in line.strip("|").split("|")]) for line in written.splitlines()]
    known = {model_format.value for model_format in Format}
    return {
        (cell[0], cell[1], cell[2], cell[3]): f"{line}\n" for line, cell in cells if len(cell) > 3 and cell[1] in known
    }


def identity(row: Row) -> Key:
    """Return what a row is known by."""
    return row["model"], row["source"], row["target"], row["precision"]


def _line(row: Row) -> str:
    if row["code"]:
        results = ["–"] * 5 + [f"`{row['code']}`"]
    else:
        drop = row["metric_drop"]
        results = [
            _number(row["compression_ratio"], ".2f", " ×"),
            _number(row["sqnr_db"], ".1f"),
            row["data"] or "–",
            "–" if drop is None else f"{drop:.4f} ({row['metric']})",
            _number(row["latency_ratio"], ".2f"),
            ", ".join(f"`{code}`" for code in dict.fromkeys(row["warnings"])),
        ]
    given = [row["model"], row["source"], row["target"], row["precision"], f"{row['seconds']:.1f}"]
    return f"| {' | '.join([*given, *results])} |\n"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def write_page(page: Path, text: str) -> None:
    """Put the table between its marks; what people wrote around them stays."""
    old = page.read_text() if page.is_file() else f"# Formats\n\n{BEGIN}\n{END}\n"
    if BEGIN not in old:
        old = f"{old.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = old.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}")


def arguments_of_command() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--models", type=Path, help="a folder of models, with data sets in data/")
    given.add_argument("--cases", type=Path, help="a JSON list of models")
    parser.add_argument("--only", default="", help="only models whose name contains this")
    parser.add_argument("--target", default="", help="only this target format")
    parser.add_argument("--precision", default="", help="only this precision")
    parser.add_argument("--again", action="store_true", help="try what was tried before, too")
    parser.add_argument("--results", type=Path, default=Path("var/formats.jsonl"), help="what was tried is kept here")
    parser.add_argument("--page", type=Path, default=Path("docs/formats.md"))
    parser.add_argument("--case-seconds", type=float, default=180, help="longest time for one conversion")
    parser.add_argument("--seconds", type=float, default=7200, help="no conversion begins after so long")
    return parser.parse_args()


def main() -> int:
    """Try what has not been tried, as long as there is time, and write the table."""
    arguments = arguments_of_command()
    rows = read_rows(arguments.results)
    known = set() if arguments.again else {identity(row) for row in rows}
    limits = Limits(wall_seconds=arguments.case_seconds, memory_bytes=LIMITS.memory_bytes)
    until = time.monotonic() + arguments.seconds
    subjects = subjects_in(arguments.models) if arguments.models else subjects_of(arguments.cases)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    left = 0
    for subject, target, precision in plan(subjects):
        key = identity(key_of(subject, target, precision))
        wanted = (arguments.target or target.value, arguments.precision or precision.value)
        if key in known or arguments.only not in subject.name or wanted != key[2:]:
            continue
        if time.monotonic() > until:
            left += 1
            continue
        rows.append(attempt(subject, target, precision, limits))
        with arguments.results.open("a") as stream:
            stream.write(json.dumps(rows[-1]) + "\n")
        print(" ".join(key), f"{rows[-1]['seconds']} s", rows[-1]["code"] or "done", flush=True)
    text = table(rows, lines_of(arguments.page))
    write_page(arguments.page, text)
    print(f"{len(text.splitlines()) - 2} conversions in {arguments.page}; {left} are left.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
