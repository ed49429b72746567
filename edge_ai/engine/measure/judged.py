"""The accuracy of a benchmark: judged on the data set's labels, kept sample by sample, and compared with the baseline's."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.evaluation import Evaluation, evaluate_session
from edge_ai.engine.evaluate.metrics.base import NotJudgedError
from edge_ai.engine.evaluate.significance import PairedChange, mcnemar
from edge_ai.engine.runtime.base import Session

CORRECT, PLACES, DATA = "correct", "correct_places", "correct_data"
_NO_SIDE = "whether an answer is right is known of classes and texts only"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was found of a model's accuracy, or why nothing was."""

    evaluation: Evaluation | None
    reason: str | None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=())
    calibrated: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the benchmark's result."""
        found = self.evaluation
        if found is None:
            empty = ("accuracy", "accuracy_ci95", "accuracy_samples", "accuracy_task", "accuracy_detail")
            return dict.fromkeys(empty) | {"accuracy_reason": self.reason}
        scores = found.scores.scores
        detail = dict(found.scores.detail) | {"notes": list(self.notes), "calibrated_samples": self.calibrated}
        if self.classes is not None:
            detail["class_names"] = list(self.classes)
        return {
            "accuracy": {name: score.value for name, score in scores.items()},
            "accuracy_reason": None,
            "accuracy_ci95": {name: list(score.ci95) for name, score in scores.items() if score.ci95 is not None},
            "accuracy_samples": found.samples,
            "accuracy_task": {"task": found.task, "source": found.source, "output": found.output},
            "accuracy_detail": detail,
        }


def judge(
    session: Session,
    dataset: Dataset,
    *,
    max_seconds: float,
    hashes: Sequence[str] | None = None,
    calibrated_on: Collection[str] = (),
) -> Judged:
    """Judge a model on the labels of a data set.

    Parameters
    ----------
    session
        The model.
    dataset
        Matched with it.
    max_seconds
        Where to end early.
    hashes, calibrated_on
        Of each sample of the data set, and of those that the model was calibrated on; what is in both is counted, since
        a model may be better on what it was calibrated on.
    """
    try:
        found = evaluate_session(session, dataset, max_seconds=max_seconds)
    except NotJudgedError as error:
        return Judged(evaluation=None, reason=str(error))
    notes = list(dataset.notes)
    if found.samples < dataset.samples:
        notes.append(
            f"Of {dataset.samples:,} samples {found.samples:,} were judged, drawn at random: the time for it was over."
        )
    calibrated = None
    if hashes is not None and calibrated_on:
        known = frozenset(calibrated_on)
        calibrated = sum(hashes[int(place)] in known for place in found.places)
    return Judged(
        evaluation=found,
        reason=None,
        classes=None if dataset.task is None else dataset.task.classes,
        notes=tuple(notes),
        calibrated=calibrated,
    )


def data_mark(path: Path) -> str:
    """Return what tells a data set's file from others."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def keep_correct(samples: Path, evaluation: Evaluation | None, data: str) -> None:
    """Add to a benchmark's samples which answers were right.

    They are ``correct``, bool of shape (n,), ``correct_places``, their places in the data set, int64 of shape (n,), and
    ``correct_data``, the SHA-256 of the data set's file.
    """
    if evaluation is None or evaluation.scores.correct is None:
        return
    with np.load(samples, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays |= {CORRECT: evaluation.scores.correct, PLACES: evaluation.places, DATA: np.array(data)}
    with samples.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def change_between(a: Judged, b: Judged) -> PairedChange | None:
    """Hold the answers of *b* against those of *a*, on the samples that both were judged on.

    ``None`` where either was not judged answer by answer.
    """
    one, other = a.evaluation, b.evaluation
    if one is None or other is None or one.scores.correct is None or other.scores.correct is None:
        return None
    _, there, here = np.intersect1d(one.places, other.places, assume_unique=True, return_indices=True)
    return mcnemar(one.scores.correct[there], other.scores.correct[here]) if len(here) else None


def compare_accuracy(earlier: Path, now: Path) -> dict[str, Any]:
    """Return the ``accuracy`` of a comparison, and ``accuracy_reason`` where there is none.

    Parameters
    ----------
    earlier, now
        The samples of the baseline and of this benchmark.
    """

    def without(reason: str) -> dict[str, Any]:
        return {"accuracy": None, "accuracy_reason": reason}

    with np.load(now, allow_pickle=False) as ours, np.load(earlier, allow_pickle=False) as theirs:
        if CORRECT not in ours.files:
            return without(f"this benchmark did not judge its answers one by one; {_NO_SIDE}")
        if CORRECT not in theirs.files:
            return without(f"the baseline did not judge its answers one by one; {_NO_SIDE}")
        if str(ours[DATA]) != str(theirs[DATA]):
            return without("the baseline was judged on another data set")
        _, there, here = np.intersect1d(theirs[PLACES], ours[PLACES], assume_unique=True, return_indices=True)
        if not len(here):
            return without("the two were judged on different samples")
        found = mcnemar(theirs[CORRECT][there].astype(bool), ours[CORRECT][here].astype(bool))
    return {"accuracy": found.to_json(), "accuracy_reason": None}
