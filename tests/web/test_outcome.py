"""What came of an optimization, as its page tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.web.outcome import in_order, outcome_of
from edge_ai.web.wording import quantization
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results

Browser = Callable[[User], Client]
UNCHECKED: dict[str, Any] = {
    "sqnr_db": None,
    "cosine": None,
    "max_abs_error": None,
    "top1_agreement": None,
    "samples": 0,
    "data": "not_checked",
    "metric": None,
    "outputs": [],
    "notes": [],
}


def shown(alpha: Workspace, owner: User, browser: Client, result: dict[str, Any], **fields: Any) -> str:
    """The page of a completed optimization, without white space between its words."""
    with inside(alpha, owner):
        job = factories.make_optimization(owner, **(results.ENDED | {"result": result} | fields))
    response = browser.get(reverse("edge_ai:job-detail", args=[job.pk]))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_trials_stand_with_their_latency_and_the_chosen_one_is_marked(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    text = shown(alpha, owner, browser_of(owner), results.OPTIMIZED)
    assert "0.731×" in text
    assert '<tr class="chosen"><th scope="row" class="min-w-36">MinMax</th>' in text
    assert "It is too far from the original." in text
    assert "1.37×<small> faster</small>" in text


@pytest.mark.parametrize(
    ("verdict", "ratio", "ci95", "said"),
    [
        ("faster", 0.5, [0.4, 0.6], "2.00×<small> faster</small>"),
        ("slower", 1.25, [1.1, 1.4], "1.25×<small> slower</small>"),
        ("same", 0.98, [0.97, 1.01], "The<small> same</small>"),
        ("inconclusive", 0.9, [0.7, 1.2], "No<small> clear difference</small>"),
    ],
)
def test_a_latency_is_said_as_surely_as_it_is_known(
    verdict: str, ratio: float, ci95: list[float], said: str, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    [first, other] = results.OPTIMIZED["trials"]
    told = {"MinMax": {"ratio": ratio, "ci95": ci95, "verdict": verdict}}
    latency = results.OPTIMIZED["latency"] | {"trials": told}
    result = results.OPTIMIZED | {"trials": [first | {"latency_ratio": ratio}, other], "latency": latency}
    text = shown(alpha, owner, browser_of(owner), result)
    assert said in text
    assert "of its latency (95 % interval)" in text
    assert ("not certain" in text) == (verdict == "inconclusive")
    assert ("faster</small>" in text) == (verdict == "faster")


def test_steps_of_compression_tell_both_sizes(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    text = shown(alpha, owner, browser_of(owner), results.OPTIMIZED)
    assert "Small weights set to zero" in text
    assert "Half of the weights are zero." in text
    assert 'title="2,300 bytes"' in text


def test_a_slower_variant_is_said_first(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    slower = {"code": "variant_slower", "detail": "It takes twice as long.", "fix": "Choose fp16."}
    result = results.OPTIMIZED | {"warnings": [*results.OPTIMIZED["warnings"], slower]}
    text = shown(alpha, owner, browser_of(owner), result)
    assert text.index("It takes twice as long.") < text.index("There are few samples.") < text.index("Before and after")


def test_what_was_not_compared_is_not_called_exact(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    result = results.OPTIMIZED | {"parity": UNCHECKED}
    text = shown(alpha, owner, browser_of(owner), result, target_format="coreml", precision="fp16")
    assert "not checked" in text
    assert "Nothing here runs Core ML files" in text
    assert "exact" not in text
    assert "Benchmark</a>" not in text, "nothing here measures it"


def test_a_result_of_old_has_less_and_is_shown(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    late = {"gzip_bytes", "original_gzip_bytes", "latency", "steps", "route"}
    trials = [{"name": "MinMax", "seconds": 0.1, "size_bytes": 1500, "sqnr_db": 38.6, "chosen": True}]
    old = {name: value for name, value in results.OPTIMIZED.items() if name not in late} | {"trials": trials}
    text = shown(alpha, owner, browser_of(owner), old)
    assert "Not measured against the original yet." in text
    assert "Compression</caption>" not in text


def test_both_recipes_can_be_downloaded(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        job = factories.make_optimization(owner, **(results.ENDED | {"result": results.OPTIMIZED}))
        for name in ("digits-int8-recipe.json", "digits-int8-recipe.yaml"):
            factories.make_artifact(owner, optimization_job=job, file_name=name)
    text = browser_of(owner).get(reverse("edge_ai:job-detail", args=[job.pk])).content.decode()
    assert text.count("digits-int8-recipe.json</a>") == text.count("digits-int8-recipe.yaml</a>") == 2


@pytest.mark.parametrize("result", [{}, {"trials": None, "warnings": None, "steps": None}])
def test_nothing_known_is_nothing_shown(result: dict[str, Any]) -> None:
    known = outcome_of(result)
    assert known == {"trials": [], "chosen": {}, "latency_words": None, "warnings": [], "compressed": []}


def test_warnings_that_are_alike_stay_in_order() -> None:
    given = [{"code": "a"}, {"code": "b"}, {"code": "variant_slower"}, {"code": "c"}]
    assert [each["code"] for each in in_order(given)] == ["variant_slower", "a", "b", "c"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": 0.00784313, "zero_point": 128}, "scale 0.007843, zero point 128"),
        ({"scale": [0.5], "zero_point": [0]}, "scale 0.5, zero point 0"),
        ({"scale": [0.5, 0.25], "zero_point": [0, 0]}, "2 scales, one a channel"),
        ({"scale": 0.5}, "scale 0.5"),
        ({}, "quantized"),
    ],
)
def test_integers_are_said_to_stand_for_something(given: dict[str, Any], said: str) -> None:
    assert quantization(given) == said


def test_a_model_that_is_only_kept_says_what_to_do(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        kept = factories.make_model(owner, format="gguf", analysis=factories.ANALYSIS | {"operators": {}})
        lite = factories.make_model(
            owner,
            format="tflite",
            analysis=factories.ANALYSIS
            | {
                "inputs": [
                    {
                        "name": "image",
                        "dtype": "int8",
                        "shape": [1, 8, 8, 1],
                        "quantization": {"scale": 0.5, "zero_point": -3},
                    }
                ],
                "peak_activation_bytes": 12_345,
            },
        )
    browser = browser_of(owner)
    text = browser.get(reverse("edge_ai:model-detail", args=[kept.pk])).content.decode()
    assert "Kept, not converted." in text
    assert "GGUF is for llama.cpp" in text
    assert "Optimize</a>" not in text
    text = browser.get(reverse("edge_ai:model-detail", args=[lite.pk])).content.decode()
    assert "scale 0.5, zero point -3" in text
    assert "12,345 bytes" in text
    assert "Kept, not converted." not in text


def test_operators_that_were_not_timed_say_why(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    reason = "LiteRT tells no times of operators here."
    environment = results.MEASURED["environment"] | {"runtime": "litert", "litert": "2.3.0"}
    result = results.MEASURED | {"operators": None, "operators_reason": reason, "environment": environment}
    with inside(alpha, owner):
        run = factories.make_benchmark(owner, **(results.ENDED | {"result": result, "p50_ms": 0.06}))
    text = browser_of(owner).get(reverse("edge_ai:benchmark-detail", args=[run.pk])).content.decode()
    assert reason in text
    assert "LiteRT <span" in text


def test_a_failure_tells_what_was_tried(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    error = results.FAILED["error"] | {"details": {"trials": results.OPTIMIZED["trials"][1:]}}
    with inside(alpha, owner):
        job = factories.make_optimization(owner, **(results.FAILED | {"error": error}))
    text = browser_of(owner).get(reverse("edge_ai:job-detail", args=[job.pk])).content.decode()
    assert "What was tried" in text
    assert "It is too far from the original." in text
