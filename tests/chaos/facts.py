"""What the database and the folders of a studio say once it is quiet, and what must not be so."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from config.embedded_postgres import socket_dir
from tests.chaos.victims import Kill, Kind
from tests.studio import ROOT, RealStudio, environment_of

Row = dict[str, Any]


class Facts:
    """Questions to the studio's database, asked as the owner of its tables, again when it was killed meanwhile."""

    def __init__(self, studio: RealStudio, schemas: Sequence[str]) -> None:
        self.schemas = schemas
        self._data = studio.data_dir

    def ask(self, query: str) -> list[Row]:
        """Return the rows of a query over every workspace, with the workspace's schema."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._ask_once(query)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def _ask_once(self, query: str) -> list[Row]:
        password = json.loads((self._data / "secrets.json").read_text())["database_owner_password"]
        where = str(socket_dir(self._data / "postgres"))
        rows: list[Row] = []
        with psycopg.connect(
            host=where, user="studio_owner", password=password, dbname="studio", row_factory=dict_row, autocommit=True
        ) as connection:
            for schema in self.schemas:
                connection.execute(f'SET search_path = "{schema}", public'.encode())
                rows += [row | {"schema": schema} for row in connection.execute(query.encode()).fetchall()]
        return rows

    def unfinished(self) -> list[Row]:
        """Jobs that are not over."""
        return self.ask(
            "SELECT id, kind, status, stage, attempt, worker, run_after::text, clock_timestamp()::text AS now"
            " FROM edge_ai_job WHERE status NOT IN ('completed', 'failed', 'cancelled')"
        )


def violations(facts: Facts, studio: RealStudio, acknowledged: Sequence[str]) -> list[str]:
    """Return everything that must not be so: each job ended once, with one output if it completed and none if not."""
    jobs = {
        str(row["id"]): row for row in facts.ask("SELECT id, kind, status, error, result, attempt FROM edge_ai_job")
    }
    found = [f"job {job} was acknowledged and is gone" for job in acknowledged if job not in jobs]
    told = facts.ask(
        "SELECT j.id, count(e.id) AS times FROM edge_ai_job j LEFT JOIN edge_ai_jobevent e"
        " ON e.job_id = j.id AND e.kind = 'status' AND e.stage = 'completed' GROUP BY j.id"
    )
    variants = facts.ask(
        "SELECT j.id, count(DISTINCT m.id) AS models, count(DISTINCT a.id) AS files FROM edge_ai_job j"
        " LEFT JOIN edge_ai_model m ON m.producer_id = j.id"
        " LEFT JOIN edge_ai_artifact a ON a.optimization_job_id = j.id AND a.artifact_type = 'optimized_model'"
        " WHERE j.kind = 'optimization' GROUP BY j.id"
    )
    samples = facts.ask(
        "SELECT j.id, (b.samples_blob_id IS NOT NULL)::int AS blobs FROM edge_ai_job j"
        " JOIN edge_ai_benchmarkrun b ON b.job_ptr_id = j.id"
    )
    analysed = facts.ask(
        "SELECT j.id, (m.status = 'ready' AND m.analysis IS NOT NULL)::int AS ready FROM edge_ai_job j"
        " JOIN edge_ai_analysisjob a ON a.job_ptr_id = j.id JOIN edge_ai_model m ON m.id = a.model_id"
    )
    for rows, column in (
        (told, "times"),
        (variants, "models"),
        (variants, "files"),
        (samples, "blobs"),
        (analysed, "ready"),
    ):
        for row in rows:
            wanted = 1 if jobs[str(row["id"])]["status"] == "completed" else 0
            if row[column] != wanted:
                found.append(f"job {row['id']} {jobs[str(row['id'])]} has {row[column]} {column} instead of {wanted}")
    found += [
        f"job {job} failed: {row['error']}"
        for job, row in jobs.items()
        if row["status"] not in {"completed", "cancelled"}
    ]
    return found + _files(facts, studio)


def _files(facts: Facts, studio: RealStudio) -> list[str]:
    """After the sweep, every row has its file, every file its row, and every row somebody who refers to it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.sweep"],
        cwd=ROOT,
        env=environment_of(studio.data_dir),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        return [f"the sweep failed: {done.stderr[-2000:]}"]
    found = []
    rows = facts.ask(
        "SELECT sha256, size_bytes, EXISTS (SELECT 1 FROM edge_ai_model WHERE blob_id = sha256) OR EXISTS"
        " (SELECT 1 FROM edge_ai_dataset WHERE blob_id = sha256) OR EXISTS (SELECT 1 FROM edge_ai_artifact WHERE blob_id"
        " = sha256) OR EXISTS (SELECT 1 FROM edge_ai_benchmarkrun WHERE samples_blob_id = sha256) AS used FROM edge_ai_blob"
    )
    for schema in facts.schemas:
        files = {path.name: path for path in (studio.data_dir / "blobs" / schema).rglob("*") if path.is_file()}
        mine = {row["sha256"]: row for row in rows if row["schema"] == schema}
        found += [f"{schema}: no row for the file {name}" for name in files.keys() - mine.keys()]
        found += [f"{schema}: no file for the row {name}" for name in mine.keys() - files.keys()]
        found += [f"{schema}: nothing refers to {name}" for name, row in mine.items() if not row["used"]]
        for name in files.keys() & mine.keys():
            content = files[name].read_bytes()
            if hashlib.sha256(content).hexdigest() != name or len(content) != mine[name]["size_bytes"]:
                found.append(f"{schema}: the file {name} is not what its name says")
    work = studio.data_dir / "work"
    files_left = [path.relative_to(work) for path in work.rglob("*") if path.is_file()]
    # What begins with a dot is kept on purpose: finished stages, and the home of warm processes.
    left = [path for path in files_left if not any(part.startswith(".") for part in path.parts)]
    return found + [f"left in the work folder: {path}" for path in left]


@dataclass(frozen=True, kw_only=True)
class Rescue:
    """A job that lost its worker: how long until it was free again, and until somebody ran it again, in seconds."""

    job: str
    kind: str
    freed_s: float
    run_s: float | None


def rescues(facts: Facts, kills: Sequence[Kill]) -> list[Rescue]:
    """Find the jobs whose worker was killed under them, and what came of each."""
    stories: dict[str, list[Row]] = {}
    for row in facts.ask(
        "SELECT job_id, stage, message, extract(epoch FROM created_at)::float AS at FROM edge_ai_jobevent"
        " WHERE kind = 'status' ORDER BY id"
    ):
        stories.setdefault(str(row["job_id"]), []).append(row)
    found = []
    for kill in kills:
        for job, story in stories.items():
            running = [row for row in story if row["at"] < kill.at]
            if not running or running[-1]["stage"] != "running" or _worker(running[-1]) not in kill.workers:
                continue
            after = story[len(running) :]
            freed = _first(after, lambda row: row["stage"] != "running" or _worker(row) is not None)
            again = _first(after, lambda row: _worker(row) is not None)
            if freed is not None and kill.kind is Kind.ENGINE and freed["stage"] == "completed":
                # The same attempt completed, so its worker had not lost it, whatever part of the engine was killed.
                continue
            if freed is not None:
                found.append(
                    Rescue(
                        job=job,
                        kind=kill.kind,
                        freed_s=freed["at"] - kill.at,
                        run_s=None if again is None else again["at"] - kill.at,
                    )
                )
    return found


def _worker(row: Row) -> int | None:
    """Return the number of the worker process that an attempt began on."""
    begun, _, name = str(row["message"]).partition(" began on ")
    return int(name.split(":")[1]) if name and begun.startswith("Attempt") else None


def _first(rows: Sequence[Row], wanted: Callable[[Row], bool]) -> Row | None:
    return next((row for row in rows if wanted(row)), None)


def leftover_messages(facts: Facts) -> int:
    """Messages in the queue that nobody has taken."""
    rows = facts.ask("SELECT count(*) AS waiting FROM public.django_q_ormq WHERE lock <= clock_timestamp()")
    return int(rows[0]["waiting"])


def tail(path: Path, size: int = 6000) -> str:
    """Return the end of a log."""
    return path.read_text(errors="replace")[-size:] if path.exists() else ""
