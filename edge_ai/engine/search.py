"""Trying ways of making a variant, one after the other, each compared with the original as soon as it is made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from edge_ai.engine.choose import DROP_STEP
from edge_ai.engine.entry import Entry
from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.evaluate.gate import WARNING_DB, find_fault
from edge_ai.engine.evaluate.kept import parity_from_json, parity_to_json
from edge_ai.engine.evaluate.parity import Parity, compare_variant, unchecked
from edge_ai.engine.formats.beside import data_of
from edge_ai.engine.lanes.base import size_of, ways_of
from edge_ai.engine.making import Making
from edge_ai.engine.original import Asked
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize.trial import QUANTIZER_FAILURES, Trial, first_line, in_words
from edge_ai.engine.routes import Route
from edge_ai.engine.runtime import RUNTIMES, open_model
from edge_ai.engine.spec import OptimizationLevel, Precision
from edge_ai.engine.stages import Stage, move

MAX_SEARCH_SECONDS: Final = 300.0
"""No further way is begun after it, once there is one that is good enough. What was taken over counts as if it were done."""

GOOD_DB: Final = {
    Precision.FP32: 80.0,
    Precision.FP16: 45.0,
    Precision.INT8: 30.0,
    Precision.INT8_DYNAMIC: 20.0,
    Precision.INT16X8: 40.0,
    Precision.INT4: 20.0,
    Precision.FP8: 20.0,
}
"""A variant this close, in dB, ends the search for ``balanced``: the next ones would cost time and gain little."""

JUDGED_LATER: Final = ("accuracy_budget", "search")
"""The options that decide nothing about a single way: they say which of them is kept, and how many are tried."""

VARIANT: Final = "variant"

_NOT_CHECKED: Final = (
    "No runtime on this machine runs the target format, so what the variant computes was not compared."
)


def search(making: Making, route: Route, entry: Entry, asked: Asked) -> list[Trial]:
    """Try ways until one is good, all of them where the level asks for a choice, or one where no search is wanted.

    Raises
    ------
    EngineError
        ``nothing_to_quantize`` where there is no way; ``resource_limit``.
    """
    return _Search(making, route, entry, asked).run()


class _Search:
    """One search."""

    def __init__(self, making: Making, route: Route, entry: Entry, asked: Asked) -> None:
        self._making = making
        self._route = route
        self._target = route.lane.target
        self._entry = entry
        self._asked = asked

    def run(self) -> list[Trial]:
        """Do it."""
        making = self._making
        trials: list[Trial] = []
        began, saved = time.monotonic(), making.stages.saved_seconds
        for trial in ways_of(self._route, self._entry.context):
            trials.append(trial)
            self._attempt(trial, len(trials))
            if not making.options.search:
                break
            if making.spec.optimization_level is OptimizationLevel.BALANCED and self._good(trial):
                break
            # The same ways are tried whether or not some of them were taken over.
            spent = time.monotonic() - began + making.stages.saved_seconds - saved
            if spent > MAX_SEARCH_SECONDS and any(other.fair for other in trials):
                making.progress.log("info", "The search ends here, to bound its time.")
                break
        if not trials:
            raise UnsupportedError(
                f"There is nothing here that {making.precision} would change.",
                code="nothing_to_quantize",
                fix="Keep the model as it is.",
            )
        return trials

    def _attempt(self, trial: Trial, number: int) -> None:
        """Make a variant and compare it, or take over both."""
        making = self._making
        key = self._key(trial)
        kept = making.stages.take(key, f"quantize: {trial.name}")
        try:
            if kept is not None:
                self._take_over(trial, kept)
            else:
                self._make(trial, min(85, 15 + 10 * number), key)
        except EngineError as error:
            if error.code == "resource_limit":
                raise
            trial.failure = error
        except QUANTIZER_FAILURES as error:
            trial.failure = UnsupportedError(
                f"The quantizer cannot take this graph ({type(error).__name__}: {first_line(error)}).",
                code="unsupported_operator",
                fix="Choose another precision.",
            )
        if trial.failure is not None or trial.parity is None:
            making.progress.log("warning", f"{trial.name}: {trial.failure.message if trial.failure else 'not made'}")
            return
        trial.fault = find_fault(trial.parity, making.bar, accuracy_budget=making.options.accuracy_budget)
        making.progress.log("info", f"{trial.name}: {in_words(trial.parity)}")

    def _make(self, trial: Trial, percent: int, key: str) -> None:
        making = self._making
        passes, steps, cautions = len(making.passes), len(making.steps), len(making.cautions)
        making.progress.stage("quantize", percent, trial.name)
        began = time.monotonic()
        trial.make(trial.path)
        trial.seconds = time.monotonic() - began
        trial.size_bytes = size_of(trial.path)
        making.note_pass(f"quantize: {trial.name}", began, trial.path)
        making.progress.stage("parity", percent + 5, f"Comparing with the original: {trial.name}")
        compared = time.monotonic()
        trial.parity = self._compare(trial)
        making.note_pass(f"parity: {trial.name}", compared, trial.path)
        value = {
            "seconds": trial.seconds,
            "size_bytes": trial.size_bytes,
            "parity": parity_to_json(trial.parity),
            "passes": making.passes[passes:],
            "steps": making.steps[steps:],
            "cautions": [asdict(caution) for caution in making.cautions[cautions:]],
        }
        if data_of(trial.path).exists():
            return  # made again rather than kept: it is larger than a file can be
        making.stages.keep(
            key,
            value=value,
            seconds=time.monotonic() - began,
            files={VARIANT: trial.path},
            scope=f"{self._target}/{making.precision}",
        )

    def _take_over(self, trial: Trial, kept: Stage) -> None:
        """Bring everything to where making it would have brought it."""
        making, value = self._making, kept.value
        move(kept.files / VARIANT, trial.path)
        trial.seconds, trial.size_bytes = value["seconds"], value["size_bytes"]
        trial.parity = parity_from_json(value["parity"])
        making.note_reused(value["passes"])
        making.steps += value["steps"]
        making.cautions += [Caution(**caution) for caution in value["cautions"]]

    def _key(self, trial: Trial) -> str:
        options: Mapping[str, Any] = asdict(self._making.options)
        return self._making.stages.key(
            "variant",
            source=self._entry.key,
            asked=self._asked.key,
            target=self._target,
            precision=self._making.precision,
            way=[trial.path.name, trial.name, dict(trial.settings)],
            options={name: value for name, value in options.items() if name not in JUDGED_LATER},
        )

    def _compare(self, trial: Trial) -> Parity:
        if self._target not in RUNTIMES:
            return unchecked(_NOT_CHECKED)
        return compare_variant(self._asked.reference, open_model(trial.path, self._target, threads=0))

    def _good(self, trial: Trial) -> bool:
        """Whether the search may end with this one."""
        parity = trial.parity
        if parity is None or not trial.fair:
            return False
        precision = self._making.precision
        enough = GOOD_DB.get(precision, WARNING_DB.get(precision, 20.0))
        drop = parity.metric.drop if parity.metric else 0.0
        return (parity.sqnr_db is None or parity.sqnr_db >= enough) and drop <= DROP_STEP
