"""What a model's page tells: its layers and its family, and that names of strangers stay text on every tab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import AnalysisJob, Model, ModelLayers
from edge_ai.services.family import family_of
from edge_ai.services.layers import keep_layers
from edge_ai.web.views.models import TABS
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results

Browser = Callable[[User], Client]
EVIL = '<img src=x onerror="alert(1)">'


def layer(name: str, **facts: Any) -> dict[str, Any]:
    """A layer as the engine tells it."""
    usual = {
        "type": "Relu",
        "inputs": [[1, 4]],
        "outputs": [[1, None]],
        "parameters": 0,
        "weight_bytes": 0,
        "macs": 0,
        "precision": "float32",
    }
    return {"name": name} | usual | facts


ROWS = [
    layer("stem", type="Conv", parameters=320, weight_bytes=1280, macs=9000),
    layer("body", type="Conv", parameters=36_928, weight_bytes=147_712, macs=1000),
    layer("act"),
    layer("loop", type="Einsum", macs=None, precision=None),
]


def page_of(model: Model, tab: str, **more: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in {"tab": tab, **more}.items())
    return f"{reverse('edge_ai:model-detail', args=[model.pk])}?{query}"


@pytest.fixture
def layered(alpha: Workspace, owner: User) -> Model:
    """A model whose layers are known."""
    with inside(alpha, owner):
        model = factories.make_model(owner)
        keep_layers(model.pk, {"rows": ROWS, "count": len(ROWS)})
    return model


def order_in(text: str, names: list[str]) -> list[str]:
    body = text[text.index("<tbody>") :]
    return sorted(names, key=lambda name: body.index(f">{name}</th>"))


def test_layers_are_shown_with_their_share(layered: Model, owner: User, browser_of: Browser) -> None:
    text = browser_of(owner).get(page_of(layered, "layers")).content.decode()
    assert order_in(text, ["act", "body", "loop", "stem"]) == ["stem", "body", "act", "loop"]
    assert "90.0 % of MACs" in text
    assert "1 × ?" in text
    assert "not known" in text
    assert "4 of 4 layers" in text


@pytest.mark.parametrize(
    ("ordering", "first_to_last"),
    [
        ("macs", ["act", "body", "stem", "loop"]),
        ("-macs", ["stem", "body", "act", "loop"]),
        ("-parameters", ["body", "stem", "act", "loop"]),
        ("name", ["act", "body", "loop", "stem"]),
        ("password", ["stem", "body", "act", "loop"]),
    ],
)
def test_layers_are_sorted_by_the_address(
    ordering: str, first_to_last: list[str], layered: Model, owner: User, browser_of: Browser
) -> None:
    text = browser_of(owner).get(page_of(layered, "layers", ordering=ordering)).content.decode()
    assert order_in(text, ["act", "body", "loop", "stem"]) == first_to_last


def test_layers_are_found_and_paged_by_the_address(
    alpha: Workspace, layered: Model, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    found = browser.get(page_of(layered, "layers", search="BOD")).content.decode()
    assert ">body</th>" in found
    assert ">stem</th>" not in found
    of_type = browser.get(page_of(layered, "layers", type="Conv")).content.decode()
    assert ">stem</th>" in of_type
    assert ">act</th>" not in of_type
    assert "No layer matches" in browser.get(page_of(layered, "layers", search="nothing")).content.decode()
    with inside(alpha, owner):
        keep_layers(layered.pk, {"rows": [layer(f"n{place}") for place in range(120)], "count": 5000})
    last = browser.get(page_of(layered, "layers", page="3")).content.decode()
    assert ">n119</th>" in last
    assert ">n0</th>" not in last
    assert "the last 3000 are not kept" in last
    assert "tab=layers" in last[last.index('aria-label="Pages"') :]


def test_a_format_without_layers_says_why(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, format="gguf")
    text = browser_of(owner).get(page_of(model, "layers")).content.decode()
    assert "A GGUF file holds tensors" in text
    response = browser_of(owner).post(reverse("edge_ai:model-layers-read", args=[model.pk]))
    assert response.status_code == 303
    with inside(alpha, owner):
        assert not AnalysisJob.objects.filter(model=model).exists()


def test_a_model_of_old_is_read_once_more(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        model = factories.make_model(owner)
    assert "Read the layers" in browser.get(page_of(model, "layers")).content.decode()
    for _ in range(2):
        response = browser.post(reverse("edge_ai:model-layers-read", args=[model.pk]))
        assert response["Location"] == page_of(model, "layers")
    with inside(alpha, owner):
        assert AnalysisJob.objects.filter(model=model).count() == 1
    assert "The file is being read" in browser.get(page_of(model, "layers")).content.decode()


def test_layers_are_seen_by_who_sees_the_model(
    alpha: Workspace, beta: Workspace, layered: Model, owner: User, colleague: User, outsider: User
) -> None:
    with inside(alpha, colleague):
        assert not ModelLayers.objects.exists()
    with inside(beta, outsider):
        assert not ModelLayers.objects.exists()
    with inside(alpha, owner):
        Model.objects.filter(pk=layered.pk).update(visibility="workspace")
    with inside(alpha, colleague):
        assert ModelLayers.objects.get().count == 4
        assert ModelLayers.objects.update(count=1) == 0
        assert ModelLayers.objects.all().delete()[0] == 0
    with inside_as_system(alpha):
        assert ModelLayers.objects.get().count == 4


def measured(user: User, model: Model, p50_ms: float, accuracy: float, **fields: Any) -> Any:
    comparison = fields.pop("comparison", None)
    result = results.MEASURED | {"comparison": comparison, "accuracy": {"top1": accuracy}}
    return factories.make_benchmark(user, model, **(results.ENDED | {"result": result, "p50_ms": p50_ms} | fields))


def test_a_family_is_shown_with_what_each_is_held_against(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    faster = {"verdict": "faster", "ratio_p50": 0.5, "ci95": [0.4, 0.6]}
    with inside(alpha, owner):
        data = factories.make_dataset(owner, name="digits-eval")
        original = factories.make_model(owner, name="net", size_bytes=4_000_000)
        variant = factories.make_model(owner, name="net · int8", parent=original, size_bytes=1_000_000)
        grandchild = factories.make_model(owner, name="net · int8 pruned", parent=variant, size_bytes=500_000)
        factories.make_model(owner, name="somebody else")
        baseline = measured(owner, original, 2.0, 0.9, dataset=data)
        measured(owner, variant, 1.0, 0.88, dataset=data, baseline=baseline, comparison=faster)
        family = family_of(owner, model=grandchild)
    assert [(each.model.name, each.depth) for each in family] == [
        ("net", 0),
        ("net · int8", 1),
        ("net · int8 pruned", 2),
    ]
    text = browser_of(owner).get(page_of(variant, "variants")).content.decode()
    assert "somebody else" not in text
    assert "4.00× smaller" in text
    assert "8.00× smaller" in text
    assert "2.00× faster" in text
    assert "−2.00 points" in text
    assert "made from net · int8" in text
    assert "latest benchmark with “digits-eval”" in text
    for chart in ("size", "latency", "accuracy"):
        assert f'id="family-{chart}-chart"' in text


def test_a_family_ends_where_one_may_not_see(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        original = factories.make_model(owner, name="kept private")
        variant = factories.make_model(owner, name="shared", parent=original, visibility="workspace")
        factories.make_model(owner, name="shared too", parent=variant, visibility="workspace")
    with inside(alpha, colleague):
        assert [each.model.name for each in family_of(colleague, model=variant)] == ["shared", "shared too"]


def test_a_model_alone_says_what_a_variant_is(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    text = browser_of(owner).get(page_of(model, "variants")).content.decode()
    assert "A variant is this model made smaller" in text
    assert "echarts" not in text


@pytest.mark.parametrize("tab", TABS)
def test_names_of_strangers_stay_text(tab: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    tensor = {"name": EVIL, "dtype": EVIL, "shape": [EVIL, 1]}
    analysis = factories.ANALYSIS | {
        "inputs": [tensor],
        "outputs": [tensor],
        "operators": {EVIL: 2},
        "producer": EVIL,
        "metadata": {EVIL: EVIL},
        "dynamic_axes": [{"input": EVIL, "axis": 0, "name": EVIL}],
        "warnings": [{"code": "x", "detail": EVIL, "fix": EVIL}],
    }
    with inside(alpha, owner):
        named = {"name": EVIL, "file_name": EVIL}
        model = factories.make_model(owner, **named, description=EVIL, tags=[EVIL[:40]], analysis=analysis)
        variant = factories.make_model(owner, **named, parent=model, size_bytes=10)
        data = factories.make_dataset(owner, name=EVIL)
        keep_layers(model.pk, {"rows": [layer(EVIL, type=EVIL, precision=EVIL, macs=1)], "count": 1})
        baseline = measured(owner, model, 2.0, 0.9, dataset=data, name=EVIL)
        faster = {"verdict": "faster", "ratio_p50": 0.5, "ci95": [0.4, 0.6]}
        measured(owner, variant, 1.0, 0.9, dataset=data, baseline=baseline, comparison=faster, name=EVIL)
        factories.make_artifact(owner, model, file_name=EVIL)
        factories.make_optimization(owner, model, name=EVIL)
    browser = browser_of(owner)
    with CaptureQueriesContext(connection) as asked:
        text = browser.get(page_of(model, tab)).content.decode()
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
    assert len(asked) < 20


def test_tags_are_changed_on_the_page(alpha: Workspace, owner: User, colleague: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, visibility="workspace")
    address = reverse("edge_ai:model-tags", args=[model.pk])
    browser = browser_of(owner)
    response = browser.post(address, {"tags": f" demo, {EVIL[:40]}, demo,"})
    assert response.status_code == 303
    with inside(alpha, owner):
        model.refresh_from_db()
    assert model.tags == ["demo", EVIL[:40]]
    browser.post(address, {"tags": ",".join(str(number) for number in range(21))})
    text = browser.get(page_of(model, "overview")).content.decode()
    assert "At most 20 tags" in text
    assert "<img src=x" not in text
    assert browser_of(colleague).post(address, {"tags": "mine"}).status_code == 404
    assert "f-tags" not in browser_of(colleague).get(page_of(model, "overview")).content.decode()


def test_the_facts_say_what_goes_in_and_out(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, description="First line.\nSecond line.")
    text = browser_of(owner).get(page_of(model, "files")).content.decode()
    assert "batch × 1 × 8 × 8" in text
    assert "batch × 10" in text
    assert "whitespace-pre-line" in text
