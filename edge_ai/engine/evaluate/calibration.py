"""Whether calibration data is fit for its purpose: what it covers, what stands out, and what it shares with the judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.accuracy import class_labels
from edge_ai.engine.evaluate.dataset import ENOUGH_SAMPLES, Dataset, Division
from edge_ai.engine.evaluate.made_up import looks_made_up

FEW: Final = 32
MOST_VALUES: Final = 1 << 20
"""Of an input, how many values are looked at for its percentiles, evenly spread."""

SHOWN: Final = 10
SHOWN_CLASSES: Final = 100
OUTLIER_Z: Final = 6.0
"""Robust: in units of 1.4826 times the median absolute deviation."""

LEAST_UNIT: Final = 0.1
"""Of the median, and of the usual spread: what is hardly different is no outlier, however alike all others are."""

FEWEST_FOR_OUTLIERS: Final = 10
WIDENING: Final = 0.05
"""A range that the second half of the samples still widened by more is not settled."""

COVERED: Final = 0.999
SATURATED: Final = 0.02
FEW_LEVELS, LOOKED_AT = 1024, 1 << 16
ONE_SIDED: Final = 10.0
RANGE_USE: Final = 0.25

Array = npt.NDArray[Any]


def calibration_report(division: Division, hashes: Sequence[str]) -> dict[str, Any]:
    """Describe the samples that a model is calibrated on.

    Parameters
    ----------
    division
        Which samples calibrate and which judge.
    hashes
        Of each sample of the whole data set.

    Returns
    -------
    dict
        The ``calibration`` of an optimization's result: ``samples``, ``judged_samples``, ``inputs`` (of each: ``range``,
        ``typical``, ``coverage``, ``saturation``, ``widened``), ``outliers``, ``duplicates``, ``constant``, ``classes``,
        ``overlap``, ``advice``, ``warnings`` and ``sample_hashes``.
    """
    used, judged = division.calibration, division.judgement
    mine = [hashes[place] for place in division.calibration_places]
    theirs = [hashes[place] for place in division.judgement_places]
    warnings: list[dict[str, str]] = []
    inputs = [_input(name, used.inputs[name], judged.inputs[name], warnings) for name in used.inputs]
    outliers = _outliers(used, division.calibration_places)
    repeated = Counter(mine)
    duplicates = len(mine) - len(repeated)
    overlap = sum(mark in repeated for mark in theirs)
    constant = _constant(used)
    classes = _classes(used.labels)
    _tell_samples(warnings, used.samples, duplicates, constant, outliers)
    _tell_classes(warnings, classes)
    if overlap:
        same = "the same samples" if division.overlap else "copies of them"
        warnings.append(
            _warning(
                "calibration_overlap",
                f"{overlap} of {judged.samples} samples that the variant is judged on calibrated it as well: {same}.",
                "Keep a part of the data for judging alone; 200 samples or more are divided without overlap.",
            )
        )
    return {
        "samples": used.samples,
        "judged_samples": judged.samples,
        "inputs": inputs,
        "outliers": outliers,
        "duplicates": duplicates,
        "constant": constant,
        "classes": classes,
        "overlap": overlap,
        "advice": _advice(used.samples, inputs),
        "warnings": warnings,
        "sample_hashes": sorted(repeated),
    }


def _input(name: str, array: Array, judged: Array, warnings: list[dict[str, str]]) -> dict[str, Any]:
    """Describe one input; adds to the warnings."""
    if array.dtype.kind not in "fiub" or not array.size:
        return {"name": name, "dtype": str(array.dtype), "range": None}
    low, high = float(array.min()), float(array.max())
    values = _thinned(array)
    first, last = (float(value) for value in np.percentile(values, [0.5, 99.5]))
    span = high - low
    half = array[: max(1, len(array) // 2)]
    widened = 1 - (float(half.max()) - float(half.min())) / span if span > 0 else 0.0
    others = _thinned(judged)
    covered = float(((others >= low) & (others <= high)).mean())
    # Of whole numbers, and of data that is 0 in places, the ends are values like any other; both ends count apart.
    ends = [float((values == end).mean()) for end in (low, high)] if span > 0 else [0.0, 0.0]
    saturation = ends[1] + (ends[0] if low != 0 else 0.0)
    typical_share = (last - first) / span if span > 0 else 1.0
    made_up = looks_made_up(array)
    if made_up is not None:
        warnings.append(
            _warning(
                "calibration_synthetic",
                f"The samples for {name!r} look made up: {made_up}.",
                "Calibrate on real samples; ranges of noise fit no real input.",
            )
        )
    if covered < COVERED:
        warnings.append(
            _warning(
                "calibration_coverage",
                f"{100 * (1 - covered):.2g} % of the values of {name!r} in the samples for judging lie outside the range "
                f"that was calibrated, {low:.4g} to {high:.4g}, and are clipped.",
                "Calibrate on more samples, or on more varied ones.",
            )
        )
    # Pixels and the like have few levels, and black and white among them.
    if array.dtype.kind == "f" and saturation > SATURATED and np.unique(values[:LOOKED_AT]).size > FEW_LEVELS:
        warnings.append(
            _warning(
                "calibration_saturated",
                f"{100 * saturation:.2g} % of the values of {name!r} lie exactly at the ends of their range: they were "
                "probably clipped when the samples were made.",
                "Check how the samples are prepared; clipping there hides what the model will see.",
            )
        )
    if array.dtype.kind == "f" and span > 0 and typical_share < RANGE_USE:
        warnings.append(
            _warning(
                "calibration_wide",
                f"All but one in a hundred values of {name!r} use {100 * typical_share:.2g} % of the range: a few extreme "
                "ones take the steps of int8 from all others.",
                "Leave the extreme samples out, or choose the calibration method percentile or entropy.",
            )
        )
    return {
        "name": name,
        "dtype": str(array.dtype),
        "range": [low, high],
        "typical": [first, last],
        "mean": float(values.mean(dtype=np.float64)),
        "std": float(values.std(dtype=np.float64)),
        "coverage": covered,
        "saturation": saturation,
        "widened": max(0.0, widened),
        "synthetic": made_up,
    }


def _outliers(used: Dataset, places: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the samples whose mean, spread or largest value is far from that of the others."""
    worst = np.zeros(used.samples)
    where = [""] * used.samples
    for name, array in used.inputs.items():
        if array.dtype.kind != "f" or used.samples < FEWEST_FOR_OUTLIERS:
            continue
        flat = array.reshape(used.samples, -1)
        features = {
            "mean": flat.mean(axis=1, dtype=np.float64),
            "spread": flat.std(axis=1, dtype=np.float64),
            "largest value": np.abs(flat).max(axis=1).astype(np.float64),
        }
        usual = float(np.median(features["spread"]))
        for what, feature in features.items():
            middle = float(np.median(feature))
            distance = np.abs(feature - middle)
            unit = max(1.4826 * float(np.median(distance)), LEAST_UNIT * abs(middle), LEAST_UNIT * usual)
            if unit <= 1e-12:
                continue
            z = distance / unit
            for place in np.flatnonzero((z > OUTLIER_Z) & (z > worst)):
                worst[place], where[place] = z[place], f"{what} of {name}"
    found = [int(place) for place in np.argsort(-worst, kind="stable") if worst[place] > 0]
    return {
        "count": len(found),
        "worst": [
            {"sample": int(places[place]), "what": where[place], "z": round(float(worst[place]), 1)}
            for place in found[:SHOWN]
        ],
    }


def _constant(used: Dataset) -> int:
    """Return how many samples hold one value only, in every input that has several."""
    blank = np.ones(used.samples, bool)
    looked = False
    for array in used.inputs.values():
        flat = array.reshape(used.samples, -1)
        if array.dtype.kind in "fiub" and flat.shape[1] > 1:
            looked = True
            blank &= flat.min(axis=1) == flat.max(axis=1)
    return int(blank.sum()) if looked else 0


def _classes(labels: Array | None) -> dict[str, Any] | None:
    """Return how many samples each class has; ``None`` where labels are no classes."""
    known = class_labels(labels)
    if known is None or int(known.max()) >= 1 << 20:
        return None
    counts = np.bincount(known)
    there = counts[counts > 0]
    return {
        "count": int(counts.size),
        "missing": int((counts == 0).sum()),
        "fewest": int(there.min()),
        "most": int(there.max()),
        "samples": counts.tolist() if counts.size <= SHOWN_CLASSES else None,
    }


def _tell_samples(
    warnings: list[dict[str, str]], samples: int, duplicates: int, constant: int, outliers: Mapping[str, Any]
) -> None:
    if samples < FEW:
        warnings.append(
            _warning(
                "calibration_few",
                f"{samples} sample{' calibrates' if samples == 1 else 's calibrate'} the variant; ranges measured on so few "
                "may be too narrow.",
                f"Give {ENOUGH_SAMPLES} to 300 representative samples.",
            )
        )
    if duplicates:
        warnings.append(
            _warning(
                "calibration_duplicates",
                f"{duplicates} of {samples} samples are copies of others, and tell nothing new.",
                "Leave the copies out.",
            )
        )
    if constant:
        warnings.append(
            _warning(
                "calibration_constant",
                f"{constant} of {samples} samples hold one value throughout, such as an empty image or silence.",
                "Leave them out, unless the model will see such input.",
            )
        )
    if outliers["count"]:
        worst = outliers["worst"][0]
        warnings.append(
            _warning(
                "calibration_outliers",
                f"{outliers['count']} of {samples} samples are unlike the others; the worst is sample {worst['sample']}, by "
                f"the {worst['what']}.",
                "Look at them: one broken sample can widen a range for all.",
            )
        )


def _tell_classes(warnings: list[dict[str, str]], classes: Mapping[str, Any] | None) -> None:
    if classes is None:
        return
    if classes["missing"]:
        warnings.append(
            _warning(
                "calibration_classes_missing",
                f"Of {classes['count']} classes {classes['missing']} have no sample to calibrate with.",
                "Add samples of every class.",
            )
        )
    if classes["most"] > ONE_SIDED * classes["fewest"]:
        warnings.append(
            _warning(
                "calibration_imbalance",
                f"The classes are uneven: from {classes['fewest']} to {classes['most']} samples.",
                "Calibrate on about as many samples of each class, or as many as the device will see.",
            )
        )


def _advice(samples: int, inputs: Sequence[Mapping[str, Any]]) -> str:
    """Say whether there are enough samples."""
    unsettled = max((item.get("widened") or 0.0 for item in inputs), default=0.0)
    if samples < ENOUGH_SAMPLES:
        return f"Give {ENOUGH_SAMPLES} to 300 samples: there are {samples}."
    if unsettled > WIDENING:
        return (
            f"Calibrate on more samples, {2 * samples} or so: the second half of them still widened a range by "
            f"{100 * unsettled:.0f} %."
        )
    return f"{samples} samples are enough: the second half of them hardly widened a range."


def _thinned(array: Array) -> Array:
    """Return at most a million values of an array, evenly spread."""
    flat = array.reshape(-1)
    step = max(1, math.ceil(flat.size / MOST_VALUES)) | 1
    return flat[::step] if flat.size > MOST_VALUES else flat


def _warning(code: str, detail: str, fix: str) -> dict[str, str]:
    return {"code": code, "detail": detail, "fix": fix}
