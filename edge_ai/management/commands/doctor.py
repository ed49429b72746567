"""Look at every part of a studio, for an operator or a monitor."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from edge_ai.services.doctor import State, examine

MARKS = {State.OK: "ok     ", State.WARNING: "warning", State.ERROR: "ERROR  "}


class Command(BaseCommand):
    """``manage.py doctor`` and ``manage.py doctor --json``."""

    requires_system_checks = ()  # it has to say something even where these fail
    help = (
        "Say how the studio is: database, roles, migrations, queues and their workers, sandbox, clock, storage, disk, "
        "converters. The exit status is 1 when something is an error, else 0. The embedded database is started if need be."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="One JSON object {status, findings} for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = examine()
        failed = any(finding.state is State.ERROR for finding in findings)
        if options["json"]:
            status = State.ERROR if failed else max((f.state for f in findings), key=list(State).index)
            self.stdout.write(json.dumps({"status": status, "findings": [asdict(f) for f in findings]}, indent=2))
        else:
            width = max(len(finding.check) for finding in findings)
            for finding in findings:
                self.stdout.write(f"{MARKS[finding.state]}  {finding.check:{width}}  {finding.detail}")
        if failed:
            sys.exit(1)
