"""The line of waiting jobs: whose turn it is, across workspaces."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from accounts.models import Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Pace, Ticket
from edge_ai.models import Priority
from edge_ai.models.base import ClockTimestamp

LEASE = timedelta(seconds=60)
QUEUE = "studio"

pytestmark = pytest.mark.django_db


def wait(schema_name: str, count: int = 1, *, priority: int = Priority.NORMAL) -> list[uuid.UUID]:
    """Put jobs of a workspace into the line, one after the other."""
    made = [uuid.uuid4() for _ in range(count)]
    for job_id in made:
        Ticket.objects.create(job_id=job_id, schema_name=schema_name, queue=QUEUE, priority=priority)
    return made


def serve(most: int = 10) -> Ticket | None:
    """Take a ticket and finish its job at once."""
    ticket = Ticket.objects.take(QUEUE, most=most, lease=LEASE)
    if ticket is not None:
        Ticket.objects.filter(pk=ticket.pk).delete()
    return ticket


@pytest.fixture(autouse=True)
def _as_the_studio(db: None) -> object:
    with acting_as_system():
        yield


def test_a_thousand_jobs_of_one_workspace_do_not_hold_up_one_of_another() -> None:
    wait("many", 1000)
    (lonely,) = wait("few")
    served = [ticket.job_id for ticket in (serve(), serve()) if ticket is not None]
    assert lonely in served


def test_workspaces_are_served_by_turns_however_many_workers_there_are() -> None:
    wait("a", 6)
    wait("b", 6)
    order = [ticket.schema_name for ticket in (serve() for _ in range(8)) if ticket is not None]
    assert order in (["a", "b"] * 4, ["b", "a"] * 4)


def test_the_workspace_with_fewer_running_jobs_goes_first() -> None:
    wait("a", 4)
    (late,) = wait("b")
    for _ in range(2):
        Ticket.objects.take(QUEUE, most=10, lease=LEASE)
    held = Ticket.objects.running(QUEUE).values_list("job_id", flat=True)
    assert late in held


def test_of_ones_own_jobs_the_urgent_goes_first_then_the_oldest() -> None:
    (low,) = wait("a", priority=Priority.LOW)
    first, second = wait("a", 2)
    (high,) = wait("a", priority=Priority.HIGH)
    order = [ticket.job_id for ticket in (serve() for _ in range(4)) if ticket is not None]
    assert order == [high, first, second, low]


def test_no_workspace_gets_more_than_its_share_at_once() -> None:
    wait("a", 5)
    taken = [Ticket.objects.take(QUEUE, most=2, lease=LEASE) for _ in range(4)]
    assert [ticket is not None for ticket in taken] == [True, True, False, False]
    assert Ticket.objects.waiting(QUEUE).count() == 3


def test_a_ticket_whose_holder_fell_silent_can_be_taken_again() -> None:
    (job_id,) = wait("a")
    assert Ticket.objects.take(QUEUE, most=1, lease=timedelta(seconds=-1)) is not None
    again = Ticket.objects.take(QUEUE, most=1, lease=LEASE)
    assert again is not None
    assert again.job_id == job_id


def test_what_is_not_due_or_waits_for_another_queue_is_left_alone() -> None:
    (later,) = wait("a")
    Ticket.objects.filter(pk=later).update(due_at=ClockTimestamp() + LEASE)
    Ticket.objects.create(job_id=uuid.uuid4(), schema_name="a", queue="benchmark")
    assert Ticket.objects.take(QUEUE, most=9, lease=LEASE) is None


def place(job_id: uuid.UUID) -> int | None:
    """Where a job stands."""
    ticket = Ticket.objects.filter(pk=job_id).first()
    schema_name = "a" if ticket is None else ticket.schema_name
    line = Ticket.objects.line_before(job_id, queue=QUEUE, schema_name=schema_name)
    return None if line is None else line.place


def test_a_place_counts_ones_own_jobs_and_as_many_of_each_other_workspace() -> None:
    first, second, third = wait("a", 3)
    wait("b", 1)
    wait("c", 10)
    assert [place(each) for each in (first, second, third)] == [3, 5, 7]
    assert place(uuid.uuid4()) is None


def test_a_higher_priority_comes_before_ones_own_only() -> None:
    low, normal = wait("a", 2)
    (urgent,) = wait("a", priority=Priority.HIGH)
    assert [place(each) for each in (urgent, low, normal)] == [1, 2, 3]


def test_what_runs_has_no_place() -> None:
    first, second = wait("a", 2)
    taken = Ticket.objects.take(QUEUE, most=10, lease=LEASE)
    assert taken is not None
    assert taken.job_id == first
    assert place(first) is None
    assert place(second) == 1


def test_looking_takes_nothing() -> None:
    (first,) = wait("a")
    assert Ticket.objects.next(QUEUE, most=1) == first
    assert Ticket.objects.next(QUEUE, most=1) == first
    assert serve() is not None
    assert Ticket.objects.next(QUEUE, most=1) is None


def test_a_workspaces_own_limit_goes_before_the_general_one(alpha: Workspace) -> None:
    Workspace.objects.filter(pk=alpha.pk).update(concurrent_jobs=1)
    wait(alpha.schema_name, 3)
    wait("b", 3)
    taken = [Ticket.objects.take(QUEUE, most=2, lease=LEASE) for _ in range(6)]
    schemas = [ticket.schema_name for ticket in taken if ticket is not None]
    assert (schemas.count(alpha.schema_name), schemas.count("b")) == (1, 2)


def test_the_pace_is_a_mean_in_which_the_latest_weigh_most() -> None:
    for _ in range(200):
        Pace.objects.learn(QUEUE, 10.0)
    assert Pace.objects.get(pk=QUEUE).seconds == pytest.approx(10.0)
    for _ in range(100):
        Pace.objects.learn(QUEUE, 2.0)
    assert 2.0 < Pace.objects.get(pk=QUEUE).seconds < 4.0
    assert Pace.objects.get(pk=QUEUE).jobs == 300
