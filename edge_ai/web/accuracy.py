"""How right a model is, as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SOURCES = {"given": "as the data set says", "inferred": "by the look of the labels and the answers"}
#: Of those figures that are of one class: the field of the detail, and what stands beside it.
BY_CLASS = {"iou": ("iou", "pixels", "IoU"), "ap": ("ap50", "boxes", "AP at IoU 0.50")}


def judged_of(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a benchmark found of a model's accuracy; ``None`` where it did not judge it."""
    accuracy: Mapping[str, float] | None = result.get("accuracy")
    if not accuracy:
        return None
    intervals: Mapping[str, Sequence[float]] = result.get("accuracy_ci95") or {}
    detail: Mapping[str, Any] = result.get("accuracy_detail") or {}
    task: Mapping[str, str] = result.get("accuracy_task") or {}
    names: Sequence[str] = detail.get("class_names") or ()
    comparison: Mapping[str, Any] = result.get("comparison") or {}
    return {
        "metrics": [{"name": name, "value": value, "ci95": intervals.get(name)} for name, value in accuracy.items()],
        "samples": result.get("accuracy_samples"),
        "task": task.get("task"),
        "source": SOURCES.get(task.get("source", "")),
        "output": task.get("output"),
        "confusion": confusion_table(detail.get("confusion"), names),
        "by_class": class_table(detail, names),
        "misread": detail.get("misread") or (),
        "notes": detail.get("notes") or (),
        "calibrated": detail.get("calibrated_samples"),
        "change": comparison.get("accuracy"),
        "change_reason": comparison.get("accuracy_reason"),
    }


def confusion_table(confusion: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the confusions with the names of the classes: the rows of the matrix, where there is one, and the worst."""
    if not confusion:
        return None
    matrix: Sequence[Sequence[int]] | None = confusion.get("matrix")
    rows = []
    for place, counts in enumerate(matrix or ()):
        total = sum(counts)
        rows.append(
            {
                "name": _named(place, names),
                "cells": [{"count": count, "right": place == column} for column, count in enumerate(counts)],
                "recall": counts[place] / total if total else None,
            }
        )
    return {
        "columns": [_named(place, names) for place in range(len(matrix or ()))],
        "rows": rows,
        "worst": [
            {
                "label": _named(item["label"], names),
                "predicted": _named(item["predicted"], names),
                "count": item["count"],
            }
            for item in confusion.get("worst") or ()
        ],
        "classes": confusion.get("classes"),
        "unanswered": confusion.get("unanswered"),
    }


def class_table(detail: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """Return the figures of each class of masks or boxes."""
    for key, (value, count, title) in BY_CLASS.items():
        if detail.get(key):
            return {
                "title": title,
                "counted": count,
                "rows": [
                    {"name": _named(row["class"], names), "value": row[value], "count": row[count]}
                    for row in detail[key]
                ],
            }
    return None


def _named(place: int, names: Sequence[str]) -> str:
    return names[place] if 0 <= place < len(names) else str(place)
