"""Saved benchmarks side by side: what is claimed of them, what is refused, and the numbers of the charts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import BenchmarkRun, Model
from edge_ai.services.run_comparison import compare_runs
from edge_ai.web.compared import cost, points
from edge_ai.web.run_comparison import charts_of, distribution_of, headline, metric_of, quantile, rows_of
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results

Browser = Callable[[User], Client]
ADDRESS = "/compare/"
QUIET: dict[str, Any] = {"verdict": "quiet", "detail": ""}


def measured(
    owner: User,
    model: Model | None = None,
    *,
    ratio: float = 1.0,
    seconds: int = 4,
    threads: int = 1,
    noise: dict[str, Any] = QUIET,
    accuracy: float | None = 0.988,
    **fields: Any,
) -> BenchmarkRun:
    """A finished run whose latencies are ``ratio`` times those of :data:`results.MEASURED`."""
    latency_ms = results.MEASURED["latency_ms"]
    histogram = results.MEASURED["chart"]["histogram"]
    result = results.MEASURED | {
        "latency_ms": {
            name: [bound * ratio for bound in value] if name == "ci95" else value * ratio
            for name, value in latency_ms.items()
            if name != "intervals"
        },
        "chart": {"histogram": histogram | {"edges_ms": [edge * ratio for edge in histogram["edges_ms"]]}},
        "noise": noise,
        "environment": results.MEASURED["environment"] | {"threads": threads},
        "accuracy": None if accuracy is None else {"top1": accuracy},
        "accuracy_ci95": None if accuracy is None else {"top1": [accuracy - 0.01, accuracy + 0.01]},
    }
    ended = results.ENDED | {"finished_at": results.ENDED["started_at"].replace(second=seconds)}
    made = {"result": result, "p50_ms": latency_ms["p50"] * ratio} | fields
    return factories.make_benchmark(owner, model or factories.make_model(owner), **(ended | made))


def query(*runs: BenchmarkRun, **others: Any) -> dict[str, Any]:
    return {"run": [str(run.pk) for run in runs]} | others


def test_only_a_clear_difference_counts(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        first, half, near = (
            measured(owner),
            measured(owner, ratio=0.5, seconds=5),
            measured(owner, ratio=0.95, seconds=6),
        )
        same = measured(owner, first.model, seconds=7)
        comparison = compare_runs(owner, run_ids=[half.pk, near.pk, first.pk, same.pk])
        # The one that was measured first is what the others are held against, in the order asked for.
        assert [held.run.run_id for held in comparison.held] == [first.pk, half.pk, near.pk, same.pk]
        rows = rows_of(comparison)
    assert [row.verdict for row in rows] == ["", "faster", "inconclusive", "inconclusive"]
    assert rows[1].p50_delta == pytest.approx(-0.5)
    assert headline(rows) == "Against “digits”: 1 faster, 2 not certain."
    # Within each run the median is known to 0.4 %; from run to run it differs by 3 %, and there are two of them.
    interval = rows[3].ratio_ci95
    assert interval is not None
    within = math.log(0.064989 / 0.063974) / (2 * 1.96)
    assert math.log(interval[1]) == pytest.approx(1.96 * math.hypot(0.03, within) * math.sqrt(2), rel=1e-3)


def test_noise_widens_the_interval(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        first = measured(owner)
        quiet = measured(owner, ratio=0.8, seconds=5)
        noisy = measured(owner, ratio=0.8, seconds=6, noise={"verdict": "noisy", "detail": "others"})
        rows = rows_of(compare_runs(owner, run_ids=[first.pk, quiet.pk, noisy.pk]))
    assert [row.verdict for row in rows[1:]] == ["faster", "inconclusive"]


def test_batches_of_another_size_are_not_called_slower(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        first, other = measured(owner), measured(owner, ratio=3.0, seconds=5, batch_size=4)
    text = browser_of(owner).get(ADDRESS, query(first, other)).content.decode()
    assert "Not comparable" in text and "Batch size: 1 in the baseline, 4 in this run." in text
    assert "slower" not in text.partition('id="table"')[2]


def test_what_differs_besides_is_told(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        data = factories.make_dataset(owner, name="other samples")
        first = measured(owner, threads=1)
        other = measured(
            owner, ratio=0.5, seconds=5, threads=2, dataset=data, device_profile=factories.make_device(owner)
        )
        alike = measured(owner, ratio=0.5, seconds=6)
    browser = browser_of(owner)
    text = browser.get(ADDRESS, query(first, other)).content.decode()
    for told in (
        "Not all were measured under the same conditions.",
        "Threads: 1 in the baseline, 2 in this run.",
        "Data: made up in the baseline, “other samples” in this run.",
        "Device: This machine in the baseline, My board in this run.",
        "under other conditions",
        "of other data",
    ):
        assert told in text
    assert "under other conditions" not in browser.get(ADDRESS, query(first, alike)).content.decode()


def test_the_page_leads_to_measuring_by_turns(alpha: Workspace, owner: User, viewer: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        first, other, same = (
            measured(
                owner,
                factories.make_model(owner, name=name, visibility="workspace"),
                visibility="workspace",
                seconds=at,
            )
            for at, name in enumerate(("first", "other", "third"), start=1)
        )
        again = measured(owner, first.model, visibility="workspace", seconds=9)
    link = f"{reverse('edge_ai:comparison-create')}?model={other.model_id}&amp;model={first.model_id}"
    text = browser_of(owner).get(ADDRESS, query(first, other, again, against=str(other.pk))).content.decode()
    assert link in text and "Measure these side by side" in text
    assert f"?run={other.pk}&amp;run={first.pk}&amp;against={other.pk}" in text  # without the third
    assert browser_of(owner).get(link.replace("&amp;", "&")).status_code == 200
    assert link not in browser_of(viewer).get(ADDRESS, query(first, other)).content.decode()
    alone = browser_of(owner).get(ADDRESS, query(first, again)).content.decode()
    assert "Measure these side by side" not in alone and "All of them are of one model." in alone
    assert same.pk != again.pk


def test_what_cannot_be_compared_is_refused(
    alpha: Workspace, owner: User, outsider: User, colleague: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        runs = [measured(owner, seconds=at) for at in range(9)]
        queued = factories.make_benchmark(owner)
        estimate = factories.make_benchmark(
            owner,
            **(results.ENDED | {"result": {"kind": "estimated"}, "result_kind": "estimated", "estimated_ms": 5.0}),
        )
    browser = browser_of(owner)

    def said(*chosen: BenchmarkRun, by: Client = browser, **others: Any) -> tuple[int, str]:
        answer = by.get(ADDRESS, query(*chosen, **others))
        return answer.status_code, answer.content.decode()

    for chosen, status, words in (
        (runs[:1], 422, "1 benchmark chosen; 2 to 8 are compared."),
        ([runs[0], runs[0]], 422, "1 benchmark chosen; 2 to 8 are compared."),
        (runs, 422, "9 benchmarks chosen; 2 to 8 are compared."),
        ([runs[0], queued], 409, "has no numbers: it is queued."),
        ([runs[0], estimate], 422, "is estimated"),
    ):
        assert said(*chosen)[0] == status
        assert words in said(*chosen)[1]
    assert said(*runs[:2], against=str(runs[3].pk))[0] == 422
    unknown = (404, "One of the benchmarks does not exist, or it is not yours to see.")
    # A strange id, a colleague's private run and another workspace's: the same answer, which names nothing.
    for by, ids in ((browser, ["x", str(runs[0].pk)]), (browser_of(colleague), None), (browser_of(outsider), None)):
        answer = by.get(ADDRESS, {"run": ids or [str(run.pk) for run in runs[:2]]})
        assert answer.status_code == unknown[0]
        assert unknown[1] in answer.content.decode()
        assert "digits" not in answer.content.decode()
    assert browser.get(ADDRESS, query(*runs[:2], against="x")).status_code == 404
    assert said(*runs[:8])[0] == 200


def test_eight_runs_take_no_more_queries_than_two(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        runs = [measured(owner, seconds=at) for at in range(8)]
    browser = browser_of(owner)
    counts = []
    for number in (2, 8):
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(ADDRESS, query(*runs[:number])).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] < 15


def test_runs_are_chosen_from_both_lists(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        first, other = measured(owner, model), measured(owner, model, seconds=5)
        queued = factories.make_benchmark(owner, model)
    browser = browser_of(owner)
    for page in (
        reverse("edge_ai:benchmark-list"),
        reverse("edge_ai:model-detail", args=[model.pk]) + "?tab=benchmarks",
    ):
        text = browser.get(page).content.decode()
        assert f'<form action="{ADDRESS}">' in text
        for run in (first, other):
            assert f'name="run" value="{run.pk}"' in text
        assert f'value="{queued.pk}"' not in text


def test_what_was_not_measured_is_not_zero(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        known, unknown = measured(owner, accuracy=0.9), measured(owner, ratio=0.5, seconds=5, accuracy=None)
        comparison = compare_runs(owner, run_ids=[known.pk, unknown.pk])
        rows = rows_of(comparison)
        drawn = charts_of(rows, metric_of(comparison))
    assert [point["accuracy"] for point in drawn["points"]] == [0.9, None]
    assert [point["front"] for point in drawn["points"]] == [True, False]
    assert drawn["metric"] == "top-1 accuracy" and drawn["percent"]
    text = browser_of(owner).get(ADDRESS, query(known, unknown)).content.decode()
    assert "not measured" in text and "not known" in text


def test_accuracies_of_different_data_are_not_held_against_one_another(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        data, other = factories.make_dataset(owner), factories.make_dataset(owner, name="other")
        runs = [
            measured(owner, accuracy=None),
            measured(owner, accuracy=0.9, dataset=data, seconds=5),
            measured(owner, ratio=0.5, accuracy=0.8, dataset=data, seconds=6),
            measured(owner, ratio=0.4, accuracy=0.99, dataset=other, seconds=7),
        ]
        rows = rows_of(compare_runs(owner, run_ids=[run.pk for run in runs]))
    assert [row.on_front for row in rows] == [False, True, True, False]
    assert [row.front_known for row in rows] == [False, True, True, False]


def test_less_is_better_of_errors() -> None:
    assert [cost(0.1, "cer"), cost(0.9, "top1"), cost(None, "top1")] == [0.1, -0.9, None]
    assert [points(-0.5, "mae"), points(0.01, "top1")] == ["−0.5", "+1.00 points"]


def test_the_distribution_is_exact_at_the_edges_of_the_bins() -> None:
    curve = distribution_of({"edges_ms": [1.0, 2.0, 3.0, 4.0], "counts": [10, 80, 10]})
    assert curve == [(1.0, 0.0), (2.0, 0.1), (3.0, 0.9)]
    assert quantile(curve, 0.5) == pytest.approx(2.5)
    assert quantile(curve, 0.0) == 1.0
    assert quantile(curve, 0.95) is None
    assert distribution_of({}) == []
    assert quantile([], 0.5) is None
