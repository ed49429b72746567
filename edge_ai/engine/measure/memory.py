"""Memory of this process, in MB of 10^6 bytes, from /proc."""

from __future__ import annotations

from pathlib import Path

_BYTES_PER_KB = 1024


def read_used_mb(proc_self: Path = Path("/proc/self")) -> float | None:
    """Return the proportional set size: private pages, and this process' share of the pages it shares with others.

    Where the kernel hides it (a locked-down /proc) the resident set size stands in, which counts shared pages in full.
    """
    pss_kb = _field_kb(proc_self / "smaps_rollup", "Pss:")
    return _megabytes(pss_kb if pss_kb is not None else _field_kb(proc_self / "status", "VmRSS:"))


def read_peak_mb(proc_self: Path = Path("/proc/self")) -> float | None:
    """Return the largest resident set size that this process has had."""
    return _megabytes(_field_kb(proc_self / "status", "VmHWM:"))


def _megabytes(kilobytes: int | None) -> float | None:
    return None if kilobytes is None else kilobytes * _BYTES_PER_KB / 1e6


def _field_kb(path: Path, field: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(field):
            return int(line.split()[1])
    return None
