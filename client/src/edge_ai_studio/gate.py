"""Whether a model may go on: limits and regressions, each judged by its interval, as Markdown and as JUnit XML.

A latency or an accuracy that is worse by chance fails nobody: a check fails when even the favourable end of the interval is
beyond its limit, passes when the value is within, and is *uncertain* in between. Sizes are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

Outcome = Literal["passed", "failed", "uncertain", "skipped"]
MARKS: Mapping[Outcome, str] = {"passed": "✅", "failed": "❌", "uncertain": "⚠️", "skipped": "➖"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question and its answer.

    Attributes
    ----------
    name
        What is asked, such as ``p50``.
    outcome
        How it went.
    measured, limit
        In words, with units.
    detail
        A sentence.
    """

    name: str
    outcome: Outcome
    measured: str
    limit: str
    detail: str


def check_size(size_bytes: int, max_mb: float) -> Check:
    """Hold the size of the file against a limit in MB of 10^6 bytes."""
    size = size_bytes / 1e6
    return Check(
        name="size",
        outcome="passed" if size <= max_mb else "failed",
        measured=f"{size:.4g} MB",
        limit=f"≤ {max_mb:g} MB",
        detail="The file is within its limit." if size <= max_mb else f"The file is {size - max_mb:.3g} MB too large.",
    )


def check_latency(latency: Mapping[str, Any], max_p50_ms: float) -> Check:
    """Hold the median latency against a limit in milliseconds, by its 95 % interval."""
    p50 = float(latency["p50"])
    low, high = (float(end) for end in latency["ci95"])
    if p50 <= max_p50_ms:
        outcome: Outcome = "passed"
        detail = "The median is within its limit."
    elif low > max_p50_ms:
        outcome, detail = "failed", f"Even the low end of the interval, {low:.3g} ms, is above the limit."
    else:
        outcome, detail = "uncertain", "The median is above the limit, but its interval reaches below: measure longer."
    return Check(
        name="p50",
        outcome=outcome,
        measured=f"{p50:.3g} ms ({low:.3g} to {high:.3g})",
        limit=f"≤ {max_p50_ms:g} ms",
        detail=detail,
    )


def check_speed(pair: Mapping[str, Any], margin: float) -> Check:
    """Hold the latency against the baseline's: the studio's own verdict on models measured by turns."""
    ratio = float(pair["ratio_p50"])
    low, high = (float(end) for end in pair["ci95"])
    outcomes: dict[str, Outcome] = {"faster": "passed", "same": "passed", "slower": "failed"}
    words = {
        "faster": "Faster than the baseline.",
        "same": "No difference beyond the margin.",
        "slower": "Slower than the baseline, beyond the margin and beyond chance.",
    }
    verdict = str(pair["verdict"])
    return Check(
        name="latency against the baseline",
        outcome=outcomes.get(verdict, "uncertain"),
        measured=f"× {ratio:.3g} ({low:.3g} to {high:.3g})",
        limit=f"≤ × {1 + margin:g}",
        detail=words.get(verdict, "What was measured does not decide: measure longer, or on a quieter machine."),
    )


def check_accuracy(pair: Mapping[str, Any], run: Mapping[str, Any], max_drop: float) -> Check:
    """Hold the accuracy against the baseline's; ``max_drop`` is absolute, 0.01 being a hundredth.

    Where answers are right or wrong one by one, the interval is of the paired difference (McNemar); otherwise there is
    none, and the drop alone decides.
    """
    limit = f"drop ≤ {max_drop:g}"
    paired = pair.get("accuracy")
    delta = run.get("delta") or {}
    if paired:
        drop = 0.0 - float(paired["difference"]) / 100
        least, most = sorted(0.0 - float(end) / 100 for end in paired["ci95"])
        words = f"drop {drop:+.4f} ({least:+.4f} to {most:+.4f}), n = {paired['n']}"
        sentence = f"Against the baseline: {paired['sentence']}."
        if drop <= max_drop:
            return Check(name="accuracy", outcome="passed", measured=words, limit=limit, detail=sentence)
        sure = least > max_drop
        return Check(
            name="accuracy",
            outcome="failed" if sure else "uncertain",
            measured=words,
            limit=limit,
            detail=sentence if sure else "The drop is beyond the limit, but may be chance: use more samples.",
        )
    if delta.get("accuracy") is None:
        reason = run.get("accuracy_reason") or "there was nothing to judge by"
        return Check(
            name="accuracy", outcome="failed", measured="not measured", limit=limit, detail=f"Not measured: {reason}."
        )
    drop = 0.0 - float(delta["accuracy"])
    return Check(
        name="accuracy",
        outcome="passed" if drop <= max_drop else "failed",
        measured=f"drop {drop:+.4f} of {delta.get('metric')}",
        limit=limit,
        detail="No interval is known for this metric; the drop alone decides.",
    )


def passed(checks: Sequence[Check], *, strict: bool) -> bool:
    """Tell whether the model may go on; with ``strict``, what is uncertain keeps it back, too."""
    bad = {"failed", "uncertain"} if strict else {"failed"}
    return not any(check.outcome in bad for check in checks)


def to_markdown(
    checks: Sequence[Check], *, model: str, device: str, baseline: str | None, good: bool, link: str
) -> str:
    """Return the report for the comment of a pull request."""
    title = f"{'✅ Passed' if good else '❌ Failed'}: {_plain(model)} on {_plain(device)}"
    lines = [f"### {title}", ""]
    if baseline:
        lines += [f"Against the baseline {_plain(baseline)}.", ""]
    lines += ["| | check | measured | limit | |", "|---|---|---|---|---|"]
    lines += [
        f"| {MARKS[check.outcome]} | {check.name} | {check.measured} | {check.limit} | {_plain(check.detail)} |"
        for check in checks
    ]
    return "\n".join([*lines, "", f"[The whole measurement]({link})", ""])


def to_markdown_of_failure(*, model: str, why: str) -> str:
    """Return the report of a model that could not be judged."""
    return f"### ❌ Not judged: {_plain(model)}\n\n{_plain(why)}\n"


def to_junit_of_failure(*, model: str, why: str) -> str:
    """Return the report of a model that could not be judged as JUnit XML, an error and not a failure."""
    suite = ElementTree.Element(
        "testsuite", name=f"edgeai gate: {_clean(model)}", tests="1", failures="0", errors="1", skipped="0"
    )
    case = ElementTree.SubElement(suite, "testcase", classname="edgeai.gate", name="gate")
    ElementTree.SubElement(case, "error", message=_clean(why), type="not judged").text = _clean(why)
    return _xml(suite)


def to_junit(checks: Sequence[Check], *, model: str, device: str, strict: bool) -> str:
    """Return the report as JUnit XML, a test case for each check."""
    bad = [check for check in checks if not passed([check], strict=strict)]
    suite = ElementTree.Element(
        "testsuite",
        name=f"edgeai gate: {_clean(model)} on {_clean(device)}",
        tests=str(len(checks)),
        failures=str(len(bad)),
        errors="0",
        skipped=str(sum(check.outcome == "skipped" for check in checks)),
    )
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname="edgeai.gate", name=check.name)
        if check in bad:
            said = f"{check.measured}; limit {check.limit}"
            ElementTree.SubElement(case, "failure", message=said, type=check.outcome).text = _clean(check.detail)
        elif check.outcome == "skipped":
            ElementTree.SubElement(case, "skipped", message=_clean(check.detail))
        ElementTree.SubElement(
            case, "system-out"
        ).text = f"{check.measured}; limit {check.limit}. {_clean(check.detail)}"
    return _xml(suite)


def _xml(suite: ElementTree.Element) -> str:
    ElementTree.indent(suite)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(suite, encoding='unicode')}\n"


def _plain(words: str) -> str:
    """Return words that are no Markdown: a model's name is a stranger's."""
    words = " ".join(words.split())
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()#+!|<>~@" else letter for letter in words)


def _clean(words: str) -> str:
    """Return words without what XML cannot hold."""
    return "".join(
        letter for letter in words if letter in "\t\n" or (ord(letter) >= 32 and not 0xD800 <= ord(letter) < 0xE000)
    )
