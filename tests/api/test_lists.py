"""Lists: pages, orders, filters, and how many queries they cost."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer

from accounts.models import User, Workspace
from edge_ai.api.serializers.models import StoredModelSerializer
from edge_ai.models import BenchmarkRun, Model
from tests.api.support import BASE, MISSING, Script, fields, problem
from tests.conftest import inside
from tests.edge_ai import factories

LISTS: dict[str, Callable[[User, Model], Any]] = {
    "models/": lambda owner, model: factories.make_model(owner, parent=model),
    "datasets/": lambda owner, model: factories.make_dataset(owner),
    "device-profiles/": lambda owner, model: factories.make_device(owner),
    "optimization-jobs/": factories.make_optimization,
    "benchmarks/": factories.make_benchmark,
    "comparisons/": factories.make_comparison,
    "packages/": factories.make_packaging,
    "models/imports/": lambda owner, model: factories.make_import(owner),
    "diagnoses/": factories.make_diagnosis,
    "artifacts/": factories.make_artifact,
    "webhooks/": lambda owner, model: factories.make_endpoint(owner),
}
ORDERS = {
    "models/": ["-created_at", "name", "-size_bytes,name", "status,format,name", "updated_at"],
    "device-profiles/": ["position,name", "-memory_mb", "memory_mb", "cpu_cores,-name"],
    "benchmarks/": ["p50_ms", "-p50_ms", "finished_at", "-finished_at,p50_ms", "-created_at"],
}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_costs_the_same_however_long_it_is(alpha: Workspace, owner: User, script_of: Script, path: str) -> None:
    script = script_of(owner)
    with inside(alpha, owner):
        model = factories.make_model(owner)
        LISTS[path](owner, model)

    def cost() -> tuple[int, int]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            rows = script.get(f"{BASE}{path}?page_size=200").json()["results"]
        return len(queries), len(rows)

    cost()
    queries_for_one, one = cost()
    with inside(alpha, owner):
        for _ in range(19):
            LISTS[path](owner, model)
    queries_for_many, many = cost()
    assert many == one + 19
    assert queries_for_many == queries_for_one <= 7


def walk(script: Client, link: str | None, way: str = "next") -> list[str]:
    """Return the ids of a page and of all that follow it."""
    ids: list[str] = []
    for _ in range(100):
        assert link is not None
        answer = script.get(link)
        assert answer.status_code == 200, answer.content
        page = answer.json()
        found = [row["id"] for row in page["results"]]
        ids = ids + found if way == "next" else found + ids
        link = page[way]
        if link is None:
            return ids
    raise AssertionError("The pages do not end.")


@pytest.mark.parametrize(("path", "ordering"), [(path, order) for path, orders in ORDERS.items() for order in orders])
def test_every_row_is_on_exactly_one_page_in_order(
    alpha: Workspace, owner: User, script_of: Script, path: str, ordering: str
) -> None:
    dice = random.Random(7)  # noqa: S311 - not a secret
    with inside(alpha, owner):
        model = factories.make_model(owner)
        for index in range(23):
            if path == "models/":
                factories.make_model(
                    owner,
                    name=f"n{index % 4}",
                    size_bytes=index % 3,
                    created_at=timezone.now() - timedelta(hours=index // 5),
                )
            elif path == "benchmarks/":
                measured = dice.random() < 0.6
                ended = {"status": "completed", "finished_at": timezone.now(), "result": {}} if measured else {}
                run = factories.make_benchmark(owner, model, **ended)
                BenchmarkRun.objects.filter(pk=run.pk).update(p50_ms=dice.choice([1.5, 2.5]) if measured else None)
            else:
                factories.make_device(owner, memory_mb=dice.choice([None, 512, 1024]), cpu_cores=dice.choice([None, 2]))
    script = script_of(owner)
    whole = walk(script, f"{BASE}{path}?page_size=200&ordering={ordering}")
    assert len(whole) == len(set(whole)) >= 23
    for size in (1, 4, 7):
        first = f"{BASE}{path}?page_size={size}&ordering={ordering}"
        assert walk(script, first) == whole
    last = f"{BASE}{path}?page_size=5&ordering={ordering}"
    while following := script.get(last).json()["next"]:
        last = following
    tail = [row["id"] for row in script.get(last).json()["results"]]
    assert walk(script, script.get(last).json()["previous"], "previous") + tail == whole


def test_values_that_are_not_there_come_last(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        for value in (3.0, None, 1.0, None, 2.0):
            run = factories.make_benchmark(owner, model)
            BenchmarkRun.objects.filter(pk=run.pk).update(p50_ms=value)
    script = script_of(owner)
    for ordering, wanted in (("p50_ms", [1.0, 2.0, 3.0, None, None]), ("-p50_ms", [3.0, 2.0, 1.0, None, None])):
        rows = script.get(f"{BASE}benchmarks/?ordering={ordering}").json()["results"]
        assert [row["p50_ms"] for row in rows] == wanted


def test_rows_that_come_and_go_shift_nothing(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        made = [factories.make_model(owner, name=f"{index:02}") for index in range(10)]
    script = script_of(owner)
    page = script.get(f"{BASE}models/?ordering=name&page_size=4").json()
    assert [row["name"] for row in page["results"]] == ["00", "01", "02", "03"]
    with inside(alpha, owner):
        made[0].delete()
        made[3].delete()
        factories.make_model(owner, name="00b")
    page = script.get(page["next"]).json()
    assert [row["name"] for row in page["results"]] == ["04", "05", "06", "07"]
    back = script.get(page["previous"]).json()
    assert [row["name"] for row in back["results"]] == ["00b", "01", "02"]
    assert back["previous"] is None


def test_an_empty_list(owner: User, script_of: Script) -> None:
    for path in ("models/", "artifacts/"):
        assert script_of(owner).get(BASE + path).json() == {"next": None, "previous": None, "results": []}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=0", "page_size"),
        ("page_size=201", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=many", "page_size"),
        ("page_size=٣", "page_size"),
        ("page_size=", "page_size"),
        ("ordering=sha256", "ordering"),
        ("ordering=owner__password", "ordering"),
        ("ordering=name,-name", "ordering"),
        ("ordering=--name", "ordering"),
        ("ordering=name,created_at,format,status", "ordering"),
        ("cursor=abc", "cursor"),
        ("cursor=%00", "cursor"),
        ("status=sleeping", "status"),
        ("format=docx", "format"),
        ("format=onnx&format=docx", "format"),
        ("parent=7", "parent"),
        ("visibility=public", "visibility"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2026-13-01", "created_before"),
        ("search=%00", "search"),
        ("precision=%00", "precision"),
        ("tag=" + "t" * 41, "tag"),
        ("stauts=ready", "stauts"),
        ("owner=1", "owner"),
    ],
)
def test_a_query_that_means_nothing_is_refused(owner: User, script_of: Script, query: str, field: str) -> None:
    assert fields(problem(script_of(owner).get(f"{BASE}models/?{query}"), 422, "invalid_request")) == {field}


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("device-profiles/", "is_host=maybe", "is_host"),
        ("device-profiles/", "category=toaster", "category"),
        ("device-profiles/", "format=other", "format"),
        ("datasets/", "has_labels=2", "has_labels"),
        ("datasets/", "kind=training", "kind"),
        ("optimization-jobs/", "model=x", "model"),
        ("optimization-jobs/", "precision=int7", "precision"),
        ("benchmarks/", "status=ready", "status"),
        ("benchmarks/", "baseline=x", "baseline"),
        ("comparisons/", "model=x", "model"),
        ("comparisons/", "margin=1", "margin"),
        ("packages/", "model=x", "model"),
        ("diagnoses/", "baseline=x", "baseline"),
        ("packages/", "device_profile=x", "device_profile"),
        ("artifacts/", "artifact_type=zip", "artifact_type"),
        ("artifacts/", "format=onnx", "format"),
    ],
)
def test_a_filter_value_that_cannot_be_is_refused(
    owner: User, script_of: Script, path: str, query: str, field: str
) -> None:
    assert fields(problem(script_of(owner).get(f"{BASE}{path}?{query}"), 422, "invalid_request")) == {field}


def test_a_cursor_is_of_one_order_and_cannot_be_made_by_hand(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        for _ in range(3):
            factories.make_model(owner)
    script = script_of(owner)
    link = script.get(f"{BASE}models/?page_size=1&ordering=name").json()["next"]
    assert script.get(link).status_code == 200
    problem(script.get(link.replace("ordering=name", "ordering=-name")), 422, "invalid_request")
    problem(script.get(link.replace("cursor=", "cursor=x")), 422, "invalid_request")


def test_filters_of_models(alpha: Workspace, owner: User, script_of: Script) -> None:
    old = timezone.now() - timedelta(days=3)
    with inside(alpha, owner):
        parent = factories.make_model(owner, name="Parent", tags=["a", "b"], description="The 100% one")
        factories.make_model(owner, name="Child", parent=parent, precision="qdq-int8", visibility="workspace")
        factories.make_model(owner, name="Lite", format="tflite", file_name="phone.tflite", created_at=old)
        factories.make_model(owner, name="New", status="uploaded", analysis=None)
    script = script_of(owner)

    def names(query: str) -> set[str]:
        answer = script.get(f"{BASE}models/?{query}")
        assert answer.status_code == 200, answer.content
        return {row["name"] for row in answer.json()["results"]}

    assert names("format=tflite") == {"Lite"}
    assert names("format=tflite&format=onnx&status=uploaded") == {"New"}
    assert names(f"parent={parent.pk}") == {"Child"}
    assert names("precision=qdq-int8") == {"Child"}
    assert names("visibility=workspace") == {"Child"}
    assert names("tag=b") == {"Parent"}
    assert names("search=100%25") == {"Parent"}
    assert names("search=PHONE.") == {"Lite"}
    assert names("search=%25") == {"Parent"}, "a percent sign is a percent sign"
    since = (timezone.now() - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert names(f"created_before={since}") == {"Lite"}
    assert names(f"created_after={since}") == {"Parent", "Child", "New"}


def test_filters_of_jobs(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        board = factories.make_device(owner)
        dataset = factories.make_dataset(owner)
        here = factories.make_optimization(owner, model, precision="fp16", dataset=dataset, name="Half")
        there = factories.make_optimization(owner, device_profile=board, optimization_level="size")
        run = factories.make_benchmark(owner, model)
        against = factories.make_benchmark(owner, baseline=run)
    script = script_of(owner)

    def ids(query: str) -> set[str]:
        return {row["id"] for row in script.get(BASE + query).json()["results"]}

    assert ids(f"optimization-jobs/?model={model.pk}") == {str(here.pk)}
    assert ids(f"optimization-jobs/?device_profile={board.pk}&status=queued&status=running") == {str(there.pk)}
    assert ids(f"optimization-jobs/?dataset={dataset.pk}&precision=fp16&target_format=onnx") == {str(here.pk)}
    assert ids("optimization-jobs/?optimization_level=size") == {str(there.pk)}
    assert ids("optimization-jobs/?search=half") == {str(here.pk)}
    assert ids(f"optimization-jobs/?model={MISSING}") == set()
    assert ids(f"benchmarks/?baseline={run.pk}") == {str(against.pk)}
    assert ids(f"benchmarks/?model={model.pk}") == {str(run.pk)}
    with inside(alpha, owner):
        bundle = factories.make_packaging(owner, model)
        factories.make_packaging(owner, status="cancelled")
    assert ids(f"packages/?model={model.pk}&ordering=-status,name") == {str(bundle.pk)}
    assert ids("packages/?status=queued") == {str(bundle.pk)}
    with inside(alpha, owner):
        why = factories.make_diagnosis(owner, baseline=model, dataset=dataset)
        factories.make_diagnosis(owner, device_profile=board)
    for query in (f"baseline={model.pk}", f"dataset={dataset.pk}", f"model={why.model_id}"):
        assert ids(f"diagnoses/?{query}&status=queued") == {str(why.pk)}


def test_rows_are_presented_as_rest_framework_does_only_sooner(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        job = factories.make_optimization(owner, model)
        error = {"code": "model_unsafe", "detail": "It has code.", "fix": "Export it without.", "more": 1}
        rows = [
            model,
            factories.make_model(owner, parent=model, producer=job, tags=["one", "two"], description="…"),
            factories.make_model(owner, status="failed", analysis=None, error=error, precision=""),
        ]
    for row in rows:
        serializer = StoredModelSerializer(row)
        slowly = ModelSerializer.to_representation(serializer, row)
        assert JSONRenderer().render(serializer.data) == JSONRenderer().render(slowly)


def test_analyses_of_a_list_are_those_of_each_model(alpha: Workspace, owner: User, script_of: Script) -> None:
    odd = factories.ANALYSIS | {"producer": '"\\ \u2028 größe', "numbers": [1e-9, 1.5, -0.0, 10**20], "nothing": None}
    with inside(alpha, owner):
        for analysis in (factories.ANALYSIS, odd):
            factories.make_model(owner, analysis=analysis)
        factories.make_model(owner, status="uploaded", analysis=None)
    script = script_of(owner)
    rows = script.get(f"{BASE}models/").json()["results"]
    assert len(rows) == 3
    assert rows == [script.get(f"{BASE}models/{row['id']}/").json() for row in rows]
