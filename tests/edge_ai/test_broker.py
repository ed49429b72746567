"""Messages in PostgreSQL: by the database's clock, one taker each, and a commit wakes who waits."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ

from accounts.models import User
from config.database.identity import acting_as_system
from edge_ai.fleet.broker import WakingBroker
from edge_ai.models.base import ClockTimestamp

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def broker() -> WakingBroker:
    """The broker of a queue that no cluster serves."""
    found = get_broker("nobody-serves-it")
    assert isinstance(found, WakingBroker)
    return found


def test_each_message_is_taken_once_and_gone_when_it_is_dealt_with(broker: WakingBroker) -> None:
    first, second = broker.enqueue("one"), broker.enqueue("two")
    assert (broker.queue_size(), broker.lock_size()) == (2, 0)
    assert broker.dequeue() == [(first, "one")]
    assert (broker.queue_size(), broker.lock_size()) == (1, 1)
    assert broker.dequeue() == [(second, "two")]
    broker.acknowledge(first)
    assert not OrmQ.objects.filter(pk=first).exists()


def test_a_wrong_clock_of_this_machine_changes_nothing(broker: WakingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    for days in (-3, 3):
        wrong = datetime.now(UTC) + timedelta(days=days)
        monkeypatch.setattr(timezone, "now", lambda wrong=wrong: wrong)
        made = broker.enqueue("x")
        assert broker.dequeue() == [(made, "x")]
        lock = OrmQ.objects.values_list("lock", flat=True).get(pk=made)
        in_s = (lock - datetime.now(UTC)).total_seconds()
        assert Conf.RETRY - 60 < in_s <= Conf.RETRY + 60
        broker.acknowledge(made)


def test_a_commit_wakes_who_waits(broker: WakingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "POLL", 30.0)
    assert OrmQ.objects.filter(key=broker.list_key).count() == 0
    woken: list[float] = []

    def wait() -> None:
        try:
            with acting_as_system():
                assert broker.dequeue() is None
                woken.append(time.monotonic())
                woken.append(bool(broker.dequeue()))
        finally:
            connection.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(1.0)
    assert waiting.is_alive() and not woken
    sent = time.monotonic()
    get_broker("nobody-serves-it").enqueue("x")
    waiting.join(20)
    assert not waiting.is_alive()
    assert woken[0] - sent < 10, "long before it would have looked by itself"
    assert woken[1]


def test_while_the_database_is_away_it_keeps_asking(broker: WakingBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    made = broker.enqueue("x")
    take = WakingBroker._take
    answers: list[Any] = [OperationalError("server closed the connection"), OperationalError("starting up")]

    def sometimes(self: WakingBroker) -> list[tuple[int, str]]:
        if answers:
            raise answers.pop()
        return take(self)

    monkeypatch.setattr(WakingBroker, "_take", sometimes)
    assert broker.dequeue() is None
    assert broker.dequeue() is None
    with acting_as_system():
        assert broker.dequeue() == [(made, "x")]


def test_a_broken_connection_listens_again(broker: WakingBroker) -> None:
    assert broker.dequeue() is None
    backend = connection.connection.info.backend_pid
    connection.close()
    with acting_as_system():
        assert broker.dequeue() is None
        assert connection.connection.info.backend_pid != backend
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_listening_channels()")
            assert cursor.fetchall() == [("studio_queue_nobody-serves-it",)]


def test_what_is_rolled_back_was_never_sent(broker: WakingBroker, committed: User) -> None:
    from django.db import transaction

    with pytest.raises(psycopg.errors.DivisionByZero), transaction.atomic():
        broker.enqueue("x")
        raise psycopg.errors.DivisionByZero
    assert not OrmQ.objects.filter(key=broker.list_key, lock__lte=ClockTimestamp()).exists()
