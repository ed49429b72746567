"""The embedded server, with real servers, real processes and real kills."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg
import pytest

from config.embedded_postgres import EmbeddedPostgresError, Server, ensure, is_running, processes, socket_dir, stop
from config.embedded_postgres.layout import MAX_SOCKET_PATH_BYTES, Layout

PROJECT = Path(__file__).resolve().parents[2]
GRACE_S = 0.5
#: For what comes after the grace, on a machine that is busy with other tests.
PATIENCE_S = 60
AS_ROOT = os.geteuid() == 0

# A process that uses the server until its standard input ends. Arguments: data folder, grace period.
USER = """
import json, sys
from pathlib import Path
from config.embedded_postgres import ensure
server = ensure(Path(sys.argv[1]), fast=True, grace_s=float(sys.argv[2]))
print(json.dumps([str(server.socket_dir), server.admin_password]), flush=True)
sys.stdin.read()
"""


def connect(server: Server, **changes: str) -> psycopg.Connection[tuple[Any, ...]]:
    address = {"user": server.admin_user, "password": server.admin_password, "dbname": "postgres"} | changes
    conninfo = psycopg.conninfo.make_conninfo(host=str(server.socket_dir), port=server.port, **address)
    return psycopg.connect(conninfo, autocommit=True)


def server_processes(folder: Path) -> processes.Processes:
    layout = Layout.of(folder)
    if not layout.password.exists():
        return processes.Processes(postmaster=None, children=())
    return processes.find(layout, layout.cluster_name(layout.password.read_text()))


def postmaster(folder: Path) -> int:
    pid = server_processes(folder).postmaster
    assert pid is not None
    return pid


def guards(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"guard" in arguments and bytes(folder) in arguments:
                found.append(int(entry.name))
    return found


def kill_hard(folder: Path) -> None:
    """Kill the postmaster as the system does when it runs out of memory."""
    pid = postmaster(folder)
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_until(lambda: server_processes(folder).postmaster != pid, PATIENCE_S)


def start_user(
    folder: Path, script: str = USER, *, python: str = sys.executable, **options: Any
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-c", script, str(folder), str(GRACE_S)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def wait_for_server(process: subprocess.Popen[str]) -> Server:
    line = stream(process.stdout).readline()
    assert line, stream(process.stderr).read()
    folder, password = json.loads(line)
    return Server(socket_dir=Path(folder), port=5432, admin_user="studio_admin", admin_password=password)


@contextmanager
def using(folder: Path, script: str = USER, **options: Any) -> Iterator[tuple[subprocess.Popen[str], Server]]:
    """Use the server in another process for a while."""
    process = start_user(folder, script, **options)
    try:
        yield process, wait_for_server(process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def temporary_home(mode: int = 0o755) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="studio pg "))
    home.chmod(mode)
    try:
        yield home
    finally:
        for folder in (path.parent for path in home.rglob("password")):
            stop(folder, mode="immediate")
        shutil.rmtree(home)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that does not exist yet; its path has a space, as people's folders do."""
    with temporary_home() as home:
        yield home / "var" / "postgres"


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """The data folder of a server that the tests which change nothing share."""
    with temporary_home() as home:
        yield home / "postgres"


class TestSocketDir:
    def test_is_in_the_data_folder(self, tmp_path: Path) -> None:
        assert socket_dir(tmp_path / "pg") == tmp_path / "pg" / "run"
        assert not (tmp_path / "pg").exists()

    @pytest.mark.parametrize("name", ["x" * 100, "ü" * 50, "a,b"])
    def test_a_path_that_no_socket_can_have_leads_elsewhere(self, name: str) -> None:
        found = socket_dir(Path("/srv") / name)
        assert found.parent == Path("/tmp")
        assert len(os.fsencode(found / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH_BYTES
        assert found != socket_dir(Path("/srv") / (name + "x"))

    def test_the_longest_path_that_fits(self) -> None:
        room = MAX_SOCKET_PATH_BYTES - len("/srv/" + "/run/.s.PGSQL.5432")
        assert socket_dir(Path("/srv") / ("x" * room)) == Path("/srv") / ("x" * room) / "run"
        assert socket_dir(Path("/srv") / ("x" * (room + 1))).parent == Path("/tmp")

    def test_every_way_to_the_folder_gives_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        expected = socket_dir(tmp_path / "real")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
        monkeypatch.setenv("TMPDIR", "/elsewhere")
        assert socket_dir(Path("real")) == socket_dir(tmp_path / "link") == expected


class TestEnsure:
    def test_cold_start(self, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not is_running(shared)
        monkeypatch.setenv("PGPORT", "1")
        monkeypatch.setenv("PGDATA", "/nowhere")
        server = ensure(shared, fast=True)
        assert is_running(shared)
        assert server == ensure(shared)
        assert server.admin_password not in repr(server)
        assert (shared / "password").stat().st_mode & 0o777 == 0o600
        assert (shared / "pgdata").stat().st_mode & 0o777 == 0o700
        with connect(server) as connection:
            settings = dict(
                connection.execute(
                    "SELECT name, setting FROM pg_settings WHERE name IN ('listen_addresses', 'max_connections',"
                    " 'fsync', 'server_encoding', 'unix_socket_directories')"
                ).fetchall()
            )
            folded = connection.execute("SELECT upper('straße ä')").fetchone()
        assert settings["listen_addresses"] == ""
        assert settings["max_connections"] == "200"
        assert settings["fsync"] == "off"
        assert settings["server_encoding"] == "UTF8"
        assert settings["unix_socket_directories"].strip('"') == str(server.socket_dir)
        assert folded is not None and folded[0].endswith("Ä")

    def test_asks_for_the_password(self, shared: Path) -> None:
        server = ensure(shared, fast=True)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(server, password="guess")
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(server, password="", passfile="/nowhere")

    def test_a_running_server_is_found_quickly_and_without_any_program(
        self, shared: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ensure(shared, fast=True)

        def refuse(*arguments: object, **options: object) -> None:
            raise AssertionError(f"called {arguments} {options}")

        for module, name in ((subprocess, "run"), (subprocess, "Popen"), (os, "chmod"), (os, "chown")):
            monkeypatch.setattr(module, name, refuse)
        took_ms = []
        for _ in range(50):
            started = time.perf_counter()
            ensure(shared)
            took_ms.append((time.perf_counter() - started) * 1000)
        assert sorted(took_ms)[25] < 25

    def test_leaves_no_word_in_the_log(self, shared: Path) -> None:
        def log_size() -> int:
            return sum(path.stat().st_size for path in (shared / "log").glob("postgresql-*.log"))

        ensure(shared, fast=True)
        time.sleep(0.3)
        before = log_size()
        for _ in range(10):
            ensure(shared)
        time.sleep(0.3)
        assert log_size() == before

    def test_needs_neither_django_nor_the_package_of_the_binaries(self, shared: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from config.embedded_postgres import ensure\n"
            "ensure(Path(sys.argv[1]))\n"
            "print([name for name in sys.modules if name.startswith(('django', 'pixeltable'))])"
        )
        answer = subprocess.run(
            [sys.executable, "-c", script, str(shared)], cwd=PROJECT, capture_output=True, text=True, timeout=30
        )
        assert (answer.stdout.strip(), answer.stderr) == ("[]", "")

    def test_eight_processes_at_once_start_one_server(self, folder: Path) -> None:
        users = [start_user(folder) for _ in range(8)]
        try:
            servers = [wait_for_server(user) for user in users]
            assert len({(server.socket_dir, server.admin_password) for server in servers}) == 1
            starts = "".join(path.read_text() for path in (folder / "log").glob("postgresql-*.log"))
            assert starts.count("ready to accept connections") == 1
            assert len(guards(folder)) == 1
        finally:
            for user in users:
                user.kill()
                user.communicate()

    def test_threads(self, shared: Path) -> None:
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(lambda _: ensure(shared, fast=True), range(40)))) == 1

    def test_a_caller_that_reads_to_the_end_does_not_hang(self, folder: Path) -> None:
        command = [sys.executable, "-m", "config.embedded_postgres", "start", str(folder), "--grace", "8"]
        started = time.monotonic()
        answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
        assert time.monotonic() - started < 8
        assert str(folder / "run") in answer.stdout
        assert is_running(folder)

    def test_a_folder_deleted_under_the_server_is_made_again(self, folder: Path) -> None:
        with using(folder) as (_, first):
            shutil.rmtree(folder)
            with using(folder) as (_, second):
                assert first.admin_password != second.admin_password
                connect(second).close()


class TestAfterAKill:
    def test_the_server_comes_back_with_its_data(self, folder: Path) -> None:
        with using(folder) as (_, server):
            with connect(server) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
            # A query that keeps its process too busy to notice that the postmaster is gone.
            busy = connect(server)
            busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
            busy.pgconn.flush()
            time.sleep(0.3)
            kill_hard(folder)
            assert not is_running(folder)
            assert server_processes(folder).children
            with using(folder) as (_, again):
                assert again == server
                with connect(again) as connection:
                    assert connection.execute("SELECT value FROM kept").fetchone() == (7,)
            busy.close()

    def test_a_number_taken_by_another_process_does_not_block_the_start(self, folder: Path) -> None:
        with using(folder):
            kill_hard(folder)
            owner = (folder / "pgdata").stat()
            identity: dict[str, Any] = {}
            if AS_ROOT:
                identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
            bystander = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **identity)
            try:
                for path in (folder / "pgdata" / "postmaster.pid", folder / "run" / ".s.PGSQL.5432.lock"):
                    lines = path.read_text().splitlines()
                    path.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
                with using(folder) as (_, again):
                    connect(again).close()
                assert bystander.poll() is None
            finally:
                bystander.kill()
                bystander.wait()

    def test_a_zombie_does_not_block_the_start(self, folder: Path) -> None:
        script = """
import ctypes, os, signal, sys, time
from pathlib import Path
from config.embedded_postgres import ensure
# Orphans come to this process, which does not collect them: like a container whose first process is no init.
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
data, grace = Path(sys.argv[1]), float(sys.argv[2])
ensure(data, fast=True, grace_s=grace)
killed = int((data / "pgdata" / "postmaster.pid").read_text().split()[0])
os.kill(killed, signal.SIGKILL)
time.sleep(0.3)
state = Path(f"/proc/{killed}/stat").read_text().rsplit(")", 1)[1].split()[0]
ensure(data)
print(state, flush=True)
sys.stdin.read()
"""
        user = start_user(folder, script)
        try:
            line = stream(user.stdout).readline()
            assert line == "Z\n", stream(user.stderr).read()
            assert is_running(folder)
        finally:
            user.kill()
            user.communicate()

    def test_a_guard_that_was_killed_is_replaced(self, folder: Path) -> None:
        with using(folder):
            (first,) = guards(folder)
            os.kill(first, signal.SIGKILL)
            assert processes.wait_until(lambda: not guards(folder), PATIENCE_S)
            with using(folder):
                (second,) = guards(folder)
                assert second != first
        assert processes.wait_until(lambda: not is_running(folder), PATIENCE_S)

    def test_the_remains_of_an_interrupted_first_start_are_replaced(self, folder: Path) -> None:
        (folder / "pgdata.new" / "base").mkdir(parents=True)
        (folder / "pgdata.new" / "PG_VERSION").write_text("18\n")
        (folder / "initdb.password").write_text("old")
        with using(folder) as (_, server):
            connect(server).close()
            assert not (folder / "pgdata.new").exists()
            assert not (folder / "initdb.password").exists()


class TestGuard:
    def test_stops_the_server_when_all_users_were_killed(self, folder: Path) -> None:
        users = [start_user(folder) for _ in range(2)]
        for user in users:
            wait_for_server(user)
        users[0].kill()
        users[0].communicate()
        time.sleep(GRACE_S + 1)
        assert is_running(folder)
        users[1].kill()
        users[1].communicate()
        assert processes.wait_until(lambda: not is_running(folder), PATIENCE_S)
        assert processes.wait_until(lambda: not guards(folder), PATIENCE_S)
        assert server_processes(folder) == processes.Processes(postmaster=None, children=())
        assert (folder / "guard.log").read_text() == ""

    def test_a_forked_child_keeps_the_server_and_can_use_it(self, folder: Path) -> None:
        script = """
import os, sys, threading, time
from pathlib import Path
from config.embedded_postgres import ensure, locks
data, grace = Path(sys.argv[1]), float(sys.argv[2])
ensure(data, fast=True, grace_s=grace)
# Fork while another thread is in the middle of a call, as a worker's parent may.
taken = threading.Event()
def hold():
    with locks.process_lock, locks.exclusive(data / "start.lock", timeout_s=5):
        taken.set()
        time.sleep(0.5)
holder = threading.Thread(target=hold)
holder.start()
taken.wait()
child = os.fork()
if child == 0:
    sys.stdin.readline()
    ensure(data)
    with locks.exclusive(data / "start.lock", timeout_s=5):
        print("child is served", flush=True)
    time.sleep(60)
holder.join()
with locks.exclusive(data / "start.lock", timeout_s=1):
    print(child, flush=True)
time.sleep(60)
"""
        parent = start_user(folder, script)
        line = stream(parent.stdout).readline()
        assert line, stream(parent.stderr).read()
        child = int(line)
        try:
            parent.kill()
            parent.wait()
            time.sleep(GRACE_S + 1)
            assert is_running(folder)
            kill_hard(folder)
            stream(parent.stdin).write("\n")
            stream(parent.stdin).flush()
            assert stream(parent.stdout).readline() == "child is served\n"
        finally:
            os.kill(child, signal.SIGKILL)
            parent.communicate()
        assert processes.wait_until(lambda: not is_running(folder), PATIENCE_S)

    def test_a_daemon_that_closed_every_descriptor_counts_again(self, folder: Path) -> None:
        script = """
import os, sys
from pathlib import Path
from config.embedded_postgres import ensure
data, grace = Path(sys.argv[1]), float(sys.argv[2])
ensure(data, fast=True, grace_s=grace)
os.closerange(3, 100)
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
ensure(data)
for descriptor in files:
    os.fstat(descriptor)
print("counted", flush=True)
sys.stdin.read()
"""
        user = start_user(folder, script)
        try:
            assert stream(user.stdout).readline() == "counted\n"
            time.sleep(GRACE_S + 1)
            assert is_running(folder)
        finally:
            user.kill()
            user.communicate()

    def test_keeps_the_newest_logs(self, folder: Path) -> None:
        with using(folder):
            for day in range(10, 20):
                (folder / "log" / f"postgresql-201001{day}-000000.log").touch()
            stop(folder)
        with using(folder):
            names = sorted(path.name for path in (folder / "log").glob("postgresql-*.log"))
            assert len(names) <= 5
            assert "postgresql-20100110-000000.log" not in names


class TestStop:
    def test_stops_and_may_be_repeated(self, folder: Path) -> None:
        with using(folder):
            stop(folder)
            assert not is_running(folder)
            stop(folder)
            with using(folder):
                assert is_running(folder)
                assert len(guards(folder)) == 1

    def test_a_folder_that_does_not_exist(self, folder: Path) -> None:
        stop(folder)
        assert not is_running(folder)
        assert not folder.exists()

    def test_by_hand(self, folder: Path) -> None:
        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "config.embedded_postgres", *arguments, str(folder)]
            return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)

        assert call("start", "--grace", "8").returncode == 0
        assert (call("status").stdout, call("status").returncode) == ("running\n", 0)
        assert call("stop", "--mode", "smart").returncode == 0
        assert (call("status").stdout, call("status").returncode) == ("not running\n", 3)


class TestRefusals:
    def test_data_of_another_version(self, folder: Path) -> None:
        with using(folder):
            stop(folder)
        (folder / "pgdata" / "PG_VERSION").write_text("9\n")
        with pytest.raises(EmbeddedPostgresError, match=r"written by PostgreSQL 9, and here is only PostgreSQL .*18"):
            ensure(folder)

    def test_a_failed_start_shows_the_end_of_the_log(self, folder: Path) -> None:
        with using(folder):
            stop(folder)
        (folder / "pgdata" / "global" / "pg_control").write_bytes(b"")
        with pytest.raises(EmbeddedPostgresError, match=r"(?s)did not start from .*pg_control"):
            ensure(folder)

    def test_a_lost_password(self, folder: Path) -> None:
        with using(folder):
            stop(folder)
        kept = (folder / "password").rename(folder / "kept")
        with pytest.raises(EmbeddedPostgresError, match="password is missing"):
            ensure(folder)
        kept.rename(folder / "password")

    def test_a_path_that_the_shell_of_pg_ctl_would_change(self, tmp_path: Path) -> None:
        with pytest.raises(EmbeddedPostgresError, match="dollar"):
            ensure(tmp_path / "$(touch x)")

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(EmbeddedPostgresError, match="cannot be used"):
            ensure(tmp_path / "file" / "pg")

    def test_a_socket_folder_of_somebody_else(self, folder: Path) -> None:
        if not AS_ROOT:
            pytest.skip("only root can give a folder away")
        long = folder / ("x" * 80)
        squatted = socket_dir(long)
        squatted.mkdir()
        os.chown(squatted, 12345, 12345)
        try:
            with pytest.raises(EmbeddedPostgresError, match="belongs to uid 12345"):
                ensure(long)
        finally:
            squatted.rmdir()


def as_account(account: pwd.struct_passwd) -> dict[str, Any]:
    """Return the options that start a user of the server as another account."""
    options: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # The system's Python will do where this one lies in root's home: the launcher needs the standard library only.
    paths = os.pathsep.join([str(PROJECT), *(path for path in sys.path if path.endswith("site-packages"))])
    options["env"] = {"PATH": os.defpath, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, "/usr/bin/python3"):
        check = [python, "-c", "import config.embedded_postgres, sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(check, cwd=PROJECT, capture_output=True, **options).returncode == 0:
                return options | {"python": python}
        except OSError:
            continue
    pytest.skip(f"{account.pw_name} reaches no Python that can run this project")


@pytest.mark.skipif(not AS_ROOT, reason="needs root, to become somebody else")
class TestAccounts:
    def test_root_runs_it_as_an_account_that_exists(self, folder: Path) -> None:
        with using(folder) as (_, server):
            connect(server).close()
            uid = Path(f"/proc/{postmaster(folder)}").stat().st_uid
            assert pwd.getpwuid(uid).pw_name in {"postgres", "nobody"}
            assert folder.stat().st_mode & 0o777 == 0o711
            assert folder.parent.stat().st_mode & 0o777 == 0o755

    def test_root_in_a_folder_closed_to_others_uses_a_user_namespace(self) -> None:
        with temporary_home(0o700) as home:
            with using(home / "postgres") as (_, server):
                with connect(server) as connection:
                    connection.execute("CREATE TABLE kept ()")
                pid = postmaster(home / "postgres")
                assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["65534", "0", "1"]
                assert home.stat().st_mode & 0o777 == 0o700
                kill_hard(home / "postgres")
                with using(home / "postgres") as (_, again), connect(again) as connection:
                    connection.execute("SELECT FROM kept")
            assert processes.wait_until(lambda: not is_running(home / "postgres"), PATIENCE_S)

    def test_root_without_any_way_out_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with temporary_home(0o700) as home:
            monkeypatch.setenv("PATH", str(home))  # no unshare
            with pytest.raises(EmbeddedPostgresError, match="refuses to run as root, and no other account reaches"):
                ensure(home / "postgres")

    def test_an_ordinary_user(self) -> None:
        account = pwd.getpwnam("nobody")
        identity = as_account(account)
        with temporary_home(0o700) as home:
            os.chown(home, account.pw_uid, account.pw_gid)
            folder = home / "postgres"
            with using(folder, **identity) as (_, server):
                assert Path(f"/proc/{postmaster(folder)}").stat().st_uid == account.pw_uid
                assert folder.stat().st_mode & 0o777 == 0o700
                # Root lends a hand in that folder, and leaves nothing that its owner could not use.
                kill_hard(folder)
                (folder / "start.lock").unlink()
                with using(folder) as (_, again):
                    assert again == server
                    assert Path(f"/proc/{postmaster(folder)}").stat().st_uid == account.pw_uid
            assert processes.wait_until(lambda: not is_running(folder), PATIENCE_S)
            with using(folder, **identity):
                pass

    def test_an_ordinary_user_in_the_folder_of_root(self, folder: Path) -> None:
        account = pwd.getpwnam("nobody")
        with using(folder):
            pass
        user = start_user(folder, **as_account(account))
        _, error = user.communicate(timeout=30)
        assert "belongs to root, and this process runs as nobody" in error
