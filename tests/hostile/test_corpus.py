"""Whatever a stranger uploads, it ends in a clear code, soon; nothing is told, written, left or broken."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ai.engine.errors import CODES
from tests.hostile import corpus
from tests.hostile.corpus import KINDS
from tests.hostile.kinds import ACCEPTED
from tests.hostile.trial import Range, firing_range

ROOT = Path(__file__).resolve().parents[2]
#: What is promised.
SECONDS = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    """The processes, a secret in a file, and the same in this process' environment."""
    secret = f"secret-{secrets.token_hex(12)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_TEST_SECRET", secret)
        with firing_range(tmp_path_factory.mktemp("hostile"), secret) as made:
            yield made


@pytest.mark.parametrize("name", KINDS)
def test_a_hostile_file_ends_in_its_code_and_does_no_harm(place: Range, name: str) -> None:
    kind, bait = KINDS[name], place.bait
    beside = {path.name for path in bait.secret_file.parent.iterdir()}
    endings = place.try_kind(kind)
    last = endings[-1]
    assert (last.step, last.code) in {(kind.step, code) for code in kind.codes}, (last.detail, last.words[-3000:])
    assert all(not ending.faults(limit_seconds=SECONDS) for ending in endings)
    if last.code != ACCEPTED:
        assert last.detail and str(bait.folder) not in last.detail
    # Nothing was told: not in an answer, not in a log, not in a file.
    said = [ending.words for ending in endings]
    files = [
        path
        for path in bait.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1
    ]
    assert not any(place.secret in text for text in said)
    assert not any(place.secret.encode() in path.read_bytes() for path in files)
    # Nothing was written or left, but by the generator itself.
    assert not bait.marker.exists()
    assert {path.name for path in bait.secret_file.parent.iterdir()} - beside <= {"secret.h5"}
    assert {path.name for path in place.folder.iterdir()} == {"home", "work", "beside"}
    # And the next one is none the worse.
    assert place.readers.alive


def test_an_honest_file_after_all_of_them_is_read_as_ever(place: Range) -> None:
    ending = place.honest()
    assert ending.accepted, ending.words
    assert ending.message["result"]["parameter_count"] == 12


def test_every_code_is_one_that_people_are_told() -> None:
    assert len(KINDS) >= 40
    for kind in KINDS.values():
        assert set(kind.codes) <= CODES.keys() | {ACCEPTED}
        assert not {"internal_error", "engine_crashed"} & set(kind.codes)


def test_the_page_on_security_has_the_table() -> None:
    assert corpus.table() in (ROOT / "docs" / "security.md").read_text(), "python -m tests.hostile.corpus prints it"
