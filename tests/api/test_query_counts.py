"""No operation of the API takes more than a dozen queries.

Counted is what the connection itself counts, from the first middleware to the last, the caller's key and the rate limit among
it, but for what begins and ends transactions. What sets role, user and search path travels ahead of a statement. The
operations come from the contract, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.api.schema import description
from edge_ai.models import Job
from edge_ai.models.base import ClockTimestamp
from edge_ai.models.job import CANCELLED_ERROR
from edge_ai.services.resumable import begin
from tests.api.contract import BASE, OPERATIONS
from tests.api.support import Script, sample, send_json
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.receiver import Receiver, receiver
from tests.web.support import Rows, make_rows

AT_MOST = 12
#: What takes a storage that files come to in parts, and is counted by itself.
IN_PARTS = ("sign_upload_parts", "complete_upload")
OCTETS = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Offset": "0"}


class _UndoneError(Exception):
    """Takes back what a request did."""


@pytest.fixture(autouse=True)
def _receivers_on_this_machine(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_NETWORKS = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A healthy receiver of webhooks."""
    with receiver() as running:
        yield running


@pytest.fixture
def rows(alpha: Workspace, owner: User, there: Receiver) -> Rows:
    """One of everything; what answers are sent to is on this machine."""
    made = make_rows(alpha, owner)
    with inside(alpha, owner):
        made.delivery.endpoint.url = there.url
        made.delivery.endpoint.save(update_fields=["url"])
    return made


@functools.cache
def addresses() -> dict[str, tuple[str, str]]:
    """The verb and the address of every operation."""
    return {
        told["operationId"]: (verb, path)
        for path, verbs in description()["paths"].items()
        for verb, told in verbs.items()
    }


def bodies(rows: Rows, host: str) -> dict[str, dict[str, Any]]:
    """What each operation that needs a body is asked with: as much of it as costs something."""
    work = {"device_profile": host, "dataset": str(rows.dataset.pk)}
    model, variant = str(rows.model.pk), str(rows.variant.pk)
    board = {"name": "Board", "category": "phone", "formats": ["onnx"], "precisions": ["fp32"]}
    return {
        "create_optimization_job": work | {"model": model, "target_format": "onnx", "precision": "int8", "name": "new"},
        "create_optimization_batch": {
            "models": [model, variant],
            "device_profiles": [host],
            "precisions": ["int8_dynamic", "fp16"],
        },
        "create_benchmark": work | {"model": model, "baseline": str(rows.benchmark.pk)},
        "create_comparison": work | {"models": [model, variant]},
        "create_diagnosis": work | {"model": variant, "baseline": model},
        "create_package": {"model": model},
        "create_import": {"url": "https://example.com/net.onnx", "sha256": "a" * 64},
        "create_device_profile": board,
        "create_webhook": {"url": "http://127.0.0.1/hook", "events": ["model.ready"]},
        "update_model": {"name": "New", "tags": ["new"], "visibility": "workspace"},
        "update_device_profile": {"name": "New"},
        "update_webhook": {"description": "New"},
        "redeliver_webhook": {"since": (timezone.now() - timedelta(days=1)).isoformat()},
    }


def jobs_of(owner: User, rows: Rows) -> dict[str, Any]:
    """A job of each kind that waits, and what asks for it."""
    return {
        "optimization-jobs": factories.make_optimization(owner, rows.model, dataset=rows.dataset),
        "benchmarks": factories.make_benchmark(owner, rows.model),
        "comparisons": factories.make_comparison(owner, rows.model, rows.variant),
        "diagnoses": factories.make_diagnosis(owner, rows.variant, baseline=rows.model),
        "packages": factories.make_packaging(owner, rows.model),
        "models/imports": factories.make_import(owner),
    }


def end(jobs: list[Any]) -> None:
    """Let jobs have been cancelled."""
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
        status="cancelled", cancel_requested=True, error=CANCELLED_ERROR, finished_at=ClockTimestamp()
    )


def send(script: Client, operation: str, ids: dict[str, Any], body: dict[str, Any] | None) -> Any:
    """Ask for an operation: on the row for its address, or for what is done there."""
    verb, path = addresses()[operation]
    *where, last = [part for part in path.removeprefix(BASE).split("/") if part] or [""]
    kind = "/".join(part for part in where if "{" not in part) or last
    done = "delete" if verb == "delete" else last
    address = path.replace("{id}", str(ids.get(f"{kind} {done}", ids.get(kind))))
    address = address.replace("{delivery_id}", str(ids["delivery"]))
    if operation in {"upload_model", "upload_dataset"}:
        name = "digits.onnx" if operation == "upload_model" else "digits-eval.npz"
        return script.post(address, {"file": sample(name), "name": "new"})
    if kind == "uploads":
        return script.generic(verb.upper(), address, b"12345" if verb == "patch" else b"", OCTETS, headers=TUS)
    if body is None:
        return script.generic(verb.upper(), address)
    return script.generic(verb.upper(), address, json.dumps(body), "application/json")


def counted(seen: CaptureQueriesContext) -> list[str]:
    """The statements but for those that mark where a transaction begins and ends."""
    marks = re.compile(r"(SELECT set_config\([^;]*\); )?(RELEASE )?SAVEPOINT ")
    return [each["sql"] for each in seen if not marks.match(each["sql"])]


def test_no_operation_takes_more_than_a_dozen_queries(
    alpha: Workspace, owner: User, script_of: Script, rows: Rows, settings: Any, tmp_path: Path
) -> None:
    settings.RESUMABLE_DIR = tmp_path
    script = script_of(owner)
    idle = make_rows(alpha, owner)
    with inside(alpha, owner):
        waiting, ended = jobs_of(owner, rows), jobs_of(owner, rows)
        upload, given_up = (
            begin(owner, length_bytes=10, purpose="model", file_name="a.onnx", name="") for _ in range(2)
        )
        batches = [factories.make_batch(owner, rows.model) for _ in range(2)]
        of_batch = [factories.make_optimization(owner, rows.model, batch=batch) for batch in batches for _ in range(2)]
        host = str(factories.host_device().pk)
    with inside_as_system(alpha):
        end([*ended.values(), *of_batch[2:]])
    ids: dict[str, Any] = {
        "models": rows.model.pk,
        "models delete": idle.model.pk,
        "datasets": rows.dataset.pk,
        "device-profiles": rows.device.pk,
        "uploads": upload.pk,
        "uploads delete": given_up.pk,
        "artifacts": rows.artifact.pk,
        "webhooks": rows.delivery.endpoint_id,
        "webhooks/deliveries": rows.delivery.endpoint_id,
        "delivery": rows.delivery.pk,
        "optimization-jobs": rows.optimization.pk,
        "benchmarks": rows.benchmark.pk,
        "comparisons": rows.comparison.pk,
        "diagnoses": rows.diagnosis.pk,
        "packages": waiting["packages"].pk,
        "models/imports": waiting["models/imports"].pk,
        "optimization-jobs/batches": rows.batch.pk,
        "optimization-jobs/batches cancel": batches[0].pk,
        "optimization-jobs/batches retry": batches[1].pk,
        **{f"{kind} cancel": job.pk for kind, job in waiting.items()},
        **{f"{kind} retry": job.pk for kind, job in ended.items()},
    }
    asked = bodies(rows, host)
    assert sorted(addresses()) == sorted(OPERATIONS)
    script.get(f"{BASE}me/")
    faults = []
    for operation in sorted(set(OPERATIONS) - set(IN_PARTS)):
        try:
            with transaction.atomic():
                with CaptureQueriesContext(connection) as seen:
                    answer = send(script, operation, ids, asked.get(operation))
                raise _UndoneError
        except _UndoneError:
            pass
        assert answer.status_code < 400, (operation, answer.content[:500])
        queries = counted(seen)
        if len(queries) > AT_MOST:
            faults.append(f"{operation}: {len(queries)}\n" + "\n".join(f"    {query[:150]}" for query in queries))
    assert not faults, "\n".join(faults)


def test_no_operation_of_uploads_in_parts_takes_more_than_a_dozen_queries(
    bucket: None, owner: User, script_of: Script, settings: Any, tmp_path: Path
) -> None:
    settings.RESUMABLE_DIR = tmp_path
    script = script_of(owner)
    content = sample("digits.onnx").read()
    begun = send_json(script, "post", "uploads/", {"length_bytes": len(content), "file_name": "digits.onnx"}).json()
    asked = {"parts": [{"number": 1, "sha256": hashlib.sha256(content).hexdigest()}]}
    with CaptureQueriesContext(connection) as signing:
        (place,) = send_json(script, "post", f"uploads/{begun['id']}/parts/", asked).json()["parts"]
    sent = urllib.request.Request(place["url"], data=content, headers=place["headers"], method="PUT")
    with urllib.request.urlopen(sent, timeout=20) as answer:
        assert answer.status == 200
    with CaptureQueriesContext(connection) as completing:
        assert send_json(script, "post", f"uploads/{begun['id']}/complete/", {}).status_code == 200
    assert max(len(counted(signing)), len(counted(completing))) <= AT_MOST
