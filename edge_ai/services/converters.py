"""Which converters and runtimes are installed, told from the packages' own descriptions. None of them is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from edge_ai.engine.routes import EDGES, LANES, TOOLS


@dataclass(frozen=True, kw_only=True)
class Converter:
    """A converter or runtime of the engine.

    Parameters
    ----------
    version
        Of its first package; ``None`` where that is not installed.
    missing
        Its packages that are not installed.
    does
        What it is used for.
    routes
        The ways that need it, such as ``onnx → tflite``; the runtimes of a target stand as ``tflite``.
    """

    name: str
    version: str | None
    missing: tuple[str, ...]
    does: str
    routes: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether all of it is installed."""
        return not self.missing


@cache
def installed_version(package: str) -> str | None:
    """Return the version of a package; ``None`` where it is not installed. What is installed stays while a process runs."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def converters() -> tuple[Converter, ...]:
    """Return every converter and runtime, in the order in which the engine lists them."""
    return tuple(
        Converter(
            name=tool.name,
            version=installed_version(tool.distributions[0]),
            missing=tuple(package for package in tool.distributions if installed_version(package) is None),
            does=tool.does,
            routes=_routes(tool.name),
        )
        for tool in TOOLS.values()
    )


def missing_tools() -> frozenset[str]:
    """Return the names of the tools that are not installed here; workers are installed as the web processes are."""
    return frozenset(converter.name for converter in converters() if not converter.ready)


def _routes(tool: str) -> tuple[str, ...]:
    conversions = [f"{edge.source} → {edge.target}" for edge in EDGES if edge.tool == tool]
    made = [
        str(lane.target) if start is lane.target else f"{start} → {lane.target}"
        for lane in LANES.values()
        for start, tools in lane.tools.items()
        if tool in tools
    ]
    return tuple(dict.fromkeys(conversions + made))
