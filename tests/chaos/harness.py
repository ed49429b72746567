"""A studio that is worked with while its processes are killed, one every few seconds."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from config.embedded_postgres.layout import Layout, read_password
from tests.chaos.client import Client
from tests.chaos.facts import Facts, Rescue, leftover_messages, rescues, tail, violations
from tests.chaos.victims import Anatomy, Kill, Kind, command, kill, postgres, relatives
from tests.chaos.workload import Customer
from tests.studio import ROOT, RealStudio, environment_of, start_studio

LEASE_S = 6
RESCUE_S = LEASE_S + 30.0
QUIET_S = 150.0
ENDING_S = 30.0
#: Kinds by how often they are chosen. A killed database stops everything for a while, so it is rarer.
WEIGHTS = {
    Kind.BUSY_WORKER: 5,
    Kind.IDLE_WORKER: 3,
    Kind.ENGINE: 3,
    Kind.PUSHER: 2,
    Kind.MONITOR: 2,
    Kind.SENTINEL: 2,
    Kind.CLUSTER: 2,
    Kind.SUPERVISOR: 2,
    Kind.WARM: 2,
    Kind.WEB: 1,
    Kind.WEB_WORKER: 1,
    Kind.BACKEND: 1,
    Kind.GUARD: 1,
    Kind.DATABASE: 1,
    Kind.DATABASE_RESTART: 1,
}


@dataclass
class Report:
    """What happened."""

    seed: int
    seconds: float = 0.0
    kills: list[Kill] = field(default_factory=list)
    jobs: Counter[str] = field(default_factory=Counter)
    rescued: list[Rescue] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Counts, for people."""
        by_kind = Counter(str(item.kind) for item in self.kills)
        longest = max((item.freed_s for item in self.rescued), default=0.0)
        run_again = max((item.run_s for item in self.rescued if item.run_s is not None), default=0.0)
        return "\n".join(
            [
                f"seed {self.seed}, {self.seconds:.0f} s",
                f"jobs: {sum(self.jobs.values())} ({', '.join(f'{n} {name}' for name, n in sorted(self.jobs.items()))})",
                f"kills: {len(self.kills)} ({', '.join(f'{n} {name}' for name, n in by_kind.most_common())})",
                f"jobs that lost their worker: {len(self.rescued)}; free again after {longest:.1f} s at most, "
                f"run again after {run_again:.1f} s at most (with the pause before another attempt)",
                f"problems: {len(self.problems)}",
            ]
        )


class Chaos:
    """One run."""

    def __init__(self, folder: Path, *, seed: int, seconds: float, tensorflow: bool) -> None:
        self.report = Report(seed=seed)
        self._folder = folder
        self._seconds = seconds
        self._tensorflow = tensorflow
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._began = time.time()
        self._bag: list[Kind] = []

    def run(self) -> Report:
        """Do it, and look at what is left."""
        environment = {
            "JOB_LEASE_SECONDS": str(LEASE_S),
            # Every job is to be completed, however often its worker is killed.
            "JOB_MAX_ATTEMPTS": "20",
            "STUDIO_EMBEDDED_FAST": "yes",
        }
        with start_studio(self._folder, **environment) as studio:
            with self._customers(studio) as customers:
                self._kill_things(studio)
            facts = Facts(studio, ["ws_demo", "ws_second"])
            self._await_quiet(facts)
            self._judge(facts, studio, [job for customer in customers for job in customer.acknowledged])
            if self.report.problems:
                self._tell("studio's log: " + tail(studio.log))
        self._await_end(studio)
        self.report.seconds = time.time() - self._began
        return self.report

    def _tell(self, text: str) -> None:
        self.report.log.append(f"{time.time() - self._began:7.2f} {text}")

    @contextmanager
    def _customers(self, studio: RealStudio) -> Iterator[list[Customer]]:
        made = subprocess.run(
            [
                *(sys.executable, "manage.py", "create_workspace", "second", "--owner", "second@example.com"),
                *("--password-env", "SECOND_PASSWORD", "--api-key"),
            ],
            cwd=ROOT,
            env=environment_of(studio.data_dir) | {"SECOND_PASSWORD": "correct horse battery 7"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        keys = {"demo": studio.api_key, "second": json.loads(made.stdout)["api_key"]}
        customers = [
            Customer(
                name,
                Client(base=studio.base, api_key=key, patience_s=90),
                seed=self.report.seed * 100_000 + number * 10_000,
                tensorflow=self._tensorflow and number == 0,
                tell=self._tell,
            )
            for number, (name, key) in enumerate(keys.items())
        ]
        for customer in customers:
            customer.start()
        try:
            yield customers
        finally:
            for customer in customers:
                customer.stop()
            for customer in customers:
                customer.join(120)
                if customer.trouble is not None or customer.is_alive():
                    self.report.problems.append(f"{customer.name} could not go on: {customer.trouble!r}")

    def _kill_things(self, studio: RealStudio) -> None:
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            time.sleep(self._chance.uniform(0.5, 4.0))
            for _ in WEIGHTS:
                kind = self._next_kind()
                done = kill(studio, kind, self._chance, time.time())
                if done is not None:
                    self.report.kills.append(done)
                    self._tell(f"killed: {kind} {done.pid} workers {sorted(done.workers)}")
                    break

    def _next_kind(self) -> Kind:
        """Draw from a bag, so that a short run meets every kind too."""
        if not self._bag:
            self._bag = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
            self._chance.shuffle(self._bag)
            self._bag.sort(key=lambda kind: kind in {item.kind for item in self.report.kills})
        return self._bag.pop(0)

    def _await_quiet(self, facts: Facts) -> None:
        # Each job that ends shows that the studio goes on: a longer queue may take longer.
        deadline, before = time.monotonic() + QUIET_S, None
        while left := facts.unfinished():
            if before is None or len(left) < before:
                deadline, before = time.monotonic() + QUIET_S, len(left)
            if time.monotonic() > deadline:
                self.report.problems += [f"not over, and none was for {QUIET_S:.0f} s: {row}" for row in left]
                return
            time.sleep(0.5)

    def _judge(self, facts: Facts, studio: RealStudio, acknowledged: Sequence[str]) -> None:
        self.report.jobs = Counter(
            f"{row['status']} {row['kind']}" for row in facts.ask("SELECT status, kind FROM edge_ai_job")
        )
        self.report.rescued = rescues(facts, self.report.kills)
        problems = self.report.problems
        problems += [f"rescued too late: {item}" for item in self.report.rescued if item.freed_s > RESCUE_S]
        # The last attempts' folders and engines, and messages for jobs that are over, go within seconds.
        self._expect("engines or strangers", lambda: self._strangers(studio))
        self._expect("messages in the queue", lambda: leftover_messages(facts) or None)
        problems += violations(facts, studio, acknowledged)
        self._expect("not there", lambda: [str(kind) for kind in ALWAYS_THERE if not Anatomy(studio).of(kind)])

    def _expect(self, what: str, left: Callable[[], object]) -> None:
        deadline = time.monotonic() + ENDING_S
        while found := left():
            if time.monotonic() > deadline:
                self.report.problems.append(f"{what} after {ENDING_S:.0f} s: {found}")
                return
            time.sleep(0.3)

    @staticmethod
    def _strangers(studio: RealStudio) -> list[str]:
        """Engines that run although no job does, and relatives that nobody looks after."""
        anatomy = Anatomy(studio)
        known = {process.pid for process in anatomy.all} | {process.pid for process in postgres(studio)}
        return [
            f"{process} {' '.join(command(process.pid))[:200]}"
            for process in relatives(studio.data_dir)
            if process.pid not in known and "config.embedded_postgres" not in command(process.pid)
        ] + [f"engine {process}" for process in anatomy.engines]

    def _await_end(self, studio: RealStudio) -> None:
        """The studio was told to stop: nothing of it may stay, the database and its guard included."""
        layout = Layout.of(studio.data_dir / "postgres")
        self._expect(
            f"processes after the end ({read_password(layout) is not None})",
            lambda: [
                f"{process} {' '.join(command(process.pid))[:200]}"
                for process in [*relatives(studio.data_dir), *postgres(studio)]
            ],
        )


ALWAYS_THERE = frozenset(
    {
        *(Kind.PUSHER, Kind.MONITOR, Kind.SENTINEL, Kind.CLUSTER, Kind.SUPERVISOR),
        *(Kind.WEB, Kind.WEB_WORKER, Kind.DATABASE, Kind.GUARD),
    }
)


def run(folder: Path, *, seed: int, seconds: float, tensorflow: bool) -> Report:
    """Run chaos in a folder that the database's account reaches."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    return Chaos(folder, seed=seed, seconds=seconds, tensorflow=tensorflow).run()
