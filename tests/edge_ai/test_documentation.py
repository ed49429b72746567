"""What the documentation says of options, formats and addresses is what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edge_ai.api.schema import description
from edge_ai.engine.options import OptimizeOptions, OptionRule, option_rules
from edge_ai.engine.routes import EDGES, LANES, RUNS_HERE
from edge_ai.engine.spec import Format
from edge_ai.web.option_fields import GROUPS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def table(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables by the word in their first cell."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \|(.*)\|$", (DOCS / page).read_text(), re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


def given(rule: OptionRule) -> str:
    """What may be given, in the words of the page."""
    if rule.kind == "choice":
        quote = "" if isinstance(rule.choices[0], int) else "`"
        return ", ".join(f"{quote}{choice}{quote}" for choice in rule.choices)
    if rule.kind == "boolean":
        return "`true`, `false`, `null`" if rule.optional else "`true`, `false`"
    if rule.kind == "names":
        return "up to 200 names"
    return f"{rule.low:g} to {rule.high:.0f}" if rule.kind == "integer" else f"{rule.low:g} to {rule.high:g}"


def usual(value: Any) -> str:
    """A default, in the words of the page."""
    if isinstance(value, bool) or value is None:
        return {True: "`true`", False: "`false`", None: "`null`"}[value]
    return "none" if value == () else f"`{value}`" if isinstance(value, str) else str(value)


@pytest.mark.parametrize(("name", "rule"), option_rules().items())
def test_every_option_is_told_with_its_bounds_and_default(name: str, rule: OptionRule) -> None:
    allowed, default, does = table("options.md")[name]
    assert allowed == given(rule)
    assert default == usual(getattr(OptimizeOptions(), name))
    assert len(does) > 20


def test_no_option_is_told_that_there_is_not() -> None:
    assert set(table("options.md")) == set(option_rules())


def test_every_option_stands_in_one_group_of_the_form() -> None:
    grouped = [name for _, _, names in GROUPS for name in names]
    assert sorted(grouped) == sorted(option_rules())


@pytest.mark.parametrize("target", LANES)
def test_every_target_is_told_with_its_precisions(target: Format) -> None:
    _, precisions, measured = table("routes.md")[target.value]
    assert precisions == ", ".join(LANES[target].precisions)
    assert measured.startswith("yes") is (target in RUNS_HERE)


def test_every_conversion_is_told() -> None:
    names = {
        Format.ONNX: "ONNX",
        Format.TFLITE: "TensorFlow Lite",
        Format.KERAS: "Keras",
        Format.SAVED_MODEL: "SavedModel",
    }
    text = " ".join((DOCS / "routes.md").read_text().split())
    told = text[text.index("Conversions lead") : text.index("Files in the formats")]
    assert len(EDGES) == 5
    for edge in EDGES:
        assert re.search(rf"from {names[edge.source]} to [^,.]*{names[edge.target]}", told), edge


def test_every_address_of_the_api_is_told() -> None:
    text = (DOCS / "endpoints.md").read_text()
    for path, verbs in description()["paths"].items():
        for verb in verbs:
            assert f"| {verb.upper()} | `{path}` |" in text, "run `make docs`"


def test_every_page_is_reached_and_no_link_leads_nowhere() -> None:
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    reached = set()
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            target = (page.parent / link).resolve()
            assert target.exists(), f"{page.name}: {link}"
            reached.add(target)
    assert {page for page in DOCS.glob("*.md") if page.name != "formats.md"} <= reached


def test_every_finding_of_a_diagnosis_is_told() -> None:
    sources = [*(ROOT / "edge_ai" / "engine" / "doctor").glob("*.py"), ROOT / "edge_ai/engine/measure/why_slow.py"]
    pattern = r'code="([a-z0-9_]+)"|_reason\(\s*"([a-z0-9_]+)"'
    codes = {one or other for path in sources for one, other in re.findall(pattern, path.read_text())}
    assert {"qdq_islands", "error_jumps", "tiny"} <= codes
    told = set(re.findall(r"`([a-z0-9_]+)`", (DOCS / "diagnoses.md").read_text()))
    assert codes - told == set()
