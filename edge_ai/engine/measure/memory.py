"""Memory of this process, in MB of 10^6 bytes, from /proc."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_BYTES_PER_KB = 1024


def read_used_mb(proc_self: Path = Path("/proc/self")) -> float | None:
    """Return the proportional set size: private pages, and this process' share of the pages it shares with others.

    Where the kernel hides it (a locked-down /proc) the resident set size stands in, which counts shared pages in full.
    """
    pss_kb = _field_kb(proc_self / "smaps_rollup", "Pss:")
    return _megabytes(pss_kb if pss_kb is not None else _field_kb(proc_self / "status", "VmRSS:"))


def read_rise_mb(proc_self: Path = Path("/proc/self")) -> float | None:
    """Return by how much the largest resident set size so far exceeds the present one.

    Added to what is used now, it is the peak in the same measure: what a process holds for a while is its own, while
    the resident set itself counts in full the libraries that it shares with others.
    """
    peak_kb, now_kb = _field_kb(proc_self / "status", "VmHWM:"), _field_kb(proc_self / "status", "VmRSS:")
    return None if peak_kb is None or now_kb is None else _megabytes(max(0, peak_kb - now_kb))


def read_high_water_mb(proc_self: Path = Path("/proc/self")) -> float | None:
    """Return the largest resident set size so far, as the kernel keeps it (VmHWM): with shared libraries in full."""
    return _megabytes(_field_kb(proc_self / "status", "VmHWM:"))


def measure_of_used(proc_self: Path = Path("/proc/self")) -> str:
    """Return which of the two `read_used_mb` tells here: "pss" or "rss"."""
    return "rss" if _field_kb(proc_self / "smaps_rollup", "Pss:") is None else "pss"


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


def peak_of(used_mb: float | None, rise_mb: float | None, *, earlier_mb: Iterable[float | None]) -> float | None:
    """Return the most that was used; ``None`` where it is not known.

    Parameters
    ----------
    used_mb, rise_mb
        What is used now, and how much more it has been; see `read_rise_mb`.
    earlier_mb
        Earlier readings. A proportional set size shrinks by itself when another process maps the same libraries, so one of
        them may be the largest.
    """
    if used_mb is None or rise_mb is None:
        return None
    return max(used_mb + rise_mb, *(reading for reading in earlier_mb if reading is not None), 0.0)
