"""PostgreSQL without any setup: a server of our own in a folder, started when first needed.

It listens only on a Unix socket, asks everybody for a password, and stops soon after the last process that used it is
gone. Nothing here imports Django, nor the package that brings the binaries.
"""

from __future__ import annotations

from config.embedded_postgres.layout import EmbeddedPostgresError, socket_dir
from config.embedded_postgres.server import Server, ensure, is_running, stop

__all__ = ["EmbeddedPostgresError", "Server", "ensure", "is_running", "socket_dir", "stop"]
