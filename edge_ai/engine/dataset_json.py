"""Reading the small JSON files of a data set, strictly: every field known, every value within bounds. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from edge_ai.engine import shallow
from edge_ai.engine.errors import UserInputError

MAX_JSON_BYTES = 1 << 20
MAX_LIST = 100_000


class Fields:
    """The fields of one JSON object, taken one by one; what is left at the end is refused.

    Parameters
    ----------
    file
        Its name, for refusals.
    code
        Of refusals.
    """

    def __init__(self, given: Mapping[str, Any], *, file: str, code: str) -> None:
        self._given = dict(given)
        self._file = file
        self._code = code

    @classmethod
    def read(cls, text: bytes | str, *, file: str, code: str) -> Fields:
        """Read an object.

        Raises
        ------
        UserInputError
            ``code``.
        """
        empty = cls({}, file=file, code=code)
        if len(text) > MAX_JSON_BYTES:
            raise empty.refuse(f"is longer than {MAX_JSON_BYTES:,} bytes")
        try:
            given = shallow.loads(text, parse_constant=_no_constant)
        except ValueError as error:
            raise empty.refuse(f"is not JSON ({str(error)[:120]})") from None
        if not isinstance(given, dict):
            raise empty.refuse("does not hold one JSON object")
        return cls(given, file=file, code=code)

    def refuse(self, what: str) -> UserInputError:
        """Return the refusal of the file; ``what`` goes on after its name."""
        return UserInputError(
            f"{self._file} {what}.",
            code=self._code,
            fix=f"Mend {self._file}; docs/datasets.md tells every field with its bounds.",
            field="file",
        )

    def take(self, name: str) -> Any:
        """Return a field as it is, ``None`` where it is not given."""
        return self._given.pop(name, None)

    def text(self, name: str, *, most: int = 200) -> str | None:
        """Return a text of 1 to ``most`` characters."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            raise self.refuse(f"has {_shown(value)} for “{name}”, which must be a text of 1 to {most} characters")
        return value

    def choice(self, name: str, choices: Collection[str], default: str | None) -> str:
        """Return one of some words."""
        value = self.take(name)
        value = default if value is None else value
        if not isinstance(value, str) or value not in choices:
            raise self.refuse(f"has {_shown(value)} for “{name}”, which must be one of {', '.join(choices)}")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false; false where it is not given."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(f"has {_shown(value)} for “{name}”, which must be true or false")
        return bool(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number within bounds."""
        value = self.take(name)
        if value is not None and (type(value) is not int or not low <= value <= high):
            raise self.refuse(
                f"has {_shown(value)} for “{name}”, which must be a whole number from {low:,} to {high:,}"
            )
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a number within bounds."""
        value = self.take(name)
        return None if value is None else self._number(name, value, low, high)

    def numbers(self, name: str, low: float, high: float, *, most: int) -> tuple[float, ...] | None:
        """Return numbers within bounds; one alone need not be in a list."""
        value = self.take(name)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        if not 1 <= len(items) <= most:
            raise self.refuse(f"has {len(items)} numbers for “{name}”; 1 to {most} are read")
        return tuple(self._number(name, item, low, high) for item in items)

    def texts(self, name: str, *, most: int = MAX_LIST) -> tuple[str, ...] | None:
        """Return a list of texts."""
        value = self.take(name)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or not 1 <= len(value) <= most
            or not all(isinstance(item, str) for item in value)
        ):
            raise self.refuse(f"must have a list of 1 to {most:,} texts for “{name}”")
        return tuple(value)

    def whole_numbers(self, name: str) -> tuple[int, ...] | None:
        """Return a list of whole numbers, none of them twice."""
        value = self.take(name)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or not 1 <= len(value) <= MAX_LIST
            or any(type(item) is not int for item in value)
        ):
            raise self.refuse(f"must have a list of whole numbers for “{name}”")
        if len(set(value)) != len(value):
            raise self.refuse(f"has a number twice in “{name}”")
        return tuple(value)

    def done(self, known: Sequence[str]) -> None:
        """Refuse what nobody took.

        Parameters
        ----------
        known
            What may be given, for the refusal.
        """
        if self._given:
            left = ", ".join(f"“{name[:60]}”" for name in list(self._given)[:5])
            raise self.refuse(f"has {left}, which means nothing here; known are {', '.join(known)}")

    def _number(self, name: str, value: object, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.refuse(f"has {_shown(value)} for “{name}”, which must be a number from {low:g} to {high:g}")
        return float(value)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1 << 64:
        return "an endless number"
    if isinstance(value, float) and not math.isfinite(value):
        return "an endless number"
    return "nothing" if value is None else repr(value)[:60]
