"""A real S3 endpoint for tests: `rclone serve s3`, which checks signatures."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio import free_port

RCLONE = Path(sys.executable).with_name("rclone")
KEY, SECRET, BUCKET, REGION = "studio-test-key", "studio-test-secret", "studio", "us-east-1"


@contextlib.contextmanager
def serve_s3(root: Path, *more: str) -> Iterator[str]:
    """Serve a folder with one bucket until the block ends; yields the endpoint's address."""
    (root / BUCKET).mkdir(exist_ok=True)
    port = free_port()
    command = [
        str(RCLONE),
        "serve",
        "s3",
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{KEY},{SECRET}",
        *more,
        str(root),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline and process.poll() is None, "rclone does not serve"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def environment_for(endpoint: str) -> dict[str, str]:
    """Return the settings of a studio that keeps its files there."""
    return {
        "STORAGE_BACKEND": "s3",
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT_URL": endpoint,
        "S3_REGION": REGION,
        "S3_ACCESS_KEY_ID": KEY,
        "S3_SECRET_ACCESS_KEY": SECRET,
    }


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 service with one bucket, for as long as the module's tests run."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture
def bucket(endpoint: str, settings: Any) -> None:
    """The studio's blobs in that bucket."""
    options = dict(settings.S3_STORAGE["OPTIONS"]) | {
        "bucket_name": BUCKET,
        "endpoint_url": endpoint,
        "region_name": REGION,
        "access_key": KEY,
        "secret_key": SECRET,
    }
    settings.STORAGES = settings.STORAGES | {"blobs": {"BACKEND": settings.S3_STORAGE["BACKEND"], "OPTIONS": options}}
