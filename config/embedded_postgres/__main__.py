"""``python -m config.embedded_postgres start|stop|status DATA_DIR``: the embedded server by hand."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from config.embedded_postgres import EmbeddedPostgresError, ensure, guard, is_running, stop
from config.embedded_postgres.layout import Layout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m config.embedded_postgres", description="The embedded PostgreSQL.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="start|stop|status")
    for name, what in (
        ("start", "start it; it stops again when nobody has used it for the grace period"),
        ("stop", "stop it"),
        ("status", "tell whether it runs; exit status 3 when it does not"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("data_dir", type=Path, metavar="DATA_DIR")
        if name == "start":
            command.add_argument("--grace", type=float, default=5.0, metavar="SECONDS")
            command.add_argument("--hold", action="store_true", help="stay, and keep it running, until interrupted")
        if name == "stop":
            command.add_argument("--mode", choices=("smart", "fast", "immediate"), default="fast")
    internal = commands.add_parser("guard")
    internal.add_argument("data_dir", type=Path)
    internal.add_argument("--grace", type=float, required=True)
    internal.add_argument("--cluster", required=True)
    internal.add_argument("--lock", type=int, required=True)
    return parser


def main() -> int:
    """Do what the command line says."""
    given = _parser().parse_args()
    try:
        if given.command == "guard":
            guard.run(Layout.of(given.data_dir), given.cluster, given.grace, given.lock)
        elif given.command == "stop":
            stop(given.data_dir, mode=given.mode)
        elif given.command == "status":
            running = is_running(given.data_dir)
            print("running" if running else "not running")
            return 0 if running else 3
        else:
            server = ensure(given.data_dir, grace_s=given.grace)
            print(f"host={server.socket_dir} port={server.port} user={server.admin_user}", flush=True)
            if given.hold:
                signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except EmbeddedPostgresError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
