"""A few hundred mutants of every format, as ``python -m benchmarks.fuzz`` tries them by the ten thousand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz import __main__ as command
from benchmarks.fuzz.attempt import Ending
from benchmarks.fuzz.campaign import Campaign, campaign
from benchmarks.fuzz.mutate import mutant
from benchmarks.fuzz.seeds import SEEDS

MUTANTS = 200


@pytest.fixture(scope="module")
def mutants() -> Iterator[Campaign]:
    """A warm process to try them in."""
    with campaign(seed=20260101, wall_seconds=10.0) as made:
        yield made


@pytest.mark.parametrize("format", SEEDS)
def test_mutants_end_in_a_code(mutants: Campaign, format: str) -> None:
    tally = mutants.run(format, first=0, count=MUTANTS, jobs=2)
    assert tally.mutants == MUTANTS
    assert not tally.violations, json.dumps(tally.to_json(), indent=2)
    # What damages nothing that matters is taken, and the rest is not: the mutants reach the parsers.
    assert 0 < tally.endings["accepted"] < MUTANTS
    assert sum(count for ending, count in tally.endings.items() if ending.startswith("analysis")) or format == "npz"


def test_the_same_seed_makes_the_same_mutants() -> None:
    for format, make in SEEDS.items():
        seeds = make()
        made = [mutant(seeds, format, number, 7) for number in range(20)]
        assert made == [mutant(seeds, format, number, 7) for number in range(20)]
        assert made != [mutant(seeds, format, number, 8) for number in range(20)]
        assert len(set(made)) > 15


@pytest.mark.parametrize(
    ("ending", "faults"),
    [
        (Ending(step="analysis", code="model_unreadable"), []),
        (Ending(step="analysis", code="accepted"), []),
        (Ending(step="analysis", code="internal_error"), ["internal_error"]),
        (Ending(step="analysis", code="made_up"), ["unknown code"]),
        (Ending(step="run", code="accepted", words="Traceback (most recent call last):"), ["traceback"]),
        (Ending(step="run", code="accepted", seconds=61), ["too slow"]),
    ],
)
def test_what_must_never_be_is_counted(ending: Ending, faults: list[str]) -> None:
    assert ending.faults(limit_seconds=60) == faults


def test_the_command_tells_of_violations_and_keeps_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.fuzz.campaign.sniff", lambda path, dataset: (Ending(step="upload", code="odd"), ""))
    status = command.main(["gguf", "--count", "3", "--json", "--nice", "0", "--keep", str(tmp_path / "kept")])
    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert (told["format"], told["mutants"], told["endings"]) == ("gguf", 3, {"upload odd": 3})
    assert [item["faults"] for item in told["violations"]] == [["unknown code"]] * 3
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {f"gguf-{number}.{suffix}" for number in range(3) for suffix in ("bin", "txt")}
