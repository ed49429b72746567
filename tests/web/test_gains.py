"""What variants gained: only what was compared counts, and only as surely as it is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import JobEvent
from edge_ai.web.measured import gain_words
from edge_ai.web.views.gains import best_latencies, gains_of
from edge_ai.web.views.jobs import without_repeats
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results


def measured(user: User, model: Any, p50_ms: float, **fields: Any) -> Any:
    """A completed benchmark."""
    comparison = fields.pop("comparison", None)
    result = results.MEASURED | {"comparison": comparison}
    return factories.make_benchmark(user, model, **(results.ENDED | {"result": result, "p50_ms": p50_ms} | fields))


@pytest.mark.parametrize(
    ("verdict", "ratio", "words"),
    [
        ("faster", 0.5, "2.00× faster"),
        ("slower", 1.2, "1.20× slower"),
        ("same", 1.0, "the same"),
        ("inconclusive", 1.3, "no clear difference"),
    ],
)
def test_a_gain_is_said_as_surely_as_it_is_known(verdict: str, ratio: float, words: str) -> None:
    assert gain_words({"verdict": verdict, "ratio_p50": ratio, "ci95": [0.4, 1.6]}) == words


def test_latencies_that_were_not_compared_are_no_gain(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        parent = factories.make_model(owner)
        variant = factories.make_model(owner, parent=parent, size_bytes=2500)
        measured(owner, parent, 2.0)
        measured(owner, variant, 1.0)
        [gain] = gains_of(owner, [variant])
        assert gain.size_ratio == 2.0
        assert gain.speed == "–"
        assert gain.speed_ratio == 1.0
        assert best_latencies(owner, [variant.pk])[variant.pk][0].p50_ms == 1.0


def test_the_latest_comparison_with_the_parent_counts(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        parent = factories.make_model(owner)
        variant = factories.make_model(owner, parent=parent)
        other = measured(owner, factories.make_model(owner), 9.0)
        baseline = measured(owner, parent, 2.0)
        faster = {"verdict": "faster", "ratio_p50": 0.5, "ci95": [0.4, 0.6]}
        unsure = {"verdict": "inconclusive", "ratio_p50": 0.9, "ci95": [0.7, 1.1]}
        later = results.ENDED["finished_at"].replace(hour=11)
        run = measured(owner, variant, 1.0, baseline=baseline, comparison=faster, finished_at=later)
        measured(owner, variant, 1.1, baseline=baseline, comparison=unsure)
        measured(owner, variant, 1.0, baseline=other, comparison=faster, finished_at=later.replace(hour=12))
        [gain] = gains_of(owner, [variant])
    assert (gain.run_id, gain.before_ms, gain.after_ms) == (run.pk, 2.0, 1.0)
    assert (gain.speed, gain.speed_ratio, gain.caution) == ("2.00× faster", 2.0, "")


def test_a_comparison_of_different_conditions_says_so(
    alpha: Workspace, owner: User, browser_of: Callable[[User], Client]
) -> None:
    warning = {"field": "threads", "a": 2, "b": 1, "detail": "threads: 2 in the baseline, 1 in this run"}
    comparison = {"verdict": "faster", "ratio_p50": 0.5, "ci95": [0.4, 0.6], "warnings": [warning]}
    with inside(alpha, owner):
        parent = factories.make_model(owner)
        variant = factories.make_model(owner, parent=parent)
        baseline = measured(owner, parent, 2.0)
        run = measured(owner, variant, 1.0, baseline=baseline, comparison=comparison)
        [gain] = gains_of(owner, [variant])
    assert gain.caution == "under other conditions"
    text = browser_of(owner).get(reverse("edge_ai:benchmark-detail", args=[run.pk])).content.decode()
    assert "Threads: 2 in the baseline, 1 in this run." in text


def test_a_log_does_not_repeat_itself() -> None:
    def event(message: str, kind: str = "stage") -> JobEvent:
        return JobEvent(kind=kind, message=message)

    lines = [event("Measuring"), event("Measuring"), event("noise", "log"), event("noise", "log"), event("Measuring")]
    kept = [each.message for each in without_repeats(lines, event("Measuring"))]
    assert kept == ["noise", "noise", "Measuring"]
    assert [each.message for each in without_repeats(lines[:2], None)] == ["Measuring"]
