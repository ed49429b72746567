"""Keeping a lease while the worker itself is busy: copying a large input, hashing a large output."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from django.db import InterfaceError, OperationalError, connection

from config.database.identity import workspace_as_system


class Heart:
    """Beats inside a ``with`` block, in a thread with a connection of its own.

    Parameters
    ----------
    beat
        One beat, in the workspace ``schema_name``; tells whether another is wanted.
    pause_s
        Between two of them.
    """

    def __init__(self, schema_name: str, beat: Callable[[], bool], *, pause_s: float) -> None:
        self._schema_name = schema_name
        self._beat = beat
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            # Before anything is forked.
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_s):
                try:
                    with workspace_as_system(self._schema_name):
                        if not self._beat():
                            return
                except (OperationalError, InterfaceError):
                    connection.close()
        finally:
            connection.close()
