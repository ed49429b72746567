"""Where the parts of an embedded server lie, and the private files it keeps."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

ADMIN_USER = "studio_admin"
PORT = 5432  # only a part of the socket's name: the server listens on no network port
MAX_SOCKET_PATH_BYTES = 107  # sun_path holds 108 with its closing zero


class EmbeddedPostgresError(RuntimeError):
    """The embedded server cannot be used; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of one data folder.

    The folder itself belongs to the account that runs the studio. ``pgdata``, ``log`` and the socket folder belong to
    the account that runs the server, which is another one when the studio runs as root.
    """

    base: Path
    pgdata: Path
    log: Path
    sockets: Path
    password: Path
    users_lock: Path
    start_lock: Path
    guard_lock: Path
    guard_log: Path

    @classmethod
    def of(cls, data_dir: Path) -> Layout:
        """Return the layout of ``data_dir``, which need not exist; every path to one folder gives the same answer."""
        base = data_dir.expanduser().resolve()
        return cls(
            base=base,
            pgdata=base / "pgdata",
            log=base / "log",
            sockets=socket_dir(base),
            password=base / "password",
            users_lock=base / "users.lock",
            start_lock=base / "start.lock",
            guard_lock=base / "guard.lock",
            guard_log=base / "guard.log",
        )

    def cluster_name(self, password: str) -> str:
        """Return the name that every process of this server carries in its title.

        The random password keeps it apart from a server whose folder was deleted and made again, or that runs in a
        container under the same path; the path keeps it apart from a copy of this folder.
        """
        return "studio-" + hashlib.sha256(f"{password}\0{self.base}".encode()).hexdigest()[:16]


def socket_dir(data_dir: Path) -> Path:
    """Return the folder of the server's Unix socket: ``run`` in the data folder, else one in ``/tmp`` named after it.

    Inside the data folder the socket is seen wherever the data is (systemd's PrivateTmp, containers that share a
    volume), no cleaner of temporary files removes it, and no other account can take its name. It holds for root as
    well: whoever runs the server has to reach the data folder anyway. Only a path that is too long for a socket, or has
    a comma, which libpq takes for the next host, leads to ``/tmp``. Environment variables (XDG_RUNTIME_DIR, TMPDIR)
    have no say, because cron, sudo and a login shell set them differently.
    """
    base = data_dir.expanduser().resolve()
    inside = base / "run"
    if len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= MAX_SOCKET_PATH_BYTES and "," not in str(inside):
        return inside
    tag = hashlib.sha256(os.fsencode(base)).hexdigest()[:16]
    return Path("/tmp") / f"studio-pg-{tag}"  # noqa: S108 - its owner is checked before every use


def open_private(path: Path) -> int:
    """Open ``path`` for reading and writing, made when missing, for its owner only."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        return create_private(path)
    except FileExistsError:
        return os.open(path, flags)


def create_private(path: Path) -> int:
    """Make ``path``, which must not exist, for its owner only.

    A file that root makes in somebody's folder goes to that somebody, who could not use the folder any more otherwise.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def read_password(layout: Layout) -> str | None:
    """Return the administrator's password, or nothing when none was made yet."""
    try:
        return layout.password.read_text().strip() or None
    except FileNotFoundError:
        return None


def make_password(layout: Layout) -> str:
    """Make the administrator's password; readers see either no file or a whole one."""
    password = secrets.token_urlsafe(32)
    draft = layout.base / "password.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(create_private(draft), "w") as stream:
        stream.write(password)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(layout.password)
    return password


def tail(path: Path, size_bytes: int = 2000) -> str:
    """Return the end of a text file, or nothing when it cannot be read."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - size_bytes))
            return stream.read().decode(errors="replace").strip()
    except OSError:
        return ""
