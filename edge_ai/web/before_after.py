"""The original and the variant side by side: every figure that both have, with bars, and what the parity means in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db.models import F

from edge_ai.web import wording

#: From here on differences do not show, and from here they are usual for integers.
UNSEEN_DB, USUAL_DB = 40.0, 20.0
DATA: Final[Mapping[str, str]] = {
    "dataset": "on {} of your data set",
    "representative": "on {} of made-up input of the right kind",
    "random": "on {} of random input, which proves little",
}

#: What of a benchmark and of its baseline is read for the figures, without the rest of their results.
MEASURED: Final[Mapping[str, F]] = {
    "memory": F("result__memory_mb__peak"),
    "memory_before": F("baseline__result__memory_mb__peak"),
    "verdict": F("result__comparison__verdict"),
    "accuracy": F("result__accuracy"),
    "accuracy_before": F("baseline__result__accuracy"),
}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A figure of the original and of the variant, where the bars end, and by how much they differ in words."""

    title: str
    before: float | None
    after: float | None
    before_text: str
    after_text: str
    change: str = ""

    @property
    def longest(self) -> float:
        """What the longer of the two bars stands for."""
        return max(self.before or 0.0, self.after or 0.0) or 1.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the parity, and what it means."""

    name: str
    value: str
    meaning: str


def pairs_of(
    *, size_before: int | None, size_after: int, measured: Mapping[str, Any] | None, metric: Mapping[str, Any] | None
) -> list[Pair]:
    """Return the figures that the original and the variant both have: size, latency, memory, accuracy.

    Parameters
    ----------
    size_before
        ``None`` where the original is hidden.
    measured
        The medians of a benchmark and its baseline, and :data:`MEASURED` of it.
    metric
        Of the parity: what labelled samples said while the variant was made; a benchmark's accuracy goes before it.
    """
    found = []
    if size_before is not None:
        found.append(_pair("Size of the file", size_before, size_after, wording.megabytes, wording.size_ratio))
    told = measured or {}
    if _both(told.get("baseline__p50_ms"), told.get("p50_ms")):
        latency = _pair(
            "Median latency", told["baseline__p50_ms"], told["p50_ms"], wording.latency, wording.speed_ratio
        )
        # Two medians always differ; whether the models do is what the benchmark's verdict says.
        found.append(replace(latency, change="not certain") if told.get("verdict") == "inconclusive" else latency)
    if _both(told.get("memory_before"), told.get("memory")):
        found.append(_pair("Memory, at most", told["memory_before"], told["memory"], _mebibytes, wording.size_ratio))
    before, after = told.get("accuracy_before") or {}, told.get("accuracy") or {}
    shared = [name for name in after if _both(before.get(name), after.get(name))]
    for name in shared:
        found.append(_accuracy(name, before[name], after[name]))
    if not shared and metric and _both(metric.get("reference"), metric.get("variant")):
        found.append(_accuracy(str(metric["name"]), metric["reference"], metric["variant"]))
    return found


def figures_of(parity: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of a parity with what they mean, the plainest first; none where nothing was compared."""
    if not parity or parity.get("data") == "not_checked":
        return []
    found = []
    samples = int(parity.get("samples") or 0)
    agreement = parity.get("top1_agreement")
    if agreement is not None:
        other = round(samples * (1 - agreement))
        meaning = "Every sample gets the same top class from both."
        if agreement < 1:
            meaning = (
                f"{max(1, other)} of {samples} samples {'gets' if max(1, other) == 1 else 'get'} another top class."
            )
        found.append(Figure(name="Same top class", value=wording.percent(agreement), meaning=meaning))
    sqnr_db = parity.get("sqnr_db")
    if sqnr_db is None:
        found.append(Figure(name="SQNR", value="exact", meaning="The outputs are the same to the last bit."))
    else:
        share = 10 ** (-sqnr_db / 20)
        words = "too little to notice" if sqnr_db >= UNSEEN_DB else "usual for integers"
        if sqnr_db < USUAL_DB:
            words = "much: look at what it does to your task"
        value = f"{wording.significant(sqnr_db)} dB"
        meaning = f"The outputs differ by about {wording.percent(share)} of their own size, {words}."
        found.append(Figure(name="SQNR", value=value, meaning=meaning))
    if parity.get("cosine") is not None:
        value = f"{parity['cosine']:.6f}".rstrip("0").rstrip(".")
        found.append(
            Figure(
                name="Cosine",
                value=value,
                meaning="How far the outputs point the same way: 1 is the same, 0 is not at all.",
            )
        )
    if parity.get("max_abs_error") is not None:
        value = wording.significant(parity["max_abs_error"])
        meaning = "The largest difference of any single number, in the output’s own units."
        found.append(Figure(name="Largest error", value=value, meaning=meaning))
    return found


def compared_on(parity: Mapping[str, Any]) -> str:
    """Return what the two were compared on."""
    samples = int(parity.get("samples") or 0)
    return DATA.get(str(parity.get("data")), "on {}").format(f"{samples} sample{'' if samples == 1 else 's'}")


def _both(before: object, after: object) -> bool:
    return isinstance(before, (int, float)) and isinstance(after, (int, float))


def _pair(
    title: str,
    before: float,
    after: float,
    text: Callable[[float | None], str],
    change: Callable[[float | None, float | None], str],
) -> Pair:
    words = change(before, after)
    return Pair(title=title, before=before, after=after, before_text=text(before), after_text=text(after), change=words)


def _accuracy(name: str, before: float, after: float) -> Pair:
    title = wording.metric(name)
    as_points = name not in wording.NUMBERS | wording.AREAS
    change = f"{100 * (after - before):+.2f} points".replace("-", "−") if as_points else ""
    return Pair(
        title=title[:1].upper() + title[1:],
        before=before,
        after=after,
        before_text=wording.metric_value(before, name),
        after_text=wording.metric_value(after, name),
        change="the same" if before == after else change,
    )


def _mebibytes(memory_mb: float | None) -> str:
    return f"{wording.significant(memory_mb)} MB"
