"""What was fitted on machines that were measured: efficiencies, dispatch costs, and how far estimates were off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.estimate.work import OperatorClass

FIT_FILE: Final = Path(__file__).with_name("fit.json")
#: Whose coefficients stand for those of a class that too few measured models have.
STAND_INS: Final[Mapping[OperatorClass, OperatorClass]] = {
    OperatorClass.DEPTHWISE: OperatorClass.CONVOLUTION,
    OperatorClass.RECURRENT: OperatorClass.MATRIX,
    OperatorClass.INT8_CONVOLUTION: OperatorClass.CONVOLUTION,
    OperatorClass.INT8_DEPTHWISE: OperatorClass.DEPTHWISE,
    OperatorClass.INT8_NARROW: OperatorClass.INT8_CONVOLUTION,
    OperatorClass.INT8_MATRIX: OperatorClass.MATRIX,
    OperatorClass.QUANTIZE: OperatorClass.ELEMENTWISE,
    OperatorClass.MATH: OperatorClass.ELEMENTWISE,
    OperatorClass.REDUCTION: OperatorClass.ELEMENTWISE,
    OperatorClass.MOVEMENT: OperatorClass.ELEMENTWISE,
    OperatorClass.VIEW: OperatorClass.MOVEMENT,
    OperatorClass.OTHER: OperatorClass.ELEMENTWISE,
}


@dataclass(frozen=True, kw_only=True)
class ClassCoefficients:
    """Of one class of operators.

    Parameters
    ----------
    compute_efficiency
        Which part of the peak is reached; ``None`` where computing never decides.
    bandwidth_factor
        How many times the memory's bandwidth is reached, above 1 where caches serve; ``None`` where it never decides.
    dispatch_us
        What a call costs however little it does, in microseconds at the clock of the measured machine.
    """

    compute_efficiency: float | None
    bandwidth_factor: float | None
    dispatch_us: float


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Of all classes, and of the whole run.

    Parameters
    ----------
    run_us, call_us
        What an inference costs besides its operators, and between one operator and the next, in microseconds.
    parallel
        The share of the operators' work that further threads share (Amdahl).
    """

    classes: Mapping[OperatorClass, ClassCoefficients]
    run_us: float
    call_us: float
    parallel: float

    def of(self, kind: OperatorClass) -> ClassCoefficients:
        """Return the coefficients of a class, or of the one that stands for it."""
        while kind not in self.classes:
            kind = STAND_INS[kind]
        return self.classes[kind]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "classes": {
                str(kind): {
                    "compute_efficiency": item.compute_efficiency,
                    "bandwidth_factor": item.bandwidth_factor,
                    "dispatch_us": item.dispatch_us,
                }
                for kind, item in sorted(self.classes.items())
            },
            "run_us": self.run_us,
            "call_us": self.call_us,
            "parallel": self.parallel,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Coefficients:
        """Return what a JSON object describes."""
        return cls(
            classes={OperatorClass(name): ClassCoefficients(**item) for name, item in data["classes"].items()},
            run_us=float(data["run_us"]),
            call_us=float(data["call_us"]),
            parallel=float(data["parallel"]),
        )


@dataclass(frozen=True, kw_only=True)
class Band:
    """Between which factors of an estimate the share ``level`` of measured values lay, for models that were left out."""

    level: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MemoryCoefficients:
    """Bytes that a loaded model takes: ``base_bytes`` and ``factor`` times its weights and activations."""

    base_bytes: float
    factor: float
    band: Band


@dataclass(frozen=True, kw_only=True)
class Fit:
    """All of it, and what it rests on.

    Parameters
    ----------
    machine
        The measured machine's numbers, with their sources.
    models
        The networks that were measured, by name.
    validation
        How estimates of networks that were left out of the fit compare with what was measured.
    """

    coefficients: Coefficients
    band: Band
    memory: MemoryCoefficients
    machine: Mapping[str, Any]
    libraries: Mapping[str, str]
    models: tuple[str, ...]
    measured_at: str
    validation: Mapping[str, Any]

    @property
    def clock_mhz(self) -> float:
        """The clock at which dispatch was measured."""
        return float(self.machine["cpu_frequency_mhz"])


@cache
def load_fit(path: Path = FIT_FILE) -> Fit:
    """Return the fit that comes with the studio."""
    data = json.loads(path.read_text(encoding="utf-8"))
    memory = data["memory"]
    return Fit(
        coefficients=Coefficients.from_json(data["coefficients"]),
        band=Band(**data["band"]),
        memory=MemoryCoefficients(
            base_bytes=memory["base_bytes"], factor=memory["factor"], band=Band(**memory["band"])
        ),
        machine=data["machine"],
        libraries=data["libraries"],
        models=tuple(data["models"]),
        measured_at=data["measured_at"],
        validation=data["validation"],
    )
