"""What differs between the environments of two measurements, and so what a comparison of them must be told with.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Environment = Mapping[str, Any]

_CONDITIONS: Final = (
    ("cpu_model", "processor"),
    ("cpu_flags", "vector instructions"),
    ("cores", "number of processors"),
    ("cpus", "processors used"),
    ("pinned", "pinning"),
    ("governor", "frequency governor"),
    ("memory_mb", "memory"),
    ("kernel", "kernel"),
    ("machine", "architecture"),
    ("container", "container"),
    ("sandbox_level", "sandbox level"),
    ("python", "Python"),
    ("runtime", "runtime"),
    ("provider", "provider"),
    ("threads", "threads"),
    ("batch_size", "batch size"),
    ("input", "input"),
    ("input_samples", "number of inputs"),
    ("seed", "seed of the input"),
    ("studio_version", "version of the studio"),
    ("studio_commit", "commit of the studio"),
)
_MEMORY_WITHIN: Final = 0.02
"""A kernel reserves a little more or less of the same memory."""


def environment_differences(a: Environment, b: Environment) -> list[dict[str, object]]:
    """Return what differs between the environments of two results.

    A fact that one of them does not have, as results of earlier versions of the studio, is no difference; one that is
    known to be hidden (null) in one and told in the other is.

    Parameters
    ----------
    a, b
        The ``environment`` of each result; *a* is the earlier one, the baseline.

    Returns
    -------
    list
        In a fixed order, each ``{"field", "a", "b", "detail"}``; ``field`` is "libraries.NAME" for a library's version, and
        ``detail`` says it in words. Empty when they are alike.
    """
    found = [
        _difference(name, words, a[name], b[name])
        for name, words in _CONDITIONS
        if name in a and name in b and not _alike(name, a[name], b[name])
    ]
    libraries_a, libraries_b = _versions(a), _versions(b)
    found += [
        _difference(f"libraries.{name}", name, libraries_a[name], libraries_b[name])
        for name in sorted(libraries_a.keys() & libraries_b.keys())
        if libraries_a[name] != libraries_b[name]
    ]
    return found


def _alike(name: str, a: Any, b: Any) -> bool:
    if name == "memory_mb" and isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= _MEMORY_WITHIN * max(a, b)
    if name == "cpu_flags":
        return set(a or ()) == set(b or ())
    return bool(a == b)


def _versions(environment: Environment) -> dict[str, str]:
    """Return the versions of the libraries; results of earlier versions of the studio name the runtime's alone."""
    found = {str(name): str(version) for name, version in (environment.get("libraries") or {}).items()}
    runtime = environment.get("runtime")
    if isinstance(runtime, str) and environment.get(runtime):
        found.setdefault({"litert": "ai-edge-litert"}.get(runtime, runtime), str(environment[runtime]))
    return found


def _difference(field: str, words: str, a: Any, b: Any) -> dict[str, object]:
    tell = _TELLS.get(field, _told)
    if field == "cpu_flags":
        only_a, only_b = sorted(set(a or ()) - set(b or ())), sorted(set(b or ()) - set(a or ()))
        detail = "; ".join(
            f"{words} only {where}: {', '.join(only)}"
            for where, only in (("in the baseline", only_a), ("in this run", only_b))
            if only
        )
    else:
        detail = f"{words}: {tell(a)} in the baseline, {tell(b)} in this run"
    return {"field": field, "a": a, "b": b, "detail": detail}


def _told(value: Any) -> str:
    if value is None:
        return "none known"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)


_TELLS: Final[Mapping[str, Callable[[Any], str]]] = {
    "pinned": lambda value: "pinned" if value else "not pinned",
    "memory_mb": lambda value: f"{_told(value)} MB",
    "studio_commit": lambda value: _told(value)[:12],
}
