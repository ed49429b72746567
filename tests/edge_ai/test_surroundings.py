"""What the worker adds to the environment of a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ai.worker.surroundings import read_commit, read_version, surroundings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_commit_is_read_without_git(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs/heads/main").write_text(f"{COMMIT}\n")
    assert read_commit(tmp_path) == COMMIT


def test_a_packed_branch_of_another_work_tree_is_found(tmp_path: Path) -> None:
    main = tmp_path / "main/.git"
    tree = main / "worktrees/other"
    tree.mkdir(parents=True)
    (tree / "HEAD").write_text("ref: refs/heads/other\n")
    (tree / "commondir").write_text("../..\n")
    (main / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{COMMIT[::-1]} refs/heads/main\n{COMMIT} refs/heads/other\n"
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.git").write_text(f"gitdir: {tree}\n")
    assert read_commit(tmp_path / "other") == COMMIT


@pytest.mark.parametrize("head", ["ref: refs/heads/none\n", "nonsense\n", f"{COMMIT[:-1]}Z\n"])
def test_what_is_no_commit_is_null(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text(head)
    assert read_commit(tmp_path) is None


def test_a_studio_without_its_checkout_has_no_commit_and_no_version(tmp_path: Path) -> None:
    assert read_commit(tmp_path) is None
    assert read_version(tmp_path) is None


def test_the_surroundings_name_the_level_and_the_version() -> None:
    found = surroundings("strong")
    assert found["sandbox_level"] == "strong"
    assert isinstance(found["studio_version"], str)
    assert surroundings("")["sandbox_level"] is None
