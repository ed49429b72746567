"""Which libraries are installed, without loading them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

_VERSION: Final = "Version:"


@cache
def version_of(name: str) -> str:
    """Return the version of an installed distribution.

    ``importlib.metadata.version`` parses all of what a distribution says of itself, which for the engine's fifty takes as
    long as quantizing a small network; here the one line is looked for.

    Raises
    ------
    PackageNotFoundError
        It is not installed.
    """
    found = distribution(name)
    for line in (found.read_text("METADATA") or "").splitlines():
        if line.startswith(_VERSION):
            return line.removeprefix(_VERSION).strip()
        if not line:
            break
    return found.version


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed, by name in the order given."""
    found = {}
    for name in names:
        try:
            found[name] = version_of(name)
        # ValueError for what can be no name at all.
        except (PackageNotFoundError, ValueError):
            continue
    return found
