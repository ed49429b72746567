"""Numbers, times and ratios in words, the same on every page. Pure functions.

Sizes are in MB of 10^6 bytes, latencies in ms, both with three significant digits; what is not known is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

UNKNOWN = "–"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# Two sizes closer than this are called the same, and two medians: runs one after the other differ by this much by chance.
SAME_SIZE_WITHIN, SAME_LATENCY_WITHIN = 0.005, 0.05
# What an analysis finds, in the words that a variant is asked for with.
PRECISIONS = {"qdq-int8": "int8", "dynamic-int8": "int8 dynamic", "int8_dynamic": "int8 dynamic"}
METRICS = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "miou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "cer": "character error rate",
    "wer": "word error rate",
    "exact": "texts without an error",
    "map": "mAP, IoU 0.50 to 0.95",
    "map50": "mAP at IoU 0.50",
}
# In the units of the labels; and areas, which nobody tells in percent.
NUMBERS, AREAS = frozenset({"mae", "rmse"}), frozenset({"roc_auc"})
LOWER_IS_BETTER = frozenset({"mae", "rmse", "cer", "wer"})
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, grouped by thousands and never with an exponent."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    # Rounding may have added a digit: 9.996 is 10.0.
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}"


def quantity(value: float | None) -> str:
    """Return a published number as it is: up to four significant digits, and none that say nothing."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def megabytes(size_bytes: float | None) -> str:
    """Return a size in MB of 10^6 bytes; under 1,000 bytes, where MB would be all zeros, in bytes."""
    if size_bytes is None:
        return UNKNOWN
    return f"{size_bytes:.0f} bytes" if size_bytes < 1000 else f"{significant(size_bytes / 1e6)} MB"


def memory(memory_mb: int | None) -> str:
    """Return a device's memory, given in units of 1024 × 1024 bytes."""
    if memory_mb is None:
        return UNKNOWN
    return f"{memory_mb:,} MiB" if memory_mb < 1024 else f"{quantity(round(memory_mb / 1024, 1))} GiB"


def exact_bytes(size_bytes: float | None) -> str:
    """Return the size to the byte."""
    return "not known" if size_bytes is None else f"{size_bytes:,.0f} bytes"


def latency(latency_ms: float | None) -> str:
    """Return a latency in ms."""
    return UNKNOWN if latency_ms is None else f"{significant(latency_ms)} ms"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a fraction of 1 in percent; what is not wholly 100 % is never rounded up to it, nor down to 0 %."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    step = 10.0**-digits
    value = round(100 * share, digits)
    if share < 1 and value >= 100:
        value = 100 - step
    if share > 0 and value <= 0:
        return f"< {step:g} %"
    return f"{value:.{digits}f} %"


def count(number: float | None) -> str:
    """Return a large count with a prefix: 1.23 M; up to 9,999 it is exact."""
    if number is None:
        return UNKNOWN
    for size, prefix in _PREFIXES:
        if abs(number) >= size and abs(number) >= 10_000:
            return f"{significant(number / size)} {prefix}"
    return f"{number:,.0f}"


def ratio(before: float | None, after: float | None, *, less: str, more: str, same: str, same_within: float) -> str:
    """Return by how much ``after`` differs from ``before``: ``2.90× smaller``.

    Parameters
    ----------
    less, more, same
        The word for less than before (*smaller*, *faster*), for more (*larger*, *slower*) and for neither.
    same_within
        Up to which relative difference it is neither.
    """
    if not before or not after or before <= 0 or after <= 0:
        return UNKNOWN
    factor = before / after
    if abs(factor - 1) < same_within:
        return same
    return f"{significant(factor)}× {less}" if factor > 1 else f"{significant(1 / factor)}× {more}"


def size_ratio(before: float | None, after: float | None) -> str:
    """Return ``2.90× smaller``, ``1.10× larger`` or ``same size``."""
    return ratio(before, after, less="smaller", more="larger", same="same size", same_within=SAME_SIZE_WITHIN)


def speed_ratio(before: float | None, after: float | None) -> str:
    """Return ``1.50× faster``, ``1.20× slower`` or ``about the same``, of two latencies."""
    return ratio(before, after, less="faster", more="slower", same="about the same", same_within=SAME_LATENCY_WITHIN)


def metric(name: str | None) -> str:
    """Return what a figure of accuracy is called: ``top-1 accuracy``."""
    return METRICS.get(name, name) if name else UNKNOWN


def metric_value(value: float | None, name: str, digits: int = 2) -> str:
    """Return a figure of accuracy as one writes it: most in percent, errors of numbers in the units of the labels."""
    if name in NUMBERS:
        return significant(value, 4)
    if name in AREAS:
        return UNKNOWN if value is None else f"{value:.4f}"
    return percent(value, digits)


def precision(name: str | None) -> str:
    """Return how a model's numbers are kept."""
    return PRECISIONS.get(name, name) if name else UNKNOWN


def short_hash(digest: str) -> str:
    """Return the beginning of a hash, enough to tell two apart by eye."""
    return digest[:12]


def exact_time(moment: datetime) -> str:
    """Return a moment to the second, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def relative_time(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, or how far ahead it is; past a month, its date."""
    seconds = (now - moment).total_seconds()
    ahead, seconds = seconds < 0, abs(seconds)
    if seconds < 10:
        return "now" if ahead else "just now"
    if seconds >= 30 * DAY_S:
        return f"{moment.astimezone(UTC):%-d %b %Y}"
    # What ends in seven days, less the second that the answer took, ends in seven days.
    near = round if ahead else int
    if seconds < MINUTE_S:
        text = f"{seconds:.0f} s"
    elif seconds < HOUR_S:
        text = f"{near(seconds / MINUTE_S)} min"
    elif seconds < DAY_S:
        text = f"{near(seconds / HOUR_S)} h"
    else:
        days = near(seconds / DAY_S)
        text = f"{days} day{'' if days == 1 else 's'}"
    return f"in {text}" if ahead else f"{text} ago"


def duration(seconds: float | None) -> str:
    """Return a stretch of time: 0.42 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{significant(max(0.0, seconds), 2)} s"
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"


def shape(axes: Sequence[object] | None) -> str:
    """Return a tensor's shape: ``batch × 1 × 8 × 8``."""
    if axes is None:
        return "any shape"
    return " × ".join("?" if axis is None else str(axis) for axis in axes) or "scalar"


def quantization(scale_and_zero: Mapping[str, object]) -> str:
    """Return what the integers of a tensor stand for: ``scale 0.0078, zero point 128``."""
    scale, zero = scale_and_zero.get("scale"), scale_and_zero.get("zero_point")
    if isinstance(scale, (list, tuple)):
        return (
            f"{len(scale)} scales, one a channel"
            if len(scale) > 1
            else quantization({"scale": scale[0], "zero_point": zero})
        )
    if not isinstance(scale, (int, float)):
        return "quantized"
    if isinstance(zero, (list, tuple)):
        zero = zero[0] if zero else None
    return f"scale {scale:.4g}" + (f", zero point {zero}" if isinstance(zero, int) else "")
