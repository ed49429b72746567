"""Run a queue cluster under supervision: the worker process of the Procfile."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from edge_ai.checks import sandbox_settings
from edge_ai.worker.supervisor import Supervisor


class Command(BaseCommand):
    """``manage.py supervise studio`` and ``manage.py supervise benchmark``."""

    requires_system_checks = ()  # the web process runs them; here they would only cost time
    help = "Keep a queue cluster running: restart it when it dies or stands still, rescue jobs of lost workers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", choices=settings.QUEUES, help="Which queue's jobs to run.")
        parser.add_argument(
            "--grace",
            type=float,
            default=settings.JOB_GRACE_SECONDS,
            metavar="SECONDS",
            help="How long jobs may go on after SIGTERM, if not as long as JOB_GRACE_SECONDS says.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for message in sandbox_settings():
            self.stderr.write(f"WARNING: {message.msg} {message.hint}")
        Supervisor(options["queue"], grace_seconds=options["grace"]).run()
