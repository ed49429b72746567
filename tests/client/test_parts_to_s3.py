"""The client against a studio of real processes that keeps its files in a real S3 service."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from edge_ai_studio import AsyncStudio, Studio, Unreachable
from edge_ai_studio._sync.transport import Transport
from edge_ai_studio._sync.uploads import sha256_of
from tests.s3 import BUCKET, environment_for, serve_s3
from tests.studio import ROOT, RealStudio, reachable_folder, start_studio

pytestmark = [pytest.mark.worker, pytest.mark.timeout(1200)]
SAMPLES = 6_000


@dataclass(frozen=True, kw_only=True)
class InBucket:
    """A studio, and the folder that its bucket is."""

    studio: RealStudio
    bucket: Path

    def tus_files(self) -> list[Path]:
        """What came through the web processes and is not used yet."""
        return [path for path in (self.studio.data_dir / "resumable").rglob("*") if path.is_file()]

    def incoming(self) -> list[Path]:
        """What came to the bucket and is no blob yet."""
        return [path for path in self.bucket.rglob("incoming/*") if path.is_file()]


@pytest.fixture(scope="module")
def in_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InBucket]:
    """Both, for as long as the module's tests run."""
    root = tmp_path_factory.mktemp("s3")
    with ExitStack() as stack:
        endpoint = stack.enter_context(serve_s3(root))
        folder = stack.enter_context(reachable_folder())
        settings = environment_for(endpoint) | {"UPLOAD_PART_BYTES": str(5 << 20)}
        studio = stack.enter_context(start_studio(folder, **settings))
        yield InBucket(studio=studio, bucket=root / BUCKET)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of about 28 MB, another each time."""
    path = tmp_path / "data.npz"
    samples = np.frombuffer(os.urandom(SAMPLES * 1200 * 4), np.uint32).astype(np.float32).reshape(SAMPLES, 1200)
    np.savez(path, x=samples)
    return path


def test_a_large_file_goes_to_the_bucket_in_parts(in_bucket: InBucket, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    with Studio(in_bucket.studio.base, in_bucket.studio.api_key) as script:
        made = script.upload_dataset(data, progress=lambda done, total: seen.append((done, total))).data
    size = data.stat().st_size
    assert made["size_bytes"] == size
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (seen[0], seen[-1]) == ((0, size), (size, size))
    assert len(seen) == 2 + size // (5 << 20), "one step a part"
    assert not in_bucket.tus_files() and not in_bucket.incoming()


def test_the_awaited_client_does_the_same(in_bucket: InBucket, data: Path) -> None:
    async def work() -> int:
        async with AsyncStudio(in_bucket.studio.base, in_bucket.studio.api_key) as script:
            return int((await script.upload_dataset(data)).data["size_bytes"])

    assert asyncio.run(work()) == data.stat().st_size
    assert not in_bucket.incoming()


SLOW = """
import sys, time
from edge_ai_studio import Studio
def told(done, total):
    print(done, flush=True)
    time.sleep(0.3 if len(sys.argv) > 4 else 0)
print(Studio(sys.argv[1], sys.argv[2]).upload_dataset(sys.argv[3], progress=told).id)
"""


def test_parts_are_not_sent_again_after_the_end_of_the_process(in_bucket: InBucket, data: Path) -> None:
    command = [sys.executable, "-c", SLOW, in_bucket.studio.base, in_bucket.studio.api_key, str(data)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "client" / "src")}
    first = subprocess.Popen([*command, "slowly"], env=environment, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    reached = 0
    while reached < 10_000_000:
        reached = int(first.stdout.readline())
    first.kill()
    first.wait()
    time.sleep(0.5)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    lines = again.stdout.splitlines()
    assert again.returncode == 0, again.stderr
    assert int(lines[0]) >= reached


def test_many_who_complete_and_use_an_upload_at_once_get_one(in_bucket: InBucket, data: Path) -> None:
    script = httpx.Client(
        base_url=f"{in_bucket.studio.base}/api/edge/v1/",
        headers={"Authorization": f"Bearer {in_bucket.studio.api_key}"},
        timeout=120,
    )
    asked = {"length_bytes": data.stat().st_size, "purpose": "dataset", "file_name": data.name}
    begun = script.post("uploads/", json=asked).raise_for_status().json()
    with data.open("rb") as source:
        for number in range(1, begun["parts"]["part_count"] + 1):
            part = source.read(begun["parts"]["part_bytes"])
            wanted = {"parts": [{"number": number, "sha256": hashlib.sha256(part).hexdigest()}]}
            answer = script.post(f"uploads/{begun['id']}/parts/", json=wanted).raise_for_status()
            (place,) = answer.json()["parts"]
            httpx.put(place["url"], content=part, headers=place["headers"], timeout=60).raise_for_status()

    def complete(_: int) -> tuple[int, str]:
        answer = script.post(f"uploads/{begun['id']}/complete/")
        return answer.status_code, answer.json().get("sha256", "")

    def use(_: int) -> tuple[int, str]:
        answer = script.post("datasets/", json={"upload": begun["id"]})
        return answer.status_code, answer.json().get("id", "")

    with ThreadPoolExecutor(4) as pool:
        completed = list(pool.map(complete, range(4)))
        assert {status for status, _ in completed} <= {200, 423}
        assert {sha256 for status, sha256 in completed if status == 200} == {sha256_of(data)}
        used = list(pool.map(use, range(4)))
    assert sorted(status for status, _ in used) == [200, 200, 200, 201]
    assert len({made for _, made in used}) == 1
    assert not in_bucket.incoming()


def test_where_the_bucket_is_out_of_reach_the_file_goes_through_the_studio(
    in_bucket: InBucket, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise Unreachable("no way")

    monkeypatch.setattr(Transport, "put", cut)
    with Studio(in_bucket.studio.base, in_bucket.studio.api_key) as script:
        assert script.upload_dataset(data).data["size_bytes"] == data.stat().st_size
    assert not in_bucket.incoming() and not in_bucket.tus_files()


def test_a_download_from_the_bucket_goes_on_where_it_broke_off(in_bucket: InBucket, tmp_path: Path) -> None:
    sample = ROOT / "edge_ai" / "sample" / "digits.onnx"
    with Studio(in_bucket.studio.base, in_bucket.studio.api_key) as script:
        model = script.upload_model(sample, name="to go on with")
        (tmp_path / "net.onnx.part").write_bytes(sample.read_bytes()[:100_000])
        steps: list[int] = []
        model.download(tmp_path / "net.onnx", progress=lambda done, total: steps.append(done))
    assert steps[0] == 100_000
    assert (tmp_path / "net.onnx").read_bytes() == sample.read_bytes()
