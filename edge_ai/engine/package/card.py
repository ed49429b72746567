"""The card of a model: what it is, what it takes and answers, how it was made, and how it is run. Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_ai.engine.package import guide
from edge_ai.engine.spec import Format

MAX_OPERATORS: Final = 40
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|#~&])")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a card tells of.

    Parameters
    ----------
    name, format, model
        What the model is called, its format, and what of the bundle a runtime opens.
    size_bytes, sha256
        Of the stored file.
    analysis
        As the API has it.
    facts
        What is known of how the model was made and measured: ``description``, ``source`` (``name``, ``sha256``,
        ``size_bytes``), ``made`` (``precision``, ``parity``, ``latency_ratio``, ``latency_against``, ``warnings``) and
        ``measured`` (``p50_ms``, ``ci95``, ``threads``, ``device``, ``runtime``). Each may be missing.
    versions
        Of what a program installs to run it.
    runs_here
        It has a ``run.py``.
    """

    name: str
    format: Format
    model: str
    size_bytes: int
    sha256: str
    analysis: Mapping[str, Any]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]
    runs_here: bool


def write_card(subject: Subject) -> str:
    """Return the card; the same subject gives the same text."""
    sections: Iterable[Sequence[str]] = (
        [f"# {text(subject.name)}"],
        [text(subject.facts["description"])] if subject.facts.get("description") else [],
        _about(subject),
        _tensors("Inputs", subject.analysis["inputs"]),
        _tensors("Outputs", subject.analysis["outputs"]),
        _operators(subject.analysis["operators"]),
        _made(subject.facts),
        _measured(subject.facts),
        _run(subject),
        _warnings(subject),
        [
            "## Files",
            "",
            "`bundle.json` says the same for programs. `sha256sum -c SHA256SUMS` tells whether every file is whole.",
        ],
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def text(value: object) -> str:
    """Return somebody's words as one line that Markdown takes as words."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """Return a name as it is written in programs."""
    plain = " ".join(str(value).replace("`", "'").replace("|", "/").split())
    return f"`{plain}`" if plain else "–"


def _about(subject: Subject) -> list[str]:
    analysis = subject.analysis
    rows = [
        ("Format", code(subject.format)),
        ("Precision", code(analysis["precision"]) if analysis["precision"] else "not known"),
        ("Size", f"{subject.size_bytes:,} bytes"),
        ("SHA-256", code(subject.sha256)),
        ("Parameters", _count(analysis["parameter_count"])),
        ("Weights", _bytes(analysis["weight_bytes"])),
        ("MACs of one inference", _count(analysis["macs"])),
        ("Peak of activations", _bytes(analysis["peak_activation_bytes"])),
        ("Opset", _count(analysis["opset"])),
        ("Written by", text(analysis["producer"] or "not said")),
    ]
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows if value)]


def _tensors(title: str, tensors: Sequence[Mapping[str, Any]]) -> list[str]:
    if not tensors:
        return [f"## {title}", "", "Not known: the file does not tell."]
    rows = [f"| {code(each['name'])} | {code(each['dtype'])} | {_shape(each)} |" for each in tensors]
    return [f"## {title}", "", "| Name | Type | Shape |", "| --- | --- | --- |", *rows]


def _shape(tensor: Mapping[str, Any]) -> str:
    shape = tensor["shape"]
    told = "of any rank" if shape is None else code("[" + ", ".join("?" if a is None else str(a) for a in shape) + "]")
    scale = tensor.get("quantization")
    return told if not scale else f"{told}; real = {scale['scale']:.6g} × (integer − {scale['zero_point']})"


def _operators(operators: Mapping[str, int]) -> list[str]:
    if not operators:
        return []
    shown = [f"{code(name)} × {count}" for name, count in list(operators.items())[:MAX_OPERATORS]]
    rest = len(operators) - len(shown)
    return ["## Operators", "", ", ".join(shown) + (f", and {rest} more kinds." if rest > 0 else ".")]


def _made(facts: Mapping[str, Any]) -> list[str]:
    source: Mapping[str, Any] = facts.get("source") or {}
    made: Mapping[str, Any] = facts.get("made") or {}
    lines = []
    if source:
        called = f" “{text(source['name'])}”" if source.get("name") else ""
        size = f" of {source['size_bytes']:,} bytes" if source.get("size_bytes") else ""
        lines.append(f"- Made from the model{called}{size} with the SHA-256 {code(source['sha256'])}.")
    parity: Mapping[str, Any] = made.get("parity") or {}
    if parity.get("data") == "not_checked":
        lines.append("- What it computes was not compared with its source: nothing where it was made runs this format.")
    elif parity:
        lines.append(f"- Agreement with its source, on {parity['samples']} {_data(parity['data'])}: {_parity(parity)}.")
    if made.get("latency_ratio"):
        against = "the same network in float32" if made.get("latency_against") == "converted" else "its source"
        lines.append(
            f"- One inference took {made['latency_ratio']:.3g} × the time of {against}, measured on one thread side by side"
            " when it was made."
        )
    return ["## How it was made", "", *lines] if lines else []


def _parity(parity: Mapping[str, Any]) -> str:
    parts = ["the same numbers" if parity.get("sqnr_db") is None else f"SQNR {parity['sqnr_db']:.4g} dB"]
    for name, title in (("cosine", "cosine"), ("max_abs_error", "largest error")):
        if parity.get(name) is not None:
            parts.append(f"{title} {parity[name]:.4g}")
    if parity.get("top1_agreement") is not None:
        parts.append(f"the same top class on {100 * parity['top1_agreement']:.4g} % of them")
    metric = parity.get("metric")
    if metric:
        parts.append(f"{text(metric['name'])} {metric['variant']:.4g} (its source: {metric['reference']:.4g})")
    return ", ".join(parts)


def _data(kind: object) -> str:
    return {"dataset": "samples of a data set", "representative": "made-up inputs of the right kind"}.get(
        str(kind), "random inputs, which prove little"
    )


def _measured(facts: Mapping[str, Any]) -> list[str]:
    measured: Mapping[str, Any] = facts.get("measured") or {}
    if not measured:
        return []
    low, high = measured["ci95"]
    threads = (
        f", {measured['threads']} thread{'s' if measured['threads'] != 1 else ''}" if measured.get("threads") else ""
    )
    runtime = f", {text(measured['runtime'])}" if measured.get("runtime") else ""
    return [
        "## Measured",
        "",
        f"Median latency {measured['p50_ms']:.4g} ms (95 % interval {low:.4g} to {high:.4g} ms) on"
        f" {text(measured['device'])}{threads}{runtime}. Another machine has other numbers.",
    ]


def _run(subject: Subject) -> list[str]:
    lines = ["## How to run it", ""]
    if subject.runs_here:
        lines += [
            "```sh",
            "python -m pip install -r requirements.txt",
            "python run.py                     # random input, always the same",
            "python run.py --input data.npz    # one array for each input, under its name",
            "```",
            "",
            "`run.py` prints the shapes and types of the answers and the median latency as JSON; `--help` tells the rest."
            " In a program of your own:",
        ]
    else:
        lines.append(
            guide.WHERE.get(subject.format, "It could not be run where this bundle was made. With its runtime:")
        )
    fence = "sh" if subject.format in {Format.GGUF, Format.TENSORRT} else "python"
    lines += ["", f"```{fence}", guide.snippet(subject.format, subject.model), "```"]
    if subject.versions:
        known = ", ".join(f"{name} {number}" for name, number in subject.versions.items())
        lines += ["", f"Made for {known}: `requirements.txt` pins them."]
    return lines


def _warnings(subject: Subject) -> list[str]:
    made: Mapping[str, Any] = subject.facts.get("made") or {}
    notes = [*subject.analysis["warnings"], *(made.get("warnings") or ())]
    lines = [f"- {text(note.get('detail', ''))} {text(note.get('fix', ''))}".rstrip() for note in notes]
    return ["## Worth knowing", "", *dict.fromkeys(lines)] if lines else []


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _bytes(number: int | None) -> str:
    return "" if number is None else f"{number:,} bytes"
