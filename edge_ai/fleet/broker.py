"""The queue's messages in PostgreSQL, by the database's clock alone, and taken as soon as they are committed.

django-q2's own broker looks every ``poll`` seconds and compares its host's clock with that of the host that wrote the
message. Here a commit wakes whoever waits (``LISTEN``), and looking now and then is only for what was missed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

from edge_ai.models.base import ClockTimestamp

log = logging.getLogger(__name__)
AWAY_SECONDS = 0.5
#: How long a finished message is tried to be removed. One that stays finds nothing to do when it comes again.
ACKNOWLEDGE_SECONDS = 20.0


class Packer:
    """Takes a broker's place where a message is only packed: whoever asked writes it together with other rows."""

    def __init__(self, queue: str) -> None:
        self.list_key = queue
        self.packed = ""

    def enqueue(self, task: str) -> int:
        """Keep the message."""
        self.packed = task
        return 0

    def row(self) -> OrmQ:
        """Return the message's row."""
        return OrmQ(key=self.list_key, payload=self.packed, lock=ClockTimestamp())


def waking(queue: str) -> tuple[str, list[str]]:
    """Return the statement whose commit wakes a cluster."""
    return "SELECT pg_notify(%s, '')", [f"studio_queue_{queue}"]


class WakingBroker(ORM):  # type: ignore[misc]  # django-q2 has no type information
    """django-q2's ORM broker with another way to wait, and the database's clock."""

    #: The connection that has been told to listen.
    _listening: Any = None
    _away = False

    @property
    def _channel(self) -> str:
        return f"studio_queue_{self.list_key}"

    def enqueue(self, task: str) -> int:
        """Put a message into the queue, in the caller's transaction; its commit wakes a cluster."""
        made = OrmQ.objects.create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=ClockTimestamp())
        with connection.cursor() as cursor:
            cursor.execute(*waking(str(self.list_key)))
        return int(made.pk)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Take messages, waiting up to ``poll`` seconds for one; while the database is away, keep asking."""
        try:
            if not connection.in_atomic_block:
                close_old_connections()
                self._listen()
            taken = self._take()
            if not taken:
                self._wait(Conf.POLL)
        except (OperationalError, InterfaceError) as error:
            if not self._away:
                log.warning("The database does not answer the queue: %s", str(error).strip()[:200])
            self._away = True
            connection.close()
            time.sleep(AWAY_SECONDS)
            return None
        self._away = False
        return taken or None

    def acknowledge(self, task_id: int) -> None:
        """Remove a message that was dealt with, once the database is there to do it."""
        _insist(lambda: self.delete(task_id))

    def queue_size(self) -> int:
        """How many messages wait."""
        return int(OrmQ.objects.filter(key=self.list_key, lock__lte=ClockTimestamp()).count())

    def lock_size(self) -> int:
        """How many messages somebody has taken."""
        return int(OrmQ.objects.filter(key=self.list_key, lock__gt=ClockTimestamp()).count())

    def _take(self) -> list[tuple[int, str]]:
        with transaction.atomic():
            waiting = OrmQ.objects.select_for_update(skip_locked=True).filter(
                key=self.list_key, lock__lte=ClockTimestamp()
            )
            taken = list(waiting.order_by("pk").values_list("pk", "payload")[: Conf.BULK])
            if taken:
                OrmQ.objects.filter(pk__in=[pk for pk, _ in taken]).update(
                    lock=ClockTimestamp() + timedelta(seconds=Conf.RETRY)
                )
        return taken

    def _listen(self) -> None:
        """Ask to be told of messages, once a connection, and before looking for them."""
        connection.ensure_connection()
        if self._listening is not connection.connection:
            with connection.cursor() as cursor:
                cursor.execute(f'LISTEN "{self._channel}"')
            self._listening = connection.connection

    def _wait(self, seconds: float) -> None:
        if connection.in_atomic_block:
            return
        # What came while we looked was kept by psycopg and ends the waiting at once.
        with connection.wrap_database_errors:
            for _ in connection.connection.notifies(timeout=seconds, stop_after=1):
                pass


def _insist(action: Callable[[], object]) -> None:
    deadline = time.monotonic() + ACKNOWLEDGE_SECONDS
    while True:
        try:
            action()
            return
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(AWAY_SECONDS)
