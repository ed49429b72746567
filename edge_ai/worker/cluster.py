"""A queue cluster in a process of its own: ``python -m edge_ai.worker.cluster``, which the supervisor starts.

It is django-q2's cluster with three things changed: what its processes share survives their being killed, each of them
ends with the one that started it, and each is known by its role. ``Q_CLUSTER_NAME`` says which queue it serves.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from edge_ai.worker.family import Role, forks_end_with_their_parents, take_role
from edge_ai.worker.parts import Flag, Mailbox, Timer


def adapt(cluster: Any) -> None:
    """Put our parts into ``django_q.cluster``, which finds them, and what its processes do, by name."""
    cluster.Queue, cluster.Event, cluster.Value = Mailbox, Flag, Timer
    cluster.Sentinel = _in_role(Role.SENTINEL, cluster.Sentinel)
    cluster.worker = _in_role(Role.WORKER, cluster.worker)
    cluster.pusher = _in_role(Role.PUSHER, cluster.pusher)
    cluster.monitor = _in_role(Role.MONITOR, cluster.monitor)


def _in_role(role: Role, work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work, updated=())
    def in_role(*arguments: Any) -> Any:
        take_role(role)
        return work(*arguments)

    return in_role


def main() -> None:
    """Run until told to stop by SIGTERM."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django_q import cluster

    take_role(Role.CLUSTER)
    forks_end_with_their_parents()
    adapt(cluster)
    cluster.Cluster().start()


if __name__ == "__main__":
    main()
