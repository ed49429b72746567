"""The documentation is a program: the commands of every page run, one after another, against a studio of real processes.

A block that can run nowhere but on its reader's machine says so above itself: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import get_commands
from markdown_it import MarkdownIt

from tests.conftest import ask
from tests.studio import ROOT, RealStudio, environment_of, reachable_folder

DOCS = ROOT / "docs"
SAMPLE = ROOT / "edge_ai" / "sample"
NOT_RUN = re.compile(r"<!-- not run: (.{10,}) -->\s*$")
# What begins a line that somebody is meant to type.
TYPED = re.compile(
    r"^\s*(\$ |curl |python3? |pip |make |apt|sudo |git |npm |tar |unzip |systemctl |export |docker |edgeai )", re.M
)
#: Languages that are shown and not typed; Python is read, though not run.
SHOWN = {"json", "ini", "nginx", "python", "yaml", "groovy", "sql", ""}
#: Runs first: its variables and functions are what the other pages' commands go on with.
GUIDE = "api"
KEPT = "AUTH JSON API KEY MODEL DATASET DEVICE JOB VARIANT RUN"
# Nobody listens there, so that nothing leaves this machine.
RECEIVER = "http://127.0.0.1:9/guide"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code on a page."""

    page: str
    language: str
    content: str
    reason: str
    """Why it is not run; empty for one that is."""


def blocks() -> Iterator[Block]:
    """Return every block of code of every page."""
    for path in sorted(DOCS.glob("*.md")):
        lines = path.read_text().splitlines()
        for token in MarkdownIt("commonmark").parse("\n".join(lines)):
            if token.type in {"fence", "code_block"}:
                assert token.map is not None
                above = NOT_RUN.search(lines[token.map[0] - 1]) if token.map[0] else None
                yield Block(
                    page=path.stem,
                    language=token.info.strip() if token.type == "fence" else "",
                    content=token.content,
                    reason=above[1] if above else "",
                )


BLOCKS = tuple(blocks())
PAGES = sorted({block.page for block in BLOCKS if block.language == "bash" and not block.reason} - {GUIDE})


def commands_of(page: str) -> str:
    return "\n".join(
        block.content for block in BLOCKS if block.page == page and block.language == "bash" and not block.reason
    )


def run(studio: RealStudio, folder: Path, script: str) -> str:
    """Run a script as somebody would who follows the page in the folder of the source; return what it prints."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        env=environment_of(studio.data_dir)
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "KEY": studio.api_key,
            "STUDIO": studio.base,
            "API": f"{studio.base}/api/edge/v1",
            "RECEIVER": RECEIVER,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder like that of the source, with files of the reader's beside it."""
    with reachable_folder() as made:
        for name in ("manage.py", "accounts", "benchmarks", "config", "edge_ai", "static", "templates", "tests"):
            (made / name).symlink_to(ROOT / name)
        for mine, name in (
            ("digits.onnx", "model.onnx"),
            ("digits.onnx", "digits.onnx"),
            ("digits-calibration.npz", "calibration.npz"),
        ):
            shutil.copy(SAMPLE / mine, made / name)
        yield made


@pytest.fixture(scope="module")
def guide(studio: RealStudio, folder: Path) -> str:
    """What the guide to the API prints. It leaves its variables and functions in ``guide.sh``."""
    keep = f"{{ declare -p {KEPT}; declare -f field ended; }} > guide.sh"
    return run(studio, folder, f"{commands_of(GUIDE)}\n{keep}")


@pytest.mark.worker
def test_every_command_of_the_guide_works(guide: str, folder: Path) -> None:
    assert commands_of(GUIDE).count("curl ") >= 10
    assert re.findall(r"(completed|failed|cancelled)$", guide, re.MULTILINE) == ["completed", "completed"]
    # Refused, made once though asked for twice, and changed only as it was seen.
    assert re.search(r"invalid_request\n(\S+)\n\1\nReviewed\.\n$", guide)
    assert 0 < (folder / "variant.onnx").stat().st_size < (folder / "model.onnx").stat().st_size


@pytest.mark.worker
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works(page: str, guide: str, folder: Path, studio: RealStudio) -> None:
    said = run(studio, folder, f"source guide.sh\n{commands_of(page)}")
    assert "failed" not in re.findall(r"^(completed|failed|cancelled)$", said, re.MULTILINE)
    if page == "bundles":
        assert "FAILED" not in said
        assert json.loads(said[said.rindex("\n{\n") :])["latency_ms"]["median"] > 0
    if page == "uploads":
        assert json.loads(said[said.rindex('{"id"') :])["name"] == "digits"
    if page == "webhooks":
        left = ask(studio, "GET", "/api/edge/v1/webhooks/").body["results"]
        assert RECEIVER not in [each["url"] for each in left]


def test_every_block_runs_or_says_why_not() -> None:
    for block in BLOCKS:
        where = f"{block.page}.md: {block.content[:80]!r}"
        assert block.language in SHOWN | {"bash"}, where
        if block.language == "bash":
            assert block.content.strip(), where
        elif block.language != "python":
            assert not TYPED.search(block.content), f"{where} is typed: make it a block of bash"


def test_what_is_shown_can_be_read() -> None:
    for block in BLOCKS:
        if block.language == "python":
            ast.parse(block.content)
        if block.language == "json":
            json.loads(block.content)


@pytest.mark.parametrize("page", sorted(path.stem for path in DOCS.glob("*.md")))
def test_commands_and_modules_that_are_named_exist(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    for name in re.findall(r"(?:python |`)manage\.py ([a-z][a-z_]+)", text):
        assert name in get_commands(), name
    for name in re.findall(r"python -m ([a-z][\w.]*[a-z])", text):
        assert importlib.util.find_spec(name) is not None, name


@pytest.mark.parametrize("page", PAGES)
def test_a_refusal_ends_the_commands_of_a_page(page: str) -> None:
    for command in re.findall(r"curl .*", commands_of(page)):
        assert "--fail-with-body" in command, command
