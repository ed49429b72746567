"""A diagnosis from beginning to end: what is the matter, by measurement; where; why; and what to do."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.doctor import slow, wrong
from edge_ai.engine.doctor.findings import Finding, Question, in_order
from edge_ai.engine.doctor.layers import Looked, look_into
from edge_ai.engine.evaluate.dataset import load_dataset
from edge_ai.engine.evaluate.gate import WARNING_DB, find_fault
from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.evaluate.parity import (
    MAX_LABELLED_SAMPLES,
    MAX_SAMPLES,
    Parity,
    Reference,
    compare_variant,
    dataset_feeds,
    run_reference,
)
from edge_ai.engine.evaluate.representative import make_up_feeds
from edge_ai.engine.evaluate.task import required_batch
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.measure.compare_models import compare_models
from edge_ai.engine.measure.environment import read_processor
from edge_ai.engine.measure.slow_facts import Facts, look_into_file
from edge_ai.engine.progress import Progress
from edge_ai.engine.runtime.base import Feed, Session
from edge_ai.engine.spec import DiagnosisSpec, Format, OptimizeOptions, Precision

MADE_UP_FEEDS: Final = 8
#: A ratio above it whose interval decides nothing is looked into all the same, and said to be uncertain.
SUSPICIOUS: Final = 1.05
_WORDS: Final = {
    Question.SLOWER: "The variant is slower than the baseline; its answers are right.",
    Question.WRONG: "The variant does not answer what the baseline answers; it is not slower.",
    Question.BOTH: "The variant is slower than the baseline, and does not answer what that answers.",
    Question.NEITHER: "Nothing is the matter: the variant is not slower, and answers what the baseline answers.",
}


def diagnose(spec: DiagnosisSpec, workdir: Path, progress: Progress) -> dict[str, Any]:
    """Find out why a variant is slower or wrong.

    Parameters
    ----------
    spec
        Its paths are relative to ``workdir``.
    workdir
        A writable folder.
    progress
        Told about each step.

    Returns
    -------
    dict
        The result of the API's diagnosis.

    Raises
    ------
    EngineError
        When one of the two cannot be loaded or run, or they do not take and answer the same.
    """
    return _Diagnosis(spec, workdir, progress).run()


@dataclass(kw_only=True)
class _Side:
    """One of the two models, unpacked."""

    stored: Path
    format: Format
    path: Path
    feeds: list[Feed] = field(default_factory=list)


class _Diagnosis:
    def __init__(self, spec: DiagnosisSpec, workdir: Path, progress: Progress) -> None:
        self._spec = spec
        self._workdir = workdir
        self._progress = progress
        self._threads = spec.threads or len(spec.cpus or os.sched_getaffinity(0))

    def run(self) -> dict[str, Any]:
        """Do it."""
        spec = self._spec
        self._progress.stage("prepare", 2, "Reading both models")
        baseline = self._side("baseline", spec.baseline_path, spec.baseline_format)
        variant = self._side("variant", spec.model_path, spec.format)
        analysis = handler_of(spec.format).inspect(variant.stored, self._folder("variant-inspected"))
        precision = precision_of(analysis.get("precision"))
        self._progress.stage("parity", 8, "Comparing the answers")
        parity = self._compare_answers(baseline, variant)
        fault = fault_of(parity, precision)
        measured = self._measure(baseline, variant)
        matched = measured["pairs"][0]
        self._progress.stage("layers", 70, "Looking into both, layer by layer")
        looked = look_into(
            (baseline.path, baseline.format, baseline.feeds),
            (variant.path, variant.format, variant.feeds),
            threads=self._threads,
            cpus=spec.cpus,
            workdir=self._folder("looked"),
            wrong=fault is not None,
        )
        self._progress.stage("findings", 95, "Looking for causes")
        question = question_of(slower=matched["verdict"] == "slower", wrong=fault is not None)
        findings = self._findings(question, fault, parity, precision, matched, looked, variant)
        return {
            "question": str(question),
            "summary": _WORDS[question],
            "findings": findings,
            "layers": [row.to_json() for row in looked.rows],
            "layers_reason": looked.reason,
            "latency": {
                "ratio_p50": matched["ratio_p50"],
                "ci95": matched["ci95"],
                "verdict": matched["verdict"],
                "baseline_ms": measured["runs"][0]["latency_ms"]["p50"],
                "variant_ms": measured["runs"][1]["latency_ms"]["p50"],
            },
            "parity": parity.to_json() | {"fault": fault, "precision": str(precision)},
            "elsewhere_ms": {
                "baseline": None if looked.before is None else round(looked.before.elsewhere_ms, 6),
                "variant": None if looked.after is None else round(looked.after.elsewhere_ms, 6),
            },
            "transitions": looked.transitions,
            "islands": looked.islands,
            "environment": measured["environment"],
            "noise": measured["noise"],
        }

    def _side(self, name: str, stored: str, format: Format) -> _Side:
        path = self._workdir / stored
        return _Side(stored=path, format=format, path=handler_of(format).unpack(path, self._folder(name)))

    def _folder(self, name: str) -> Path:
        folder = self._workdir / name
        folder.mkdir(exist_ok=True)
        return folder

    def _compare_answers(self, baseline: _Side, variant: _Side) -> Parity:
        ours = handler_of(baseline.format).load(baseline.path, threads=0)
        theirs = handler_of(variant.format).load(variant.path, threads=0)
        reference = self._reference(ours, baseline)
        names = pair(ours.inputs, theirs.inputs)
        baseline.feeds = list(reference.feeds)
        variant.feeds = [translate(feed, names, ours.inputs, theirs.inputs) for feed in reference.feeds]
        return compare_variant(reference, theirs)

    def _reference(self, session: Session, side: _Side) -> Reference:
        softmax, ranges = _told_by_file(side)
        if self._spec.dataset_path is None:
            made_up = make_up_feeds(session.inputs, count=MADE_UP_FEEDS, seed=0, ranges=ranges)
            return run_reference(
                session, made_up.feeds, data=made_up.data, batch=1, labels=None, softmax_outputs=softmax
            )
        dataset = load_dataset(self._workdir / self._spec.dataset_path).matched(session.inputs)
        limit = MAX_SAMPLES if dataset.labels is None else MAX_LABELLED_SAMPLES
        return run_reference(
            session,
            dataset_feeds(session.inputs, dataset, limit=limit),
            data="dataset",
            batch=required_batch(session.inputs, dataset.inputs),
            labels=dataset.labels,
            softmax_outputs=softmax,
        )

    def _measure(self, baseline: _Side, variant: _Side) -> dict[str, Any]:
        self._progress.stage("compare", 20, "Measuring both by turns")
        dataset = self._spec.dataset_path
        return compare_models(
            [(baseline.stored, baseline.format), (variant.stored, variant.format)],
            dataset=None if dataset is None else self._workdir / dataset,
            threads=self._threads,
            max_seconds=self._spec.max_seconds,
            workdir=self._folder("compared"),
            cpus=self._spec.cpus,
        )

    def _findings(
        self,
        question: Question,
        fault: str | None,
        parity: Parity,
        precision: Precision,
        measured: dict[str, Any],
        looked: Looked,
        variant: _Side,
    ) -> list[dict[str, Any]]:
        certain: list[Finding] = []
        doubtful: list[Finding] = []
        slower = question in {Question.SLOWER, Question.BOTH}
        if slower or (measured["verdict"] == "inconclusive" and measured["ratio_p50"] > SUSPICIOUS):
            case = slow.SlowCase(
                facts=self._facts(looked, variant),
                before=looked.before,
                after=looked.after,
                graph=looked.variant,
                ratio=measured["ratio_p50"],
            )
            found = slow.causes(case) or ([slow.unexplained(case)] if slower else [])
            (certain if slower else doubtful).extend(found)
        if fault is not None:
            certain += wrong.causes(
                wrong.WrongCase(
                    target=variant.format,
                    precision=precision,
                    parity=parity,
                    fault=fault,
                    taps=looked.taps,
                    errors=looked.errors,
                    losses=looked.losses,
                    baseline=looked.baseline,
                    variant=looked.variant,
                    nameable=frozenset() if looked.baseline is None else frozenset(looked.baseline.named),
                )
            )
        has_dataset = self._spec.dataset_path is not None
        return [
            *(one.to_json(has_dataset=has_dataset) for one in in_order(certain)),
            *(one.to_json(has_dataset=has_dataset, certain=False) for one in in_order(doubtful)),
        ]

    def _facts(self, looked: Looked, variant: _Side) -> Facts:
        same = self._spec.baseline_format == self._spec.format
        activations, operators = look_into_file(variant.path, variant.format)
        return Facts(
            source=self._spec.baseline_format,
            target=self._spec.format,
            before=looked.before.times if same and looked.before is not None else None,
            after=None if looked.after is None else looked.after.times,
            activations=activations,
            operators=operators,
            cpu_flags=read_processor()[1],
        )


def question_of(*, slower: bool, wrong: bool) -> Question:
    """Return what is the matter."""
    if slower and wrong:
        return Question.BOTH
    return Question.SLOWER if slower else Question.WRONG if wrong else Question.NEITHER


def precision_of(name: str | None) -> Precision:
    """Return the precision whose bar a variant is held to, by what its analysis calls it."""
    told = name or ""
    for word, precision in (
        ("int4", Precision.INT4),
        ("weight-only", Precision.INT8),
        ("int16", Precision.INT16X8),
        ("dynamic-int8", Precision.INT8_DYNAMIC),
        ("int8", Precision.INT8),
        ("fp8", Precision.FP8),
        ("16", Precision.FP16),
        ("mixed", Precision.FP16),
    ):
        if word in told:
            return precision
    return Precision.FP32


def fault_of(parity: Parity, precision: Precision) -> str | None:
    """Say in what the variant is wrong, or ``None``: it fails the gate, or, without labels to decide, is unusually far off."""
    budget = OptimizeOptions().accuracy_budget
    fault = find_fault(parity, precision, accuracy_budget=budget)
    if fault is None and parity.metric is None and parity.sqnr_db is not None:
        usual = WARNING_DB[precision]
        # Of float32 a little less than usual is rounding in another order.
        if parity.sqnr_db < (usual if precision is not Precision.FP32 else usual / 2):
            return f"its outputs are {parity.sqnr_db:.1f} dB above their error, where {usual:g} dB is usual for {precision}."
    return fault


def _told_by_file(side: _Side) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the outputs that a Softmax makes, and the ranges of the inputs, as far as the file tells."""
    if side.format is not Format.ONNX:
        return {}, {}
    # onnx is loaded only for ONNX files.
    from edge_ai.engine.evaluate.onnx_ranges import input_ranges
    from edge_ai.engine.formats.onnx import read_model, softmax_outputs

    model = read_model(side.path)
    return softmax_outputs(model), input_ranges(model)
