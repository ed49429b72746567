"""How fast the API answers: lists of 1,000 and 100,000 models, the rate against a bare view, and jobs taken a second.

``python -m benchmarks.api``. It starts a PostgreSQL, the studio's gunicorn and one with nothing but REST framework, all with
the product's own settings, and measures by turns. No workers run, so that nothing else has the processors. What would refuse
so many requests is lifted, and still counted: the rate of the keys, and the limits of both workspaces.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.studio import free_port, reachable_folder

ROOT = Path(__file__).resolve().parent.parent
LIST = "/api/edge/v1/models/"
JOBS = "/api/edge/v1/optimization-jobs/"
#: What is promised.
LARGER_LIST = 1.3
SHARE_OF_BARE = 0.4
JOBS_A_SECOND = 100.0
#: More than anybody asks for, and still counted.
NO_LIMIT = 2_000_000_000


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A workspace with so many models, as a script sees it."""

    schema: str
    models: int
    key: str
    device: str
    chosen: Sequence[str]
    #: Cursors to nine tenths of the list, by the order.
    deep: Mapping[str, str]


class Connection:
    """One that is kept open."""

    def __init__(self, port: int, key: str = "") -> None:
        self._open = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(self, verb: str, path: str, body: Any = None) -> float:
        """Return how many seconds an answer took."""
        data, headers = None, self._headers
        if body is not None:
            data, headers = json.dumps(body).encode(), headers | {"Content-Type": "application/json"}
        try:
            return self._timed(verb, path, data, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            # gunicorn closes what was idle, and ends a worker after some thousand requests.
            self._open.close()
            return self._timed(verb, path, data, headers)

    def _timed(self, verb: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> float:
        began = time.perf_counter()
        self._open.request(verb, path, data, headers)
        answer = self._open.getresponse()
        said = answer.read()
        taken = time.perf_counter() - began
        if answer.status >= 400:
            raise SystemExit(f"{verb} {path}: {answer.status} {said[:500]!r}")
        return taken


# -- setting up ---------------------------------------------------------------------------------------------------------
def manage(*arguments: str) -> None:
    """Run manage.py."""
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def fill(slug: str, models: int) -> Filled:
    """Make a workspace with so many models. Seven of ten are the asker's, two are shared, one is a colleague's own."""
    # Django reads its settings from an environment that main() has made first.
    import psycopg
    from django.conf import settings
    from django.core import signing
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.db import connection

    from accounts.models import ApiKey, Membership, Role, User, Workspace
    from config.database.identity import acting_as_system, acting_as_user
    from edge_ai.api.pagination import SALT
    from edge_ai.models import AnalysisJob, DeviceProfile, Model
    from edge_ai.sample import ONNX_MODEL
    from edge_ai.services.models import upload_model
    from edge_ai.worker.babysitter import run_job

    os.environ["NEW_PASSWORD"] = "correct horse battery 7"  # noqa: S105 - of a studio that is thrown away
    manage("create_workspace", slug, "--owner", f"{slug}@example.com", "--password-env", "NEW_PASSWORD")
    workspace = Workspace.objects.get(slug=slug)
    with acting_as_system():
        user = User.objects.get(email=f"{slug}@example.com")
        colleague = User.objects.create_user(f"colleague-{slug}@example.com")
        Membership.objects.create(user=colleague, workspace=workspace, role=Role.MEMBER)
        _, key = ApiKey.issue(
            user=user, workspace=workspace, name="benchmark", scopes=["write"], rate_per_minute=NO_LIMIT
        )
        Workspace.objects.filter(pk=workspace.pk).update(
            **dict.fromkeys(("max_models", "max_stored_bytes", "max_job_minutes", "max_open_jobs"), NO_LIMIT)
        )
    connection.set_tenant(workspace)  # type: ignore[attr-defined]  # the tenant backend's
    with acting_as_user(user.pk):
        first = upload_model(user, file=SimpleUploadedFile("digits.onnx", ONNX_MODEL.read_bytes()), name="digits")
    with acting_as_system():
        run_job(workspace.schema_name, AnalysisJob.objects.get(model=first).pk)
        first = Model.objects.get(pk=first.pk)
        if not first.is_ready:
            raise SystemExit(f"The sample could not be analysed: {first.error}")
        device = str(DeviceProfile.objects.get(is_host=True, is_template=True).pk)
    columns = [str(field.column) for field in Model._meta.local_concrete_fields]
    made = {
        "id": "md5('model' || n)::uuid",
        "blob_id": "md5(n::text) || md5('blob' || n)",
        "sha256": "md5(n::text) || md5('blob' || n)",
        "name": "'model ' || md5(n::text)",
        "size_bytes": "100000 + (n * 7919::bigint) %% 1000000",
        "created_at": "created_at - n * interval '1 minute'",
        "updated_at": "created_at - n * interval '1 minute'",
        "format": "(ARRAY['onnx', 'onnx', 'tflite', 'openvino'])[1 + n %% 4]",
        "owner_id": "CASE WHEN n %% 10 < 7 THEN owner_id ELSE %(colleague)s END",
        "visibility": "CASE WHEN n %% 10 < 9 AND n %% 10 > 6 THEN 'workspace' ELSE 'private' END",
    }
    known = settings.DATABASES["default"]
    with psycopg.connect(
        host=known["HOST"], dbname=known["NAME"], user="studio_owner", password=settings.DATABASE_OWNER_PASSWORD
    ) as owner:
        owner.autocommit = True
        run: Callable[..., Any] = owner.execute
        run(f"SET search_path TO {workspace.schema_name}, public")
        values = {"copies": models - 1, "colleague": colleague.pk, "first": first.pk}
        run(
            "INSERT INTO edge_ai_blob (sha256, size_bytes, created_at)"
            " SELECT md5(n::text) || md5('blob' || n), 1000, clock_timestamp() - n * interval '1 minute'"
            " FROM generate_series(1, %(copies)s) n",
            values,
        )
        run(
            f"INSERT INTO edge_ai_model ({', '.join(columns)})"  # noqa: S608 - columns and expressions of our own
            f" SELECT {', '.join(made.get(column, column) for column in columns)}"
            " FROM edge_ai_model, generate_series(1, %(copies)s) n WHERE id = %(first)s",
            values,
        )
        run("VACUUM ANALYZE")
    deep = {}
    with acting_as_user(user.pk):
        mine = Model.objects.owned_by(user)
        chosen = [str(pk) for pk in mine.filter(format="onnx").order_by("pk").values_list("pk", flat=True)[:500]]
        for ordering in ("-created_at", "name"):
            row = Model.objects.visible_to(user).order_by(ordering)[models * 7 // 10]
            field: Any = Model._meta.get_field(ordering.removeprefix("-"))
            position = ["next", ordering, [field.value_to_string(row), str(row.pk)]]
            deep[ordering] = signing.dumps(position, salt=SALT, compress=True)
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    return Filled(schema=workspace.schema_name, models=models, key=key, device=device, chosen=chosen, deep=deep)


@contextlib.contextmanager
def serving(*application: str, **environment: str) -> Iterator[int]:
    """Run gunicorn as the Procfile does; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", *application],
        cwd=ROOT,
        env=os.environ | {"PORT": str(port)} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
                break
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit("gunicorn does not serve")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


# -- measuring ----------------------------------------------------------------------------------------------------------
def percentile(times: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(share * len(times)))]


def cases(workspace: Filled) -> dict[str, str]:
    """Every way that the list is asked for."""
    return {
        "first page": LIST,
        "filtered by status and format": f"{LIST}?status=ready&format=tflite",
        "filtered, none found": f"{LIST}?status=failed",
        "by name": f"{LIST}?ordering=name",
        "by size, largest first": f"{LIST}?ordering=-size_bytes",
        "deep cursor": f"{LIST}?cursor={workspace.deep['-created_at']}",
        "deep cursor by name": f"{LIST}?ordering=name&cursor={workspace.deep['name']}",
    }


def latencies(port: int, few: Filled, many: Filled, *, rounds: int, each: int) -> bool:
    """Ask both workspaces by turns, one request at a time; tells whether the bar holds."""
    held = True
    connections = [Connection(port, workspace.key) for workspace in (few, many)]
    print(
        f"| List | p50 {few.models:,} | p95 | p50 {many.models:,} | p95 | p95 ratio |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name, addresses in zip(cases(few), zip(cases(few).values(), cases(many).values(), strict=True), strict=True):
        found: list[list[tuple[float, float]]] = [[], []]
        for _ in range(rounds):
            times: list[list[float]] = [[], []]
            for turn in range(each + 3):
                for place in (0, 1) if turn % 2 else (1, 0):
                    taken = connections[place].ask("GET", addresses[place])
                    if turn >= 3:
                        times[place].append(taken)
            for place in (0, 1):
                found[place].append((percentile(times[place], 0.5), percentile(times[place], 0.95)))
        told = [[statistics.median(column) for column in zip(*each_round, strict=True)] for each_round in found]
        ratio = statistics.median(b[1] / a[1] for a, b in zip(*found, strict=True))
        held &= ratio <= LARGER_LIST
        print(f"| {name} | {told[0][0]:.1f} | {told[0][1]:.1f} | {told[1][0]:.1f} | {told[1][1]:.1f} | {ratio:.2f} |")
    return held


def rate(ask: Callable[[Connection], Any], connections: Sequence[Connection], seconds: float) -> float:
    """Return how many requests a second all connections got answered together."""
    done = [0] * len(connections)
    until = time.perf_counter() + seconds

    def work(place: int) -> None:
        while time.perf_counter() < until:
            ask(connections[place])
            done[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(connections))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def rates(port: int, bare: int, few: Filled, many: Filled, *, rounds: int, seconds: float, clients: int) -> bool:
    """Ask for first pages by turns, many at a time; tells whether the bar holds."""
    asked = {
        "bare view": (lambda one: one.ask("GET", "/models/"), [Connection(bare) for _ in range(clients)]),
        **{
            f"studio, {workspace.models:,} models": (
                lambda one: one.ask("GET", LIST),
                [Connection(port, workspace.key) for _ in range(clients)],
            )
            for workspace in (few, many)
        },
    }
    found: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds + 1):
        for name, (ask, connections) in asked.items():
            found[name].append(rate(ask, connections, seconds))
    print(f"\n| {clients} clients | Requests a second | Of the bare view |\n| --- | --- | --- |")
    shares = {}
    for name, numbers in found.items():
        pairs = zip(numbers[1:], found["bare view"][1:], strict=True)  # the first round is for warming up
        shares[name] = statistics.median(ours / theirs for ours, theirs in pairs)
        print(f"| {name} | {statistics.median(numbers[1:]):.0f} | {shares[name]:.2f} |")
    return min(shares.values()) >= SHARE_OF_BARE


def submissions(port: int, workspaces: Sequence[Filled], *, rounds: int, seconds: float) -> bool:
    """Submit distinct optimizations, by four and eight clients; tells whether the bar holds where there are few models."""
    numbers = itertools.count(1)
    print("\n| Jobs a second | 4 clients | 8 clients |\n| --- | --- | --- |")
    held = True
    for place, workspace in enumerate(workspaces):

        def ask(one: Connection, workspace: Filled = workspace) -> None:
            number = next(numbers)
            body = {
                "model": workspace.chosen[number % len(workspace.chosen)],
                "device_profile": workspace.device,
                "target_format": "onnx",
                "precision": "int8_dynamic",
                "options": {"seed": number},
                "name": f"job {number}",
            }
            one.ask("POST", JOBS, body)

        told = []
        for clients in (4, 8):
            connections = [Connection(port, workspace.key) for _ in range(clients)]
            found = []
            for _ in range(rounds + 1):
                found.append(rate(ask, connections, seconds))
                forget(workspace)
            told.append(statistics.median(found[1:]))
        if place == 0:
            held = max(told) >= JOBS_A_SECOND
        print(f"| among {workspace.models:,} models | {told[0]:.0f} | {told[1]:.0f} |")
    return held


def forget(workspace: Filled) -> None:
    """Remove the jobs that were submitted, so that each round begins alike."""
    import psycopg
    from django.conf import settings

    known = settings.DATABASES["default"]
    with psycopg.connect(
        host=known["HOST"], dbname=known["NAME"], user="studio_owner", password=settings.DATABASE_OWNER_PASSWORD
    ) as owner:
        run: Callable[..., Any] = owner.execute
        run(f"SET search_path TO {workspace.schema}, public")
        run("DELETE FROM edge_ai_jobevent WHERE job_id IN (SELECT job_ptr_id FROM edge_ai_optimizationjob)")
        run("DELETE FROM edge_ai_optimizationjob")
        run("DELETE FROM edge_ai_job WHERE kind = 'optimization'")
        run("DELETE FROM fleet_ticket")
        run("DELETE FROM django_q_ormq")


def main() -> int:
    """Measure everything; returns 1 where a bar does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=60, help="of each list, in each round")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate, in each round")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--only", choices=["lists", "rates", "jobs"])
    options = parser.parse_args()
    with reachable_folder() as folder:
        os.environ |= {"STUDIO_DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "config.settings"}
        manage("bootstrap")
        import django  # reads the environment

        django.setup()
        few, many = fill("few", options.few), fill("many", options.many)
        load = os.getloadavg()
        print(f"{os.cpu_count()} processors, load before {load[0]:.1f}, {load[1]:.1f}, {load[2]:.1f}\n")
        held = []
        bare_environment = {"DJANGO_SETTINGS_MODULE": "benchmarks.bare_api.settings", "BARE_SCHEMA": few.schema}
        with (
            serving() as port,
            serving("config.wsgi:application", **bare_environment) as bare,
        ):
            if options.only in {None, "lists"}:
                held.append(latencies(port, few, many, rounds=options.rounds, each=options.requests))
            if options.only in {None, "rates"}:
                timing: dict[str, Any] = {"rounds": options.rounds, "seconds": options.seconds}
                held.append(rates(port, bare, few, many, clients=options.clients, **timing))
            if options.only in {None, "jobs"}:
                held.append(submissions(port, (few, many), rounds=options.rounds, seconds=options.seconds))
    print(f"\nLoad after: {os.getloadavg()[0]:.1f}.", "Every bar holds." if all(held) else "Not every bar holds.")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
