"""The model that a variant is made of: what it is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.evaluate.dataset import Dataset, Division, divide
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
from edge_ai.engine.runtime.base import Feed, Session
from edge_ai.engine.spec import Format, OptimizeOptions

MADE_UP_FEEDS: Final = 8


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
    """

    reference: Reference
    calibration: list[Feed]
    division: Division | None


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

    def ask(self, dataset: Dataset | None, options: OptimizeOptions, progress: Progress, *, calibrate: bool) -> Asked:
        """Run the original on samples, or on made-up input where there are none.

        Raises
        ------
        EngineError
            ``dataset_mismatch``, ``dataset_required``, and what loading and running it raise.
        """
        # Held on to: what converts a SavedModel next needs not load it again.
        session = self._session = self._handler.load(self.path, threads=0)
        if dataset is None:
            return self._ask_made_up(session, options, progress)
        division = divide(
            dataset.matched(session.inputs),
            calibration_samples=options.calibration_samples if calibrate else 0,
            judgement_samples=MAX_SAMPLES if dataset.labels is None else MAX_LABELLED_SAMPLES,
            seed=options.seed,
        )
        judged = division.judgement
        progress.stage("load", 5, f"Running the original on {judged.samples} samples")
        reference = run_reference(
            session,
            dataset_feeds(session.inputs, judged),
            data="dataset",
            batch=required_batch(session.inputs, judged.inputs),
            labels=judged.labels,
            softmax_outputs=self._softmax_outputs(),
        )
        if not reference.feeds:
            raise EngineError(
                f"The model takes {reference.batch} samples at once, and the data set has fewer.",
                code="dataset_mismatch",
                fix=f"Give at least {reference.batch} samples.",
                field="dataset",
            )
        calibration = list(dataset_feeds(session.inputs, division.calibration)) if calibrate else []
        _require_numbers(calibration)
        return Asked(reference=reference, calibration=calibration, division=division)

    def _ask_made_up(self, session: Session, options: OptimizeOptions, progress: Progress) -> Asked:
        made_up = make_up_feeds(session.inputs, count=MADE_UP_FEEDS, seed=options.seed, ranges=self._ranges())
        progress.stage("load", 5, f"Running the original on {MADE_UP_FEEDS} made-up inputs")
        reference = run_reference(
            session,
            made_up.feeds,
            data=made_up.data,
            batch=1,
            labels=None,
            softmax_outputs=self._softmax_outputs(),
        )
        return Asked(reference=reference, calibration=[], division=None)

    def _softmax_outputs(self) -> dict[str, int]:
        if self.format is not Format.ONNX:
            return {}
        from edge_ai.engine.formats.onnx import read_model, softmax_outputs

        return softmax_outputs(read_model(self.path))

    def _ranges(self) -> dict[str, Any]:
        if self.format is not Format.ONNX:
            return {}
        # onnx is loaded only for ONNX files.
        from edge_ai.engine.evaluate.onnx_ranges import input_ranges
        from edge_ai.engine.formats.onnx import read_model

        return input_ranges(read_model(self.path))


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
