"""What all processes of one benchmark share, and how they are started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.measure.child import run_task
from edge_ai.engine.measure.inputs import Prepared
from edge_ai.engine.progress import Progress
from edge_ai.engine.spec import BenchmarkSpec

INPUTS_FILE: Final = "inputs.npz"

LOAD_SECONDS: Final = 300.0
"""How long importing the runtime and loading the model may take."""

INFERENCE_SECONDS: Final = 20.0
"""How long one inference may take whatever the budget is."""

_INFERENCE_BUDGETS: Final = 5.0
"""How many times the whole budget one inference may take, where that is more."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A benchmark with its inputs made; ``model`` is what the runtime opens, relative to ``workdir``.

    ``hashes`` are those of the data set's samples, where somebody asks which of them the model was calibrated on.
    """

    spec: BenchmarkSpec
    model: str
    workdir: Path
    threads: int
    processors: int
    prepared: Prepared
    hashes: tuple[str, ...] | None = None

    def task(self, name: str, **fields: object) -> dict[str, object]:
        """Return the task for a runner."""
        return {
            "task": name,
            "model_path": self.model,
            "format": str(self.spec.format),
            "threads": self.threads,
            "cpus": list(self.spec.cpus) if self.spec.cpus else None,
            "inputs_path": INPUTS_FILE,
            "input_names": list(self.prepared.names),
            "feed_count": self.prepared.count,
            "input": self.prepared.kind,
        } | fields

    def run(self, task: Mapping[str, Any], on_tick: Callable[[str, float], None], *, seconds: float) -> dict[str, Any]:
        """Have a fresh process do a task that runs inferences for about so many seconds, with some allowance.

        A model whose inferences never end is stopped in time: a phase may outlast the task's seconds by one inference that
        takes five times the budget, or `INFERENCE_SECONDS` where that is more.
        """
        one = max(INFERENCE_SECONDS, _INFERENCE_BUDGETS * self.spec.max_seconds)
        if self.spec.warmup is not None:
            # So many runs were asked for, however long they take.
            one = max(one, LOAD_SECONDS)
        loading = {"start": LOAD_SECONDS, "load": LOAD_SECONDS, "reload": LOAD_SECONDS}
        return run_task(
            task,
            workdir=self.workdir,
            timeout_s=seconds + one + 2 * LOAD_SECONDS,
            phase_s=lambda phase: loading.get(phase, seconds + one),
            on_tick=on_tick,
        )


def at_stage(progress: Progress, stage: str, percent: float, message: str) -> Callable[[str, float], None]:
    """Return a tick that reports a short part of the work, which has no progress of its own."""
    tell = changes_only(progress)
    return lambda phase, seconds: tell(stage, round(percent), message)


def changes_only(progress: Progress) -> Callable[[str, int, str], None]:
    """Return a way to report that passes on only what is new."""
    last: list[tuple[str, int, str]] = []

    def tell(stage: str, percent: int, message: str) -> None:
        if [(stage, percent, message)] != last:
            last[:] = [(stage, percent, message)]
            progress.stage(stage, percent, message)

    return tell
