"""What a kind of hostile file is, and the list of all of them. Payloads do no harm: they leave a mark, or tell a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Step = Literal["upload", "analysis", "conversion", "benchmark"]
ACCEPTED: Final = "accepted"


@dataclass(frozen=True, kw_only=True)
class Bait:
    """What there is to be had.

    Parameters
    ----------
    secret
        What must not be told. It is in ``secret_file``, and in the environment of the process that starts the child.
    secret_file
        A file that the child has no business with.
    marker
        A path that a payload would write to.
    folder
        Where the child works.
    """

    secret: str
    secret_file: Path
    marker: Path
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of hostile file.

    Parameters
    ----------
    name
        A word for it.
    tries
        What it would do, in a few words.
    make
        Returns the file, and may put others beside it into the child's folder.
    step
        Where it ends.
    codes
        What it may end in: codes of errors, or "accepted" where it does no harm.
    dataset
        It is a data set.
    request
        What is asked of a child for ``step``, beyond what every request has.
    wall_seconds
        When a child is stopped.
    """

    name: str
    tries: str
    make: Callable[[Bait], bytes]
    step: Step
    codes: tuple[str, ...]
    dataset: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)
    wall_seconds: float = 55.0


KINDS: Final[dict[str, Kind]] = {}


def hostile(
    name: str, tries: str, step: Step, *codes: str, dataset: bool = False, wall_seconds: float = 55.0, **request: Any
) -> Callable[[Callable[[Bait], bytes]], Callable[[Bait], bytes]]:
    """Enter a function into the list."""

    def enter(make: Callable[[Bait], bytes]) -> Callable[[Bait], bytes]:
        if name in KINDS:
            raise ValueError(name)
        KINDS[name] = Kind(
            name=name,
            tries=tries,
            make=make,
            step=step,
            codes=codes,
            dataset=dataset,
            request=request,
            wall_seconds=wall_seconds,
        )
        return make

    return enter
