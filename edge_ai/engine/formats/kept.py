"""Formats that are looked into and kept, but that nothing on this machine runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_ai.engine.errors import UnsupportedError, UserInputError
from edge_ai.engine.formats.base import analysis_of, free_axes, warning
from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format


class KeptFormat(FileFormat, ABC):
    """A format that does not run here; see :class:`~edge_ai.engine.formats.base.ModelFormat`.

    Parameters
    ----------
    reason
        Why it cannot run here, as a sentence.
    fix
        What to do instead.
    """

    def __init__(self, format: Format, file_name: str, *, reason: str, fix: str) -> None:
        self.format = format
        self.file_name = file_name
        self._reason = reason
        self._fix = fix

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the file, with the warning that it is only kept."""
        facts = self.facts(path, workdir)
        notice = warning("stored_only", f"The file is kept, but cannot be run here. {self._reason}", self._fix)
        analysis = analysis_of(**facts)
        analysis["warnings"] = [*analysis["warnings"], notice]
        analysis["dynamic_axes"] = free_axes(analysis["inputs"])
        return analysis

    @abstractmethod
    def facts(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Return what the file tells, by the fields of an analysis."""

    def load(self, unpacked: Path, *, threads: int, optimize: bool = True) -> Session:
        """Refuse.

        Raises
        ------
        UnsupportedError
            ``unsupported_conversion`` with the reason.
        """
        raise UnsupportedError(
            f"A model in the {self.format} format cannot be run on this machine. {self._reason}",
            code="unsupported_conversion",
            fix=self._fix,
            details={"nearest": {"format": Format.ONNX.value}},
        )


def weight_facts(sizes: Mapping[str, int], parameters: int) -> dict[str, Any]:
    """Return the fields of an analysis that tell of weights; ``sizes`` are bytes by type."""
    ordered = Counter(dict(sizes)).most_common()
    return {
        "parameter_count": parameters,
        "weight_bytes": sum(sizes.values()),
        "weight_bytes_by_dtype": dict(ordered),
    }


def damaged(what: str, reason: str, fix: str) -> UserInputError:
    """Return the refusal of a file that cannot be read."""
    return UserInputError(f"The {what} cannot be read: {reason}.", code="model_unreadable", fix=fix, field="file")
