"""Secrets of a studio that keeps house for itself."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from config.generated_secrets import FIELDS, load_or_create
from tests.conftest import ROOT


def test_they_are_long_different_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    found = load_or_create(tmp_path / "new" / "data")
    assert set(found) == set(FIELDS)
    assert len(set(found.values())) == len(FIELDS)
    assert all(len(value) >= 60 for value in found.values())
    assert stat.S_IMODE((tmp_path / "new" / "data" / "secrets.json").stat().st_mode) == 0o600


def test_they_stay_what_they_are(tmp_path: Path) -> None:
    assert load_or_create(tmp_path) == load_or_create(tmp_path)
    assert load_or_create(tmp_path) != load_or_create(tmp_path / "another")


def test_a_new_one_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"secret_key": "kept", "of_another_release": "kept too"}))
    found = load_or_create(tmp_path)
    assert (found["secret_key"], found["of_another_release"]) == ("kept", "kept too")
    assert json.loads((tmp_path / "secrets.json").read_text()) == found


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    code = (
        "import json, pathlib\n"
        "from config.generated_secrets import load_or_create\n"
        f"print(json.dumps(load_or_create(pathlib.Path({str(tmp_path)!r}))))"
    )

    def start(_: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    with ThreadPoolExecutor(4) as pool:
        said = set(pool.map(start, range(8)))
    assert len(said) == 1
    assert json.loads(said.pop()) == load_or_create(tmp_path)
