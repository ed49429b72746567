"""`edgeai`: every command, and what it ends with."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from edge_ai_studio._sync.client import Studio
from edge_ai_studio.cli import commands, gating
from edge_ai_studio.cli.completion import script_for
from edge_ai_studio.cli.output import tell
from edge_ai_studio.cli.parser import make_parser
from edge_ai_studio.errors import (
    AnalysisFailed,
    Corrupt,
    JobFailed,
    NoSuchName,
    NotAuthenticated,
    NotConfigured,
    Refused,
    StudioError,
    Unreachable,
    WaitedTooLong,
)

COMMANDS: dict[str, Callable[[Studio, argparse.Namespace], int | None]] = {
    "me": commands.me,
    "devices": commands.devices,
    "models": commands.models,
    "datasets": commands.datasets,
    "upload": commands.upload,
    "analyze": commands.analyze,
    "optimize": commands.optimize,
    "benchmark": commands.benchmark,
    "compare": commands.compare,
    "diagnose": commands.diagnose,
    "package": commands.package,
    "batch": commands.batch,
    "download": commands.download,
    "jobs": commands.jobs,
    "webhooks": commands.webhooks,
    "gate": gating.gate,
}

#: A model that is refused at first sight; most are read by a worker, and fail as :class:`AnalysisFailed`.
NO_MODEL = frozenset({"model_unreadable", "model_unsafe"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; the statuses are :data:`edge_ai_studio.cli.parser.EXITS`."""
    parser = make_parser()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to fail
    given = parser.parse_args(arguments)
    try:
        if given.command == "completion":
            sys.stdout.write(script_for(given.shell, parser))
            return 0
        if given.command == "login":
            return commands.login(given)
        if given.command == "logout":
            return commands.logout(given)
        with Studio(given.url, given.key) as studio:
            status = COMMANDS[given.command](studio, given) or 0
        sys.stdout.flush()
        return status
    except StudioError as error:
        tell(f"edgeai: {error}")
        return _status_of(error)
    except BrokenPipeError:
        # Whoever read it, such as `head`, has seen enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        tell(f"edgeai: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 2
    except KeyboardInterrupt:
        tell("edgeai: interrupted. Jobs that were begun go on: see `edgeai jobs`.")
        return 130


def _status_of(error: StudioError) -> int:
    if isinstance(error, NotConfigured) or (isinstance(error, NotAuthenticated) and error.by_studio):
        return 8
    if isinstance(error, Refused):
        if error.code in NO_MODEL:
            return 4
        return 3 if error.by_studio and error.status < 500 else 5
    kinds: dict[type[StudioError], int] = {
        AnalysisFailed: 4,
        JobFailed: 4,
        Unreachable: 5,
        Corrupt: 5,
        WaitedTooLong: 6,
        NoSuchName: 7,
    }
    return kinds.get(type(error), 2)


if __name__ == "__main__":
    sys.exit(main())
