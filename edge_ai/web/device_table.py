"""Devices side by side: rows of what is known, and which of them differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_ai.models import DeviceProfile
from edge_ai.web.templatetags.studio import memory, quantity

# Field, what it is called, and its unit.
NUMBERS = (
    ("cpu_cores", "CPU cores", ""),
    ("cpu_frequency_mhz", "Highest clock", "MHz"),
    ("memory_mb", "Memory", "MiB"),
    ("memory_bandwidth_gb_s", "Memory bandwidth", "GB/s"),
    ("peak_gflops_fp32", "CPU peak, fp32", "GFLOP/s"),
    ("peak_gflops_fp16", "CPU peak, fp16", "GFLOP/s"),
    ("peak_tops_int8", "CPU peak, int8", "TOP/s"),
    ("tdp_w", "Power", "W"),
)
WORDS = (
    ("cpu_extensions", "Vector extensions"),
    ("runtimes", "Runtimes"),
    ("formats", "Formats"),
    ("precisions", "Precisions"),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is known of one device in one respect; empty where nothing is.

    Parameters
    ----------
    most
        Whether it is the largest of numbers that differ.
    words
        For lists: each word, and whether every device has it.
    """

    text: str = ""
    most: bool = False
    words: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One respect, across the devices."""

    title: str
    cells: tuple[Cell, ...]
    differs: bool


def side_by_side(devices: Sequence[DeviceProfile]) -> list[Row]:
    """Return the table of a comparison."""
    texts: list[tuple[str, Callable[[DeviceProfile], str]]] = [
        ("Kind", lambda device: str(device.get_category_display())),
        ("Maker", lambda device: device.vendor),
        ("Operating system", lambda device: device.os),
        ("Latencies", _latencies),
        ("Processor", lambda device: device.cpu_model),
        ("Architecture", lambda device: device.cpu_architecture),
    ]
    rows = [_row(title, [read(device) for device in devices]) for title, read in texts]
    rows += [_numbers(title, unit, [getattr(device, name) for device in devices]) for name, title, unit in NUMBERS]
    rows.append(_row("Accelerators", ["; ".join(map(_accelerator, device.accelerators)) for device in devices]))
    best = [max((each.get("peak_tops_int8") or 0 for each in device.accelerators), default=0) for device in devices]
    rows.append(_numbers("Fastest accelerator, int8", "TOP/s", [peak or None for peak in best]))
    rows += [_words(title, [getattr(device, name) for device in devices]) for name, title in WORDS]
    return rows


def _latencies(device: DeviceProfile) -> str:
    if device.is_host:
        return "measured here"
    return "estimated" if device.is_estimable else "neither measured nor estimated"


def _accelerator(each: dict[str, Any]) -> str:
    peak = each.get("peak_tops_int8")
    return f"{each['name']} ({each['kind']}" + (f", {quantity(peak)} TOP/s int8)" if peak else ")")


def _row(title: str, texts: Sequence[str]) -> Row:
    return Row(title=title, cells=tuple(Cell(text=text) for text in texts), differs=len(set(texts)) > 1)


def _numbers(title: str, unit: str, values: Sequence[float | None]) -> Row:
    known = [value for value in values if value is not None]
    differs = len(set(values)) > 1
    most = max(known) if len(set(known)) > 1 else None

    def said(value: float | None) -> str:
        if value is None:
            return ""
        return memory(int(value)) if unit == "MiB" else f"{quantity(value)} {unit}".strip()

    cells = tuple(Cell(text=said(value), most=value is not None and value == most) for value in values)
    return Row(title=title, cells=cells, differs=differs)


def _words(title: str, lists: Sequence[Sequence[str]]) -> Row:
    common = set(lists[0]).intersection(*lists[1:])
    cells = tuple(Cell(words=tuple((word, word in common) for word in words)) for words in lists)
    return Row(title=title, cells=cells, differs=len({frozenset(words) for words in lists}) > 1)
