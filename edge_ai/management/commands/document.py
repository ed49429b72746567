"""Write what the code knows best: settings, error codes, commands, endpoints, actions, events, permissions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.admindocs.views import simplify_regex
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError, CommandParser
from drf_spectacular.generators import SchemaGenerator

from config import env
from config.addresses import addresses
from config.errors import status_of
from config.permissions import PREFIXES, TABLE
from edge_ai.engine.errors import CODES
from edge_ai.services.audit import ACTIONS
from edge_ai.services.telemetry import EVENTS

OURS = ("accounts", "edge_ai", "edge_ai.catalogue", "edge_ai.fleet")
NOTE = "<!-- Written by `manage.py document`. Change the code, then run it again. -->\n"


def settings_page() -> str:
    """Every environment variable that the studio reads."""
    lines = [
        "# Settings\n",
        NOTE,
        "All settings come from the environment. "
        "A value that cannot be read stops the process with a sentence that names it.\n",
        "| Variable | Kind | Default | What it does |",
        "| --- | --- | --- | --- |",
    ]
    for item in sorted(env.DECLARED.values(), key=lambda declared: declared.name):
        default = f"`{item.default}`" if item.default else "–"
        lines.append(f"| `{item.name}` | {item.kind} | {default} | {item.help} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every error code."""
    lines = [
        "# Errors\n",
        NOTE,
        "Every refusal and every failed job carries one of these codes. Over HTTP it comes as "
        "`application/problem+json` (RFC 9457) with the status given here; on a job or a model it is in `error.code`.\n",
    ]
    for code, about in sorted(CODES.items()):
        lines += [
            f'<a id="{code}"></a>\n',
            f"## `{code}`\n",
            f"**{about.title}** (HTTP {status_of(code)}). {about.meaning}\n",
            f"*What to do:* {about.fix}\n",
        ]
    return "\n".join(lines)


def commands_page() -> str:
    """Every management command of ours."""
    lines = ["# Commands\n", NOTE, "Run them as `python manage.py NAME`; `--help` tells all options.\n"]
    for name, app in sorted(get_commands().items()):
        if app not in OURS:
            continue
        command = load_command_class(str(app), name)
        parser = argparse.ArgumentParser(prog=f"manage.py {name}", add_help=False)
        adder: Any = parser
        command.add_arguments(adder)
        lines += [f"## `{name}`\n", f"{command.help}\n"]
        for action in parser._actions:
            flag = ", ".join(action.option_strings) or (
                action.metavar if isinstance(action.metavar, str) else action.dest
            )
            lines.append(f"- `{flag}`: {action.help or ''}")
        if parser._actions:
            lines.append("")
    return "\n".join(lines)


def endpoints_page() -> str:
    """Every endpoint, from the OpenAPI description."""
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]  # drf-spectacular leaves it without types
    schema = generator.get_schema(request=None, public=True)
    lines = [
        "# API endpoints\n",
        NOTE,
        "The whole contract, with fields and examples, is at `/api/docs/` and, for programs, at `/api/schema/`.\n",
        "| Method | Path | What it does |",
        "| --- | --- | --- |",
    ]
    for path, verbs in sorted(schema["paths"].items()):
        for verb, operation in verbs.items():
            if verb in {"get", "post", "patch", "put", "delete"}:
                summary = operation.get("summary") or operation.get("description", "").split("\n")[0]
                lines.append(f"| {verb.upper()} | `{path}` | {summary} |")
    return "\n".join(lines) + "\n"


def permissions_page() -> str:
    """Who may do what, address by address."""
    lines = [
        "# Permissions\n",
        NOTE,
        "What each address takes at the least: a role in the workspace, for the API also a scope of the key, and whose rows it "
        "is about. Each role includes the smaller ones: owner, admin, member, viewer. Rows that one may not see are "
        "not found, whatever the role. What a role means, [Members](members.md) says.\n",
        "`public` needs no account; `signed in` no workspace; `staff` are the operator's people in the admin site, where their "
        "permissions decide.\n",
    ]
    # Some of allauth's are regular expressions.
    found = {each.name: simplify_regex(each.path) if "(?P" in each.path else each.path for each in addresses()}
    for title, api in (("Pages", False), ("API", True)):
        scope_head, scope_line = (" Key's scope |", " --- |") if api else ("", "")
        lines += [
            f"## {title}\n",
            f"| Address | Verb | Least |{scope_head} Rows |",
            f"| --- | --- | --- |{scope_line} --- |",
        ]
        for name, verbs in TABLE.items():
            if (name.startswith("api:")) is not api:
                continue
            for verb, rule in verbs.items():
                scope = f" {rule.scope or '–'} |" if api else ""
                lines.append(f"| `{found[name]}` | {verb} | {rule.least} |{scope} {rule.rows or '–'} |")
        if not api:
            lines += [f"| `/{prefix.rstrip(':')}/…` | all | {rule.least} | – |" for prefix, rule in PREFIXES.items()]
        lines.append("")
    return "\n".join(lines)


def audit_actions_page() -> str:
    """Every action of the audit trail."""
    lines = [
        "# Actions of the audit trail\n",
        NOTE,
        "What [the audit trail](audit.md) can say, as `action`. What stands before the dot is its `object_type`.\n",
        "| Action | What happened |",
        "| --- | --- |",
        *(f"| `{action}` | {words} |" for action, words in sorted(ACTIONS.items())),
    ]
    return "\n".join(lines) + "\n"


def telemetry_events_page() -> str:
    """Every event of use that is counted."""
    lines = [
        "# Events of use\n",
        NOTE,
        "What the studio counts ([Telemetry](telemetry.md)), and what each says besides who and when. Anything else is refused "
        "where it would be written.\n",
        "| Event | When | Properties |",
        "| --- | --- | --- |",
    ]
    for event, counted in EVENTS.items():
        said = "; ".join(f"`{name}`: {words}" for name, words in counted.properties.items()) or "–"
        lines.append(f"| `{event.value}` | {counted.meaning} | {said} |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "commands.md": commands_page,
    "endpoints.md": endpoints_page,
    "permissions.md": permissions_page,
    "audit-actions.md": audit_actions_page,
    "telemetry-events.md": telemetry_events_page,
}


class Command(BaseCommand):
    """``manage.py document`` and, for CI, ``manage.py document --check``."""

    help = "Write the pages of docs/ that the code knows best: settings, errors, commands, endpoints, permissions, and more."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="Write nothing; fail when a page is not up to date.")

    def handle(self, *args: Any, **options: Any) -> None:
        stale = []
        for name, page in PAGES.items():
            path = settings.BASE_DIR / "docs" / name
            text = page().rstrip() + "\n"
            if path.is_file() and path.read_text() == text:
                continue
            if options["check"]:
                stale.append(name)
            else:
                path.write_text(text)
                self.stdout.write(f"Wrote docs/{name}")
        if stale:
            raise CommandError(f"Not up to date: {', '.join(stale)}. Run `make docs`.")
