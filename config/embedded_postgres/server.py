"""Start, find and stop the server of a data folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from config.embedded_postgres import guard, locks, processes
from config.embedded_postgres.installation import Account, Installation, choose_account, choose_installation
from config.embedded_postgres.layout import (
    ADMIN_USER,
    PORT,
    EmbeddedPostgresError,
    Layout,
    create_private,
    make_password,
    read_password,
    tail,
)
from config.embedded_postgres.processes import ShutdownMode, State

# Longer than crash recovery of a small database takes on a slow disk.
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
LOG_FILE_KB = 5 * 1024

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    # Web threads, queue workers and commands keep their connections open.
    "max_connections": "200",
    "log_min_duration_statement": "1000",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "idle_in_transaction_session_timeout": "15min",
    "logging_collector": "on",
    "log_filename": "postgresql-%Y%m%d-%H%M%S.log",
    "log_rotation_age": "0",
    "log_rotation_size": f"{LOG_FILE_KB}kB",
    "log_truncate_on_rotation": "off",
}
UNSAFE_IN_SHELL = frozenset('"$`\\\n')
# For tests: a power cut may lose everything. A server that is killed still loses nothing that was committed.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a running server is reached and how the administrator signs in."""

    socket_dir: Path
    port: int
    admin_user: str
    admin_password: str = field(repr=False)


def ensure(data_dir: Path, *, fast: bool = False, grace_s: float = 5.0) -> Server:
    """Return the server of ``data_dir``, started first when it does not run.

    Parameters
    ----------
    data_dir
        Folder for the data and everything else the server needs; made when missing.
    fast
        Do not wait for the disk, for tests. Counts only for the call that starts the server.
    grace_s
        Seconds that the server runs on after its last user has gone. Counts only for the call that starts the guard.

    From the first call on this process counts as a user of the server, until it ends. Calls from many processes,
    threads and forked children are safe; a call while the server runs costs one round trip to it.

    Raises
    ------
    EmbeddedPostgresError
        When there is no server to run, or it does not start.
    """
    layout = Layout.of(data_dir)
    with locks.process_lock, _errors_in_words(layout):
        server = _attach(layout, grace_s)
        if server is not None:
            return server
        _prepare_base(layout)
        locks.join_users(layout.users_lock, timeout_s=STOP_TIMEOUT_S + START_TIMEOUT_S)
        with locks.exclusive(layout.start_lock, timeout_s=STOP_TIMEOUT_S + START_TIMEOUT_S):
            server = _attach(layout, grace_s)
            if server is not None:
                return server
            _start(layout, fast=fast)
            server = _attach(layout, grace_s)
    if server is None:
        raise EmbeddedPostgresError(f"PostgreSQL started and then went away.{_log_tails(layout)}")
    return server


def stop(data_dir: Path, *, mode: ShutdownMode = "fast") -> None:
    """Stop the server of ``data_dir`` if it runs; the next :func:`ensure` starts it again."""
    layout = Layout.of(data_dir)
    if not layout.base.exists():
        return
    timeout_s = STOP_TIMEOUT_S + START_TIMEOUT_S
    with locks.process_lock, _errors_in_words(layout), locks.exclusive(layout.start_lock, timeout_s=timeout_s):
        password = read_password(layout)
        if password is not None:
            processes.shut_down(layout, layout.cluster_name(password), mode, timeout_s=STOP_TIMEOUT_S)


def is_running(data_dir: Path) -> bool:
    """Tell whether the server of ``data_dir`` takes connections."""
    layout = Layout.of(data_dir)
    with _errors_in_words(layout):
        return read_password(layout) is not None and processes.probe(layout.sockets) is State.READY


@contextmanager
def _errors_in_words(layout: Layout) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        _check_owner(layout)
        raise EmbeddedPostgresError(f"The database folder {layout.base} cannot be used: {error}.") from error
    except OSError as error:
        raise EmbeddedPostgresError(f"The database folder {layout.base} cannot be used: {error}.") from error


def _check_owner(layout: Layout) -> None:
    with contextlib.suppress(OSError):
        owner = layout.base.stat().st_uid
        if os.geteuid() not in {0, owner}:
            raise EmbeddedPostgresError(
                f"The database folder {layout.base} belongs to {_account_name(owner)}, and this process runs as "
                f"{_account_name(os.geteuid())}. Run it as {_account_name(owner)}, or use another data folder."
            ) from None


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _attach(layout: Layout, grace_s: float) -> Server | None:
    """Return the server if it runs, as one of its users."""
    try:
        locks.join_users(layout.users_lock, timeout_s=STOP_TIMEOUT_S + START_TIMEOUT_S)
    except FileNotFoundError:
        return None
    password = read_password(layout)
    if password is None or processes.probe(layout.sockets) is not State.READY:
        return None
    if layout.sockets.parent != layout.base:
        _check_folder(layout.sockets, layout.pgdata.stat().st_uid)
    guard.post(layout, layout.cluster_name(password), grace_s)
    return Server(socket_dir=layout.sockets, port=PORT, admin_user=ADMIN_USER, admin_password=password)


def _check_folder(folder: Path, uid: int) -> None:
    """Refuse a folder that is not the server's: in ``/tmp`` anybody could put one in its place."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        raise EmbeddedPostgresError(
            f"{folder} should be a folder of {_account_name(uid)}, and belongs to {_account_name(found.st_uid)}. "
            "Remove it; it holds no data, and is made again."
        )


def _prepare_base(layout: Layout) -> None:
    if UNSAFE_IN_SHELL.intersection(str(layout.base)):
        raise EmbeddedPostgresError(
            f"The database folder {layout.base} cannot be used: pg_ctl hands its path to a shell without protecting "
            "quotation marks, dollar signs, backquotes, backslashes and line breaks."
        )
    layout.base.mkdir(parents=True, exist_ok=True)
    # Another account, which runs the server for root, passes through the folder without seeing what is in it.
    shared = os.geteuid() == 0 and layout.base.stat().st_uid == 0
    layout.base.chmod(0o711 if shared else 0o700)


def _start(layout: Layout, *, fast: bool) -> None:
    """Start the server; the caller holds the start lock."""
    password = read_password(layout)
    if password is not None and _wait_for_settled(layout, layout.cluster_name(password)):
        return
    installation = choose_installation(layout)
    account = choose_account(installation, layout)
    initialised = (layout.pgdata / "PG_VERSION").exists()
    if password is None:
        if initialised:
            raise EmbeddedPostgresError(
                f"{layout.password} is missing, and without it nobody can sign in to the data in {layout.pgdata}. "
                "Put the file back from a backup, or move the folder away to begin with an empty database."
            )
        password = make_password(layout)
    cluster = layout.cluster_name(password)
    _make_folder(layout.log, account)
    if not initialised:
        _initialise(layout, installation, account, password, fast=fast)
    if processes.can_list_processes():
        _clear_remains(layout, account, cluster)
    _make_folder(layout.sockets, account)
    _launch(layout, installation, account, cluster, fast=fast)


def _wait_for_settled(layout: Layout, cluster: str) -> bool:
    """Wait while a server starts or stops by itself; tell whether it is ready."""
    if not processes.can_list_processes():
        return False

    def settled() -> bool:
        return processes.probe(layout.sockets) is State.READY or processes.find(layout, cluster).postmaster is None

    found = processes.find(layout, cluster).postmaster
    if found is None:
        return False
    # Without a socket there is nothing to wait for but the moments of starting and stopping.
    patience_s = 15 if processes.probe(layout.sockets) is State.ABSENT else START_TIMEOUT_S
    if not processes.wait_until(settled, patience_s):
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL runs (process {found}) but does not answer on {layout.sockets}: "
            f"it hangs, or its socket was removed. Stop it: python -m config.embedded_postgres stop "
            f"{shlex.quote(str(layout.base))}{_log_tails(layout)}"
        )
    return processes.probe(layout.sockets) is State.READY


def _make_folder(folder: Path, account: Account) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account.uid != os.geteuid():
            descriptor = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchown(descriptor, account.uid, account.gid)
            finally:
                os.close(descriptor)
    _check_folder(folder, account.uid)


def _initialise(layout: Layout, installation: Installation, account: Account, password: str, *, fast: bool) -> None:
    """Make an empty cluster beside its place and move it there whole, so that a crash leaves no half of one."""
    draft, secret = layout.base / "pgdata.new", layout.base / "initdb.password"
    shutil.rmtree(draft, ignore_errors=True)
    secret.unlink(missing_ok=True)
    _make_folder(draft, account)
    descriptor = create_private(secret)
    try:
        os.write(descriptor, password.encode())
        if account.uid != os.geteuid():
            os.fchown(descriptor, account.uid, account.gid)
        # From version 17 on PostgreSQL brings a Unicode locale that no update of the operating system changes.
        locale = (
            ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if installation.major >= 17
            else ["--locale=C.UTF-8"]
        )
        command = [
            "--username",
            ADMIN_USER,
            "--pwfile",
            str(secret),
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
        ]
        made = account.run(
            installation.binaries / "initdb",
            "--pgdata",
            draft,
            *command,
            *(["--no-sync"] if fast else []),
            timeout_s=START_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(f"initdb did not end within {START_TIMEOUT_S} s.") from error
    finally:
        os.close(descriptor)
        secret.unlink(missing_ok=True)
    if made.returncode != 0:
        raise EmbeddedPostgresError(
            f"PostgreSQL could not make its data folder.\n{made.stdout}\n{made.stderr}".rstrip()
        )
    if layout.pgdata.exists():
        layout.pgdata.rmdir()
    draft.rename(layout.pgdata)


def _clear_remains(layout: Layout, account: Account, cluster: str) -> None:
    """Remove what a killed server has left; only called when it is known not to run.

    PostgreSQL looks at the process number in these files, and takes a zombie, or an unrelated process of the same
    account that got the number after a reboot, for a running server.
    """
    processes.remove_orphans(layout, cluster)
    (layout.pgdata / "postmaster.pid").unlink(missing_ok=True)
    if layout.sockets.parent == layout.base:
        shutil.rmtree(layout.sockets, ignore_errors=True)
    elif layout.sockets.exists():
        _check_folder(layout.sockets, account.uid)
        for remain in layout.sockets.glob(".s.PGSQL.*"):
            remain.unlink(missing_ok=True)


def _launch(layout: Layout, installation: Installation, account: Account, cluster: str, *, fast: bool) -> None:
    """Start the server detached; ``pg_ctl`` gives it a session and standard streams of its own."""
    guard.prune_logs(layout)
    first_words = layout.log / "start.log"
    first_words.unlink(missing_ok=True)
    quoted = '"' + str(layout.sockets).replace('"', '""') + '"'  # the setting is a list separated by commas
    settings = SETTINGS | {
        "cluster_name": cluster,
        "unix_socket_directories": quoted,
        "log_directory": str(layout.log),
    }
    if fast:
        settings |= FAST_SETTINGS
    # On the command line instead of in the data folder: a newer release of this project changes them by a restart.
    options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
    try:
        started = account.run(
            installation.binaries / "pg_ctl",
            *("start", "--wait", "--silent", "--timeout", str(START_TIMEOUT_S)),
            *("--pgdata", layout.pgdata, "--log", first_words, "--options", options),
            timeout_s=START_TIMEOUT_S + 10,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(f"PostgreSQL did not start in {START_TIMEOUT_S} s.{_log_tails(layout)}") from error
    if started.returncode != 0:
        said = f"{started.stdout}\n{started.stderr}".strip()
        raise EmbeddedPostgresError(f"PostgreSQL did not start from {layout.pgdata}.\n{said}{_log_tails(layout)}")


def _log_tails(layout: Layout) -> str:
    newest = sorted(layout.log.glob("postgresql-*.log"))[-1:]
    parts = [f"\n--- {path} ---\n{tail(path)}" for path in (layout.log / "start.log", *newest) if path.exists()]
    return "".join(parts)
