"""Time by operator, from the profile that onnxruntime writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, TypedDict

MAX_OPERATORS: Final = 400
_KERNEL_SUFFIX: Final = "_kernel_time"

Node = tuple[str, str, str]
"""Name, type and index: names may be empty or repeated, and the indexes of a subgraph start at zero again."""


class OperatorTime(TypedDict):
    """One operator of the optimized graph.

    ``count`` is how often it ran and ``total_ms`` how long in all, over every profiled run; time spent in an operator's
    subgraph belongs to the operators in there. ``median_ms`` is the median of its runs, which a disturbance of one of them
    leaves as it is. ``share`` is its part of the sum over all operators. ``dtype`` is the type of
    its first output, ``reads`` that of its first input and ``provider`` what of the runtime computed it; ``None`` where the
    runtime does not tell.
    """

    name: str
    type: str
    count: int
    total_ms: float
    median_ms: float | None
    share: float
    dtype: str | None
    reads: str | None
    provider: str | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a runtime tells of an operator besides its time."""

    dtype: str | None = None
    reads: str | None = None
    provider: str | None = None


_NOTHING: Final = Told()
#: What onnxruntime's profile calls the types that have another name here.
_DTYPES: Final[Mapping[str, str]] = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, kw_only=True)
class _Event:
    name: str
    type: str
    node_index: str
    thread: int
    start_us: int
    duration_us: int
    told: Told


def read_profile(path: Path, *, skip_runs: int = 0) -> list[OperatorTime]:
    """Read a profile and return its operators, the longest first.

    Parameters
    ----------
    path
        The JSON file that onnxruntime wrote.
    skip_runs
        How many of the first runs were warm-up and are left out.

    Returns
    -------
    list of OperatorTime
        At most `MAX_OPERATORS` entries; the shorter operators of a larger graph are added up in the last one.
    """
    return sum_operators(json.loads(path.read_bytes()), skip_runs=skip_runs)


def sum_operators(events: Iterable[Mapping[str, Any]], *, skip_runs: int = 0) -> list[OperatorTime]:
    """Add up the kernel events of a parsed profile by operator; see `read_profile`."""
    events = list(events)
    runs = sorted(int(event["ts"]) for event in events if event.get("name") == "model_run")
    begin_us = runs[skip_runs] if skip_runs < len(runs) else 0
    kernels = [
        _Event(
            name=str(event["name"]).removesuffix(_KERNEL_SUFFIX),
            type=str(event.get("args", {}).get("op_name", "")),
            node_index=str(event.get("args", {}).get("node_index", "")),
            thread=int(event.get("tid", 0)),
            start_us=int(event["ts"]),
            duration_us=int(event["dur"]),
            told=_told(event.get("args", {})),
        )
        for event in events
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL_SUFFIX)
    ]
    runs_us: dict[Node, list[float]] = {}
    told: dict[Node, Told] = {}
    for event, own_us in _own_times(event for event in kernels if event.start_us >= begin_us):
        key = (event.name, event.type, event.node_index)
        runs_us.setdefault(key, []).append(own_us)
        told[key] = event.told
    return share_out(runs_us, told)


def _told(arguments: Mapping[str, Any]) -> Told:
    return Told(
        dtype=_first_type(arguments.get("output_type_shape")),
        reads=_first_type(arguments.get("input_type_shape")),
        provider=str(arguments["provider"]) if arguments.get("provider") else None,
    )


def _first_type(tensors: Any) -> str | None:
    """Return the type of the first tensor of a profile's list, such as ``[{"float": [1, 8]}, …]``."""
    if not isinstance(tensors, list) or not tensors or not isinstance(tensors[0], dict) or not tensors[0]:
        return None
    name = str(next(iter(tensors[0])))
    return _DTYPES.get(name, name)


def _own_times(events: Iterable[_Event]) -> list[tuple[_Event, int]]:
    """Return each event with its duration less that of the events nested within it on the same thread."""
    ordered = sorted(events, key=lambda event: (event.thread, event.start_us, -event.duration_us))
    own_us = [event.duration_us for event in ordered]
    open_events: list[int] = []
    for index, event in enumerate(ordered):
        while open_events and not _encloses(ordered[open_events[-1]], event):
            open_events.pop()
        if open_events:
            own_us[open_events[-1]] -= event.duration_us
        open_events.append(index)
    return [(event, max(0, own)) for event, own in zip(ordered, own_us, strict=True)]


def _encloses(outer: _Event, inner: _Event) -> bool:
    # Times are whole microseconds: an empty event at the edge of its neighbour lies beside it, not within.
    end_us = outer.start_us + outer.duration_us
    inner_end_us = inner.start_us + inner.duration_us
    return outer.thread == inner.thread and outer.start_us <= inner.start_us < end_us and inner_end_us <= end_us


def share_out(runs_us: Mapping[Node, Sequence[float]], told: Mapping[Node, Told]) -> list[OperatorTime]:
    """Return the rows for the times of each operator's runs, in microseconds, and what is told of it; see `read_profile`."""
    totals_us = {node: sum(times) for node, times in runs_us.items()}
    whole_us = sum(totals_us.values()) or 1
    rows = [
        OperatorTime(
            name=node[0] or node[1],
            type=node[1],
            count=len(runs_us[node]),
            total_ms=totals_us[node] / 1e3,
            median_ms=median(runs_us[node]) / 1e3,
            share=totals_us[node] / whole_us,
            dtype=told.get(node, _NOTHING).dtype,
            reads=told.get(node, _NOTHING).reads,
            provider=told.get(node, _NOTHING).provider,
        )
        for node in sorted(totals_us, key=lambda node: -totals_us[node])
    ]
    if len(rows) <= MAX_OPERATORS:
        return rows
    rest = rows[MAX_OPERATORS - 1 :]
    return [
        *rows[: MAX_OPERATORS - 1],
        OperatorTime(
            name=f"{len(rest)} shorter operators",
            type="",
            count=sum(row["count"] for row in rest),
            total_ms=sum(row["total_ms"] for row in rest),
            median_ms=None,
            share=sum(row["share"] for row in rest),
            dtype=None,
            reads=None,
            provider=None,
        ),
    ]
