"""`edgeai gate`: measure, judge, report."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from edge_ai_studio._sync.client import Studio
from edge_ai_studio._sync.resources import Model
from edge_ai_studio.cli.commands import dataset_of, model_of
from edge_ai_studio.cli.output import print_json, tell
from edge_ai_studio.errors import NoSuchName, StudioError
from edge_ai_studio.gate import (
    MARKS,
    Check,
    check_accuracy,
    check_latency,
    check_size,
    check_speed,
    passed,
    to_junit,
    to_junit_of_failure,
    to_markdown,
    to_markdown_of_failure,
)


def gate(studio: Studio, given: argparse.Namespace) -> int:
    """Measure the model, judge it, write the reports; 1 when it may not go on.

    A model that could not be judged has reports, too: those of an earlier run would say that it was.
    """
    _check(given)
    try:
        return _gate(studio, given)
    except StudioError as error:
        report = to_markdown_of_failure(model=given.model, why=str(error))
        _write(given, markdown=report, junit=to_junit_of_failure(model=given.model, why=str(error)))
        raise


def _check(given: argparse.Namespace) -> None:
    if given.baseline is None and given.max_p50_ms is None and given.max_size_mb is None:
        raise StudioError("There is nothing to check: give --baseline, --max-p50-ms or --max-size-mb.")
    if given.max_accuracy_drop is not None and (given.baseline is None or given.dataset is None):
        raise StudioError("--max-accuracy-drop needs a --baseline to drop from, and a labelled --dataset to judge by.")
    for path in (given.markdown, given.junit):
        if path and path != "-":
            Path(path).parent.mkdir(parents=True, exist_ok=True)


def _write(given: argparse.Namespace, *, markdown: str, junit: str) -> None:
    if given.junit:
        Path(given.junit).write_text(junit, encoding="utf-8")
    if given.markdown == "-":
        sys.stdout.write(markdown)
    elif given.markdown:
        Path(given.markdown).write_text(markdown, encoding="utf-8")


def _gate(studio: Studio, given: argparse.Namespace) -> int:
    device = studio.this_machine() if given.device is None else studio.device(given.device)
    if not device.is_host and (given.baseline is not None or given.max_p50_ms is not None):
        raise StudioError(
            f"“{device.name}” is not the machine that the studio measures on, and estimates decide nothing."
        )
    baseline = find_baseline(studio, given.baseline) if given.baseline else None
    model = model_of(studio, given.model)
    if model == baseline:
        raise StudioError(f"“{given.baseline}” is the model itself: there is nothing to hold it against.")
    checks: list[Check] = []
    link = f"{studio.transport.access.url}/models/{model.id}/"
    if given.max_size_mb is not None:
        checks.append(check_size(model.size_bytes, given.max_size_mb))
    if baseline is not None:
        data = dataset_of(studio, given.dataset)
        compared = studio.compare(
            [baseline, model],
            device,
            threads=given.threads,
            dataset=data,
            margin=given.margin,
            max_seconds=given.max_seconds,
            name=f"gate: {model.name}"[:100],
        )
        compared.wait(progress=not given.json, timeout=given.timeout)
        link = f"{studio.transport.access.url}/comparisons/{compared.id}/"
        pair, run = compared.pairs[0], (compared.result or {})["runs"][1]
        checks.append(check_speed(pair, given.margin))
        if given.max_accuracy_drop is not None:
            checks.append(check_accuracy(pair, run, given.max_accuracy_drop))
    if given.max_p50_ms is not None:
        measured = studio.submit_benchmark(
            model, device, threads=given.threads, max_seconds=given.max_seconds, name=f"gate: {model.name}"[:100]
        )
        measured.wait(progress=not given.json, timeout=given.timeout)
        checks.append(check_latency(measured.latency_ms, given.max_p50_ms))
        if baseline is None:
            link = f"{studio.transport.access.url}/benchmarks/{measured.id}/"
    good = passed(checks, strict=given.strict)
    against = baseline.name if baseline else None
    report = to_markdown(checks, model=model.name, device=device.name, baseline=against, good=good, link=link)
    junit = to_junit(checks, model=model.name, device=device.name, strict=given.strict)
    _write(given, markdown=report, junit=junit)
    if given.json:
        print_json({"passed": good, "model": model.id, "link": link, "checks": [asdict(check) for check in checks]})
    elif given.markdown != "-":
        for check in checks:
            print(f"{MARKS[check.outcome]} {check.name}: {check.measured}, limit {check.limit}. {check.detail}")
    tell(f"The gate {'passed' if good else 'failed'}: {link}")
    return 0 if good else 1


def find_baseline(studio: Studio, wanted: str) -> Model:
    """Return the model of an id or a name, else the newest one that is ready and has the tag.

    Raises
    ------
    NoSuchName
        When there is none.
    """
    try:
        return studio.model(wanted)
    except NoSuchName:
        for model in studio.models(tag=wanted, status="ready"):
            return model
    raise NoSuchName(f"There is no model called “{wanted}”, and none with that tag.")
