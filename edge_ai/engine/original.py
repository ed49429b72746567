"""The model that a variant is made of: what it is asked, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.evaluate.accuracy import class_labels
from edge_ai.engine.evaluate.dataset import Dataset, Division, divide
from edge_ai.engine.evaluate.kept import ANSWERS, load_reference, save_reference, tensors_from_json
from edge_ai.engine.evaluate.parity import (
    MAX_LABELLED_SAMPLES,
    MAX_SAMPLES,
    Reference,
    dataset_feeds,
    run_reference,
)
from edge_ai.engine.evaluate.representative import make_up_feeds
from edge_ai.engine.evaluate.task import required_batch
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.progress import Progress
from edge_ai.engine.runtime.base import Array, Feed, Session
from edge_ai.engine.spec import Format, OptimizeOptions
from edge_ai.engine.stages import Stage, Stages

MADE_UP_FEEDS: Final = 8
ANSWERING: Final = "answers of the original"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the original answered.

    Parameters
    ----------
    reference
        Its answers, to hold variants against.
    calibration
        Feeds to calibrate with, under the original's names; empty without a data set.
    division
        How the data set was divided; ``None`` without one.
    key
        Of all that decided what it was asked.
    reused
        The pass of an earlier attempt that the answers were taken from.
    """

    reference: Reference
    calibration: list[Feed]
    division: Division | None
    key: str
    reused: tuple[dict[str, object], ...] = ()


class Original:
    """The source of an optimization, unpacked."""

    def __init__(self, stored: Path, format: Format, workdir: Path) -> None:
        self.stored = stored
        self.format = format
        self._workdir = workdir / "original"
        self._workdir.mkdir(exist_ok=True)
        self._handler = handler_of(format)
        self.analysis: dict[str, Any] = self._handler.inspect(stored, self._workdir)
        self.path = self._handler.unpack(stored, self._workdir)
        self._session: Session | None = None

    def require_runnable(self) -> None:
        """Refuse a model that cannot be run here: nothing could be said about what its variant computes.

        Raises
        ------
        UnsupportedError
            ``unsupported_operator`` with the reason.
        """
        for warning in self.analysis["warnings"]:
            if warning["code"] == "cannot_run_here":
                raise UnsupportedError(
                    f"The model cannot be run here, so a variant could not be compared with it. {warning['detail']}",
                    code="unsupported_operator",
                    fix=warning["fix"],
                )

    def ask(
        self,
        dataset: Dataset | None,
        options: OptimizeOptions,
        progress: Progress,
        stages: Stages,
        *,
        calibrate: bool,
        dataset_sha256: str | None,
    ) -> Asked:
        """Run the original on samples, or on made-up input where there are none; or take its answers over.

        Raises
        ------
        EngineError
            ``dataset_mismatch``, ``dataset_required``, and what loading and running it raise.
        """
        calibrated = options.calibration_samples if calibrate and dataset is not None else 0
        key = stages.key("answers", dataset=dataset_sha256, calibration_samples=calibrated, seed=options.seed)
        kept = stages.take(key, ANSWERING)
        reused: tuple[dict[str, object], ...] = ()
        if kept is not None:
            reused = ({"name": ANSWERING, "seconds": kept.seconds, "size_bytes": self.stored.stat().st_size},)
        inputs = tensors_from_json(kept.value["inputs"]) if kept is not None else self._loaded().inputs
        if dataset is None:
            made_up = make_up_feeds(inputs, count=MADE_UP_FEEDS, seed=options.seed, ranges=self._ranges())
            progress.stage("load", 5, f"Running the original on {MADE_UP_FEEDS} made-up inputs")
            reference = self._answers(stages, key, kept, made_up.feeds, data=made_up.data, batch=1, labels=None)
            return Asked(reference=reference, calibration=[], division=None, key=key, reused=reused)
        division = divide(
            dataset.matched(inputs),
            calibration_samples=calibrated,
            judgement_samples=MAX_SAMPLES if dataset.labels is None else MAX_LABELLED_SAMPLES,
            seed=options.seed,
        )
        judged = division.judgement
        progress.stage("load", 5, f"Running the original on {judged.samples} samples")
        reference = self._answers(
            stages,
            key,
            kept,
            dataset_feeds(inputs, judged),
            data="dataset",
            batch=required_batch(inputs, judged.inputs),
            labels=judged.labels,
        )
        if not reference.feeds:
            raise EngineError(
                f"The model takes {reference.batch} samples at once, and the data set has fewer.",
                code="dataset_mismatch",
                fix=f"Give at least {reference.batch} samples.",
                field="dataset",
            )
        calibration = list(dataset_feeds(inputs, division.calibration)) if calibrate else []
        _require_numbers(calibration)
        return Asked(reference=reference, calibration=calibration, division=division, key=key, reused=reused)

    def _loaded(self) -> Session:
        # Held on to: what converts a SavedModel next needs not load it again.
        if self._session is None:
            self._session = self._handler.load(self.path, threads=0)
        return self._session

    def _answers(
        self,
        stages: Stages,
        key: str,
        kept: Stage | None,
        feeds: Iterable[Feed],
        *,
        data: str,
        batch: int,
        labels: Array | None,
    ) -> Reference:
        if kept is not None:
            return load_reference(kept.value, kept.files / ANSWERS, feeds, class_labels(labels))
        began = time.monotonic()
        reference = run_reference(
            self._loaded(), feeds, data=data, batch=batch, labels=labels, softmax_outputs=self._softmax_outputs()
        )
        seconds = time.monotonic() - began
        answers = self._workdir / ANSWERS
        value = save_reference(reference, answers)
        if value is not None:
            stages.keep(key, value=value, seconds=seconds, files={ANSWERS: answers})
            answers.unlink()
        return reference

    def _softmax_outputs(self) -> dict[str, int]:
        if self.format is not Format.ONNX:
            return {}
        from edge_ai.engine.formats.onnx import read_graph, softmax_outputs

        return softmax_outputs(read_graph(self.path)[0])

    def _ranges(self) -> dict[str, Any]:
        if self.format is not Format.ONNX:
            return {}
        # onnx is loaded only for ONNX files.
        from edge_ai.engine.evaluate.onnx_ranges import input_ranges
        from edge_ai.engine.formats.onnx import read_graph

        return input_ranges(read_graph(self.path)[0])


def _require_numbers(feeds: Sequence[Feed]) -> None:
    """Refuse to calibrate with what has no range.

    Raises
    ------
    UserInputError
        ``dataset_mismatch`` naming the input.
    """
    for feed in feeds:
        for name, array in feed.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserInputError(
                    f"The samples for {name!r} have values that are no numbers (NaN) or infinite, which give no range to "
                    "calibrate with.",
                    code="dataset_mismatch",
                    fix="Leave those samples out, or choose int8_dynamic or fp16, which need no calibration.",
                    field="dataset",
                )
