"""How long an optimization will take: what it is told from, and what is not guessed."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User, Workspace
from edge_ai.models import DeviceProfile, Model
from edge_ai.services.estimates import Run, estimate
from edge_ai.services.optimizations import OptimizationRequest, estimated_time, plan_optimization
from tests.conftest import inside
from tests.edge_ai import factories


def test_one_run_has_no_spread() -> None:
    found = estimate([Run(seconds=4.0, size_bytes=1000)], size_bytes=9000)
    assert (found.seconds, found.low, found.high, found.samples, found.reason) == (4.0, None, None, 1, None)


def test_a_few_runs_give_their_median_and_their_ends() -> None:
    found = estimate([Run(seconds=seconds, size_bytes=1000) for seconds in (2.0, 9.0, 4.0)], size_bytes=1000)
    assert (found.seconds, found.low, found.high) == (4.0, 2.0, 9.0)


def test_many_runs_leave_their_extremes_out() -> None:
    runs = [Run(seconds=seconds, size_bytes=1000) for seconds in (*[5.0] * 18, 1.0, 500.0)]
    found = estimate(runs, size_bytes=1000)
    assert (found.seconds, found.low, found.high) == (5.0, 5.0, 5.0)


def test_larger_models_take_longer_where_that_was_seen() -> None:
    runs = [Run(seconds=2 + mb, size_bytes=mb * 10**6) for mb in (1, 2, 4, 8, 16, 32)]
    assert estimate(runs, size_bytes=10 * 10**6).seconds == pytest.approx(12.0)
    assert estimate(runs, size_bytes=32 * 10**6).seconds == pytest.approx(34.0)
    assert estimate(runs, size_bytes=10**12).seconds == pytest.approx(34.0), "nothing that large was seen"


def test_one_run_that_hung_does_not_bend_the_line() -> None:
    runs = [Run(seconds=2 + mb, size_bytes=mb * 10**6) for mb in (1, 2, 4, 8, 16, 32)]
    found = estimate([*runs, Run(seconds=3600, size_bytes=10**6)], size_bytes=8 * 10**6)
    assert found.seconds == pytest.approx(10.0, rel=0.2)


def test_four_runs_are_too_few_to_tell_what_size_costs() -> None:
    runs = [Run(seconds=2 + mb, size_bytes=mb * 10**6) for mb in (1, 3, 5, 90)]
    assert estimate(runs, size_bytes=90 * 10**6).seconds == 6.0
    assert estimate([*runs, Run(seconds=12, size_bytes=10**7)], size_bytes=90 * 10**6).seconds == 92.0


def test_a_size_that_tells_nothing_is_left_alone() -> None:
    runs = [
        Run(seconds=seconds, size_bytes=mb * 10**6) for mb, seconds in ((1, 9), (2, 8), (4, 7), (8, 6), (9, 5), (9, 4))
    ]
    assert estimate(runs, size_bytes=9 * 10**6).seconds == 6.5


def asked(model: Model, device: DeviceProfile) -> OptimizationRequest:
    """fp16 of an ONNX model."""
    return OptimizationRequest(model=model, device_profile=device, precision="fp16")


def test_jobs_alike_are_those_of_the_same_way_and_precision(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, colleague):
        factories.make_completed(colleague, factories.make_model(colleague), 1000)
    with inside(alpha, owner):
        model, device = factories.make_model(owner), factories.host_device()
        request = asked(model, device)
        plan = plan_optimization(owner, request=request)
        nothing = estimated_time(owner, request=request, plan=plan)
        assert nothing.seconds is None, "a colleague's private job tells nothing"
        assert nothing.samples == 0
        assert nothing.reason == "No optimization from onnx to onnx in fp16 has been completed here yet."
        factories.make_completed(owner, model, 4)
        factories.make_completed(owner, model, 6)
        factories.make_completed(owner, model, 500, result={"precision": "int8"})
        factories.make_completed(owner, model, 500, target_format="tflite")
        factories.make_completed(owner, factories.make_model(owner, format="keras"), 500)
        factories.make_completed(owner, model, 500, status="failed", error={"code": "parity_failed"})
        with CaptureQueriesContext(connection) as queries:
            found = estimated_time(owner, request=request, plan=plan)
        assert (found.seconds, found.low, found.high, found.samples, found.reason) == (5.0, 4.0, 6.0, 2, None)
        assert len(queries) == 1


def test_what_is_not_decided_is_not_estimated(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, status="analyzing", analysis=None)
        request = asked(model, factories.host_device())
        found = estimated_time(owner, request=request, plan=plan_optimization(owner, request=request))
    assert found.seconds is None
    assert found.reason is not None
    assert "analysed" in found.reason


def test_what_was_taken_over_counts_as_if_it_had_been_done(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model, device = factories.make_model(owner), factories.host_device()
        request = asked(model, device)
        plan = plan_optimization(owner, request=request)
        fast = {"precision": "fp16", "reused_seconds": 7.5}
        factories.make_completed(owner, model, 2.5, result=fast)
        assert estimated_time(owner, request=request, plan=plan).seconds == 10.0
        # The second attempt took over what the first had done within the time of the job.
        factories.make_completed(owner, model, 10, attempt=2, result=fast)
        assert estimated_time(owner, request=request, plan=plan).seconds == 10.0
        # What was answered from an earlier job took no time at all, which tells nothing.
        answered = {"attempt": 0, "started_at": None, "answered_by": factories.make_completed(owner, model, 10)}
        factories.make_completed(owner, model, 0, **answered)
        found = estimated_time(owner, request=request, plan=plan)
        assert (found.seconds, found.samples) == (10.0, 3)
