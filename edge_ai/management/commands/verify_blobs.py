"""Hash every stored file again, and mend what can be."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from accounts.models import Workspace
from config.database.identity import acting_as_system, workspace_as_system
from edge_ai.engine.errors import EngineError
from edge_ai.services import blobs
from edge_ai.services.blob_checks import Report, verify
from edge_ai.services.schemas import complete_schemas


class Command(BaseCommand):
    """``manage.py verify_blobs [--workspace SLUG] [--repair] [--from BACKEND] [--json]``."""

    requires_system_checks = ()  # the web processes run them; here they would only cost time
    help = (
        "Hash every stored file of every workspace again, and tell what is missing, damaged, of another size than its row "
        "says, or meant by no row. Safe while the studio runs. The exit status is 1 when something is wrong, and stays so."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", metavar="SLUG", help="Of this workspace only.")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="Replace files from another storage that has them right, put damaged ones aside, correct sizes, and remove "
            "files that nothing has meant for an hour.",
        )
        parser.add_argument(
            "--from",
            dest="source",
            metavar="BACKEND",
            choices=settings.STORAGE_BACKENDS,
            help="A further storage that may have the files, by its settings: local, s3, gcs or azure.",
        )
        parser.add_argument("--json", action="store_true", help="One JSON object {workspaces, wrong} for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
        spare = {options["source"]: blobs.named(options["source"])} if options["source"] else {}
        reports: dict[str, Report] = {}
        try:
            for slug, schema_name in self._workspaces(options["workspace"]):
                with workspace_as_system(schema_name):
                    reports[slug] = verify(repair=options["repair"], spare=spare)
                if not options["json"]:
                    self._tell(slug, reports[slug])
        except EngineError as error:
            raise CommandError(f"{error.message} {error.fix}") from error
        wrong = sum(report.wrong for report in reports.values())
        if options["json"]:
            told = [{"workspace": slug} | asdict(report) for slug, report in reports.items()]
            self.stdout.write(json.dumps({"workspaces": told, "wrong": wrong}, indent=2))
        if wrong:
            sys.exit(1)

    def _workspaces(self, slug: str | None) -> list[tuple[str, str]]:
        with acting_as_system():
            rows = Workspace.objects.filter(schema_name__in=complete_schemas()).order_by("slug")
            found = list((rows.filter(slug=slug) if slug else rows).values_list("slug", "schema_name"))
        if slug and not found:
            raise CommandError(f"There is no workspace {slug}.")
        return found

    def _tell(self, slug: str, report: Report) -> None:
        said = f"{report.wrong} wrong" if report.wrong else "all as it should be"
        self.stdout.write(f"{slug}: {report.blobs} files, {report.size_bytes / 1e6:.1f} MB, {said}.")
        for each in report.findings:
            self.stdout.write(f"  {each.trouble}  {each.place}:{each.name}  {each.detail}")
            for row in each.rows:
                self.stdout.write(f"    needed by {row}")
            if each.repaired:
                self.stdout.write(f"    {each.repaired}")
