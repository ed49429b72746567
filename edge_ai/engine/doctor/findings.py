"""What the doctor says: findings with evidence, and remedies that can be submitted as they are. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from edge_ai.engine.spec import Format, OptimizationLevel, Precision

MOST_FINDINGS: Final = 8


class Question(StrEnum):
    """What is the matter with a variant, by measurement."""

    SLOWER = "slower"
    WRONG = "wrong"
    BOTH = "both"
    NEITHER = "neither"


class Severity(StrEnum):
    """How much of what is the matter a finding explains."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """An optimization of the baseline that may mend what was found.

    Parameters
    ----------
    calibrated
        It needs a data set; without one it cannot be asked for.
    """

    target_format: Format
    precision: Precision
    level: OptimizationLevel = OptimizationLevel.BALANCED
    options: Mapping[str, Any] = field(default_factory=dict)
    calibrated: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the part of an optimization request that does not name what the studio keeps."""
        return {
            "target_format": self.target_format.value,
            "precision": self.precision.value,
            "optimization_level": self.level.value,
            "options": dict(self.options),
        }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause.

    Parameters
    ----------
    title
        What was found, in a sentence with its figures.
    evidence
        The same for programs, and more of it.
    fix
        What to do, in words.
    weight
        The share of the loss that it explains, about, from 0 to 1.
    """

    code: str
    title: str
    evidence: Mapping[str, Any]
    fix: str
    weight: float
    remedy: Remedy | None = None

    @property
    def severity(self) -> Severity:
        """By how much it explains."""
        return Severity.HIGH if self.weight >= 0.3 else Severity.MEDIUM if self.weight >= 0.12 else Severity.LOW

    def to_json(self, *, has_dataset: bool, certain: bool = True) -> dict[str, Any]:
        """Return the finding of the API.

        Parameters
        ----------
        certain
            What it explains was measured; otherwise it is of low severity whatever its weight.
        """
        remedy = self.remedy
        possible = remedy is not None and (has_dataset or not remedy.calibrated)
        return {
            "code": self.code,
            "severity": str(self.severity if certain else Severity.LOW),
            "title": self.title,
            "evidence": dict(self.evidence),
            "fix": self.fix,
            "fix_job": remedy.to_json() if remedy is not None and possible else None,
        }


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return the weightiest findings first, each code once."""
    kept: dict[str, Finding] = {}
    for one in sorted(findings, key=lambda finding: -finding.weight):
        kept.setdefault(one.code, one)
    return list(kept.values())[:MOST_FINDINGS]
