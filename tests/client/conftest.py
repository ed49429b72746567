"""The client in an environment of its own, as its users install it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.studio import ROOT, RealStudio

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of a fresh environment that has the client and what it needs, nothing else."""
    folder = tmp_path_factory.mktemp("client") / "venv"
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), str(ROOT / "client")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return an environment with a home and a cache of its own."""
    yield {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def edgeai(installed: Path, home: dict[str, str], tmp_path: Path) -> Run:
    """Return what runs `edgeai` with some arguments."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(installed / "edgeai"), *arguments],
            env=home | environment,
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    return run


@pytest.fixture
def access(studio: RealStudio) -> dict[str, str]:
    """Return the environment that opens the real studio."""
    return {"EDGEAI_URL": studio.base, "EDGEAI_API_KEY": studio.api_key}
