"""Write the parts of the documentation that the code knows best: settings, error codes, commands, endpoints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError, CommandParser
from drf_spectacular.generators import SchemaGenerator

from config import env
from config.errors import status_of
from edge_ai.engine.errors import CODES

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


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "commands.md": commands_page,
    "endpoints.md": endpoints_page,
}


class Command(BaseCommand):
    """``manage.py document`` and, for CI, ``manage.py document --check``."""

    help = "Write docs/settings.md, docs/errors.md, docs/commands.md and docs/endpoints.md from the code."

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
