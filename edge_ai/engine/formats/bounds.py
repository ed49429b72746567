"""What an analysis may say at most: names and sizes come from a stranger's file, and are kept and shown by others."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from edge_ai.engine.errors import UserInputError

#: Of an analysis as JSON. Those of the largest honest models take a hundredth of it.
MAX_BYTES: Final = 2 << 20
#: What a column of the database holds, and any program reads from JSON.
MAX_NUMBER: Final = (1 << 63) - 1


def check_bounds(analysis: dict[str, Any]) -> None:
    """Refuse an analysis with numbers that no model has, or with names without end.

    Raises
    ------
    UserInputError
        ``model_unreadable``.
    """
    _check_numbers(analysis)
    if len(json.dumps(analysis)) > MAX_BYTES:
        raise _unreadable("The names of its inputs, outputs and operators take more than 2 MB.")


def _check_numbers(value: Any) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_numbers(item)
    elif (isinstance(value, float) and not math.isfinite(value)) or (
        isinstance(value, int) and not -MAX_NUMBER <= value <= MAX_NUMBER
    ):
        raise _unreadable("It claims sizes that no model has.")


def _unreadable(reason: str) -> UserInputError:
    return UserInputError(
        f"The model makes no sense. {reason}",
        code="model_unreadable",
        fix="Export the model again and upload the whole file.",
        field="file",
    )
