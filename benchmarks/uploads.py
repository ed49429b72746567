"""A large upload through the real web server against a bare script that writes and hashes the same bytes.

``python -m benchmarks.uploads --rounds 3``. Through tus to local disk, by the Python client and in one plain request; and in
parts through S3 (`rclone serve s3`), against boto3's own upload and a hash. Both sides take turns, on the same disk. Prints
medians, and the most memory that any web process ever had. Fails when an aim is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.s3 import environment_for, serve_s3
from tests.studio import ROOT, free_port

MIN_RATIO = 0.6
MAX_MB = 150.0
CHUNK_BYTES = 8 << 20
READY_S = 300
#: Of each way: the side that is measured, what it is held against, and whether it goes to S3.
WAYS = {
    "tus, Python client": ("client", "bare", False),
    "tus, one request": ("plain", "bare", False),
    "parts to S3, Python client": ("client", "bare-s3", True),
}


@dataclass(frozen=True, kw_only=True)
class Web:
    """A web server with its database, and no workers."""

    base: str
    key: str
    master: int
    environment: Mapping[str, str]

    def peak_mb(self) -> float:
        """Return the most memory that any web process has had so far, in MB of 10^6 bytes."""
        return max(map(_peak_mb, [self.master, *(each.pid for each in psutil.Process(self.master).children())]))


@dataclass(kw_only=True)
class Seen:
    """What was measured of one way, in seconds by round."""

    bare: list[float] = field(default_factory=list)
    upload: list[float] = field(default_factory=list)
    model: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def ratio(self, *, with_model: bool = False) -> float:
        """Return how fast it is; 1 is as fast as the bare script. The median of the rounds' ratios."""
        whole = [a + b * with_model for a, b in zip(self.upload, self.model, strict=True)]
        return statistics.median(b / w for b, w in zip(self.bare, whole, strict=True))


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def serving(folder: Path, **more: str) -> Iterator[Web]:
    """Run gunicorn as production does until the block ends."""
    port = free_port()
    environment = os.environ | {
        "STUDIO_DATA_DIR": str(folder / "data"),
        "PORT": str(port),
        "ALLOWED_HOSTS": "127.0.0.1",
        "NEW_PASSWORD": "correct horse battery 7",
        **more,
    }
    for command in (["bootstrap"], ["create_workspace", "bench", "--owner", "bench@example.com", "--api-key"]):
        with_password = ["--password-env", "NEW_PASSWORD"] if "--owner" in command else []
        said = subprocess.run(
            [sys.executable, "manage.py", *command, *with_password],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    key = json.loads(said.splitlines()[-1])["api_key"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        base = f"http://127.0.0.1:{port}"
        _await(f"{base}/api/edge/v1/me/", key, process)
        yield Web(base=base, key=key, master=process.pid, environment=environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _await(address: str, key: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(address, headers={"Authorization": f"Bearer {key}"}).is_success:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("The web server does not serve.")
        time.sleep(0.2)


def make_model(web: Web, upload: str) -> float:
    """Make a model of an upload; returns the seconds that this took."""
    began = time.perf_counter()
    answer = httpx.post(
        f"{web.base}/api/edge/v1/models/",
        headers={"Authorization": f"Bearer {web.key}"},
        json={"upload": upload},
        timeout=600,
    )
    answer.raise_for_status()
    return time.perf_counter() - began


def make_file(path: Path, size_bytes: int) -> None:
    """Write random bytes in the frame of a safetensors file, which the studio takes as a model."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}).encode()
    length = size_bytes - 8 - len(header) - 40
    header = json.dumps({"w": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
    with path.open("wb") as sink:
        sink.write(len(header).to_bytes(8, "little") + header)
        left = length
        while left:
            left -= sink.write(os.urandom(min(left, CHUNK_BYTES)))


def change(path: Path) -> None:
    """Make it another file, so that nothing of it is known."""
    with path.open("r+b") as sink:
        sink.seek(-64, os.SEEK_END)
        sink.write(os.urandom(64))


def run_side(name: str, source: Path, target: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run one side in a process of its own."""
    os.sync()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.upload_sides", name, str(source), str(target)],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    found: dict[str, Any] = json.loads(done.stdout)
    target.unlink(missing_ok=True)
    return found


def measure(web: Web, source: Path, folder: Path, side: str, against: str, rounds: int) -> Seen:
    """Let both take turns."""
    seen = Seen()
    environment = dict(web.environment) | {
        "EDGEAI_URL": web.base,
        "EDGEAI_API_KEY": web.key,
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    for turn in range(rounds):
        change(source)
        for name in (side, against) if turn % 2 else (against, side):
            found = run_side(name, source, folder / "copy", environment)
            if name == against:
                seen.bare.append(found["seconds"])
                continue
            seen.upload.append(found["seconds"])
            seen.model.append(make_model(web, found["upload"]))
        print(
            f"  {side}: {seen.upload[-1]:.1f} s + {seen.model[-1]:.1f} s, {against}: {seen.bare[-1]:.1f} s", flush=True
        )
    seen.peak_mb = web.peak_mb()
    return seen


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every way that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=2_000_000_000, help="size of the file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which ways; default: all")
    parser.add_argument("--folder", type=Path, help="where the files are written; default: the temporary folder")
    given = parser.parse_args(arguments)
    found: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory(prefix="studio-uploads-", dir=given.folder) as name:
        folder = Path(name)
        folder.chmod(0o711)
        source = folder / "source.safetensors"
        make_file(source, given.bytes)
        for way in given.ways:
            side, against, to_s3 = WAYS[way]
            print(f"{way}: {given.bytes / 1e6:,.0f} MB, {given.rounds} rounds", flush=True)
            place = Path(tempfile.mkdtemp(dir=folder))
            place.chmod(0o711)
            (place / "s3").mkdir()
            with contextlib.ExitStack() as stack:
                # Its ETags of whole files are left out: it reads a file for that before it gives the first byte.
                no_tags = ("--etag-hash", "")
                more = environment_for(stack.enter_context(serve_s3(place / "s3", *no_tags))) if to_s3 else {}
                web = stack.enter_context(serving(place, **more))
                found[way] = measure(web, source, place, side, against, given.rounds)
    return report(found, given.bytes)


def report(found: Mapping[str, Seen], size_bytes: int) -> int:
    """Print the table; returns 1 when an aim is missed."""
    print("\n| way | bare | upload | ratio | with the model | ratio | peak of a web process |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for way, seen in found.items():
        bare, upload = statistics.median(seen.bare), statistics.median(seen.upload)
        whole = upload + statistics.median(seen.model)
        rates = [f"{size_bytes / 1e6 / seconds:,.0f} MB/s" for seconds in (bare, upload, whole)]
        ratios = f"{seen.ratio():.2f}", f"{seen.ratio(with_model=True):.2f}"
        print(f"| {way} | {rates[0]} | {rates[1]} | {ratios[0]} | {rates[2]} | {ratios[1]} | {seen.peak_mb:.0f} MB |")
    missed = [way for way, seen in found.items() if seen.ratio() < MIN_RATIO or seen.peak_mb >= MAX_MB]
    for way in missed:
        print(f"{way}: misses the aim of {MIN_RATIO} times the bare script's throughput below {MAX_MB:.0f} MB")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
