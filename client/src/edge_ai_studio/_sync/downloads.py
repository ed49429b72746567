"""Downloads: to a temporary name, resumed where they broke off, verified, then renamed."""

from __future__ import annotations

import time
from pathlib import Path

from edge_ai_studio._sync.transport import Transport
from edge_ai_studio._sync.uploads import sha256_of
from edge_ai_studio.errors import Corrupt, Unreachable
from edge_ai_studio.progress import Progress

TRIES = 5
CHUNK = 1024 * 1024


def download_file(
    transport: Transport, path: str, to: Path, *, size: int, sha256: str, progress: Progress | None = None
) -> Path:
    """Save what the API's ``path`` redirects to as ``to``, which holds either all of it or what it held before.

    Raises
    ------
    Corrupt
        When the checksum is not ``sha256``.
    Unreachable
        When the connection breaks time and again.
    """
    part = to.with_name(to.name + ".part")
    to.parent.mkdir(parents=True, exist_ok=True)
    # What an earlier try left may be the beginning of another file: then all of this one is fetched.
    for _ in range(2 if part.exists() else 1):
        _fetch(transport, path, part, size, progress)
        if sha256_of(part) == sha256:
            part.replace(to)
            return to
        part.unlink()
    raise Corrupt(f"What arrived for {to.name} is not what the studio holds: the checksums differ.")


def _fetch(transport: Transport, path: str, part: Path, size: int, progress: Progress | None) -> None:
    for left in reversed(range(TRIES)):
        try:
            return _continue(transport, path, part, size, progress)
        except Unreachable:
            if not left:
                raise
            time.sleep(0.25 * 2 ** (TRIES - left))
    return None


def _continue(transport: Transport, path: str, part: Path, size: int, progress: Progress | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    if start > size:
        start = 0
    if start == size and size:
        return
    link = (transport.ask("GET", path)).headers["Location"]
    with transport.stream(link, start=start) as answer:
        begun = begins_at(answer.headers.get("Content-Range", ""))
        done = begun
        if progress:
            progress(done, size)
        with part.open("r+b" if begun else "wb") as sink:
            sink.seek(begun)
            for chunk in answer.iter_bytes(CHUNK):
                sink.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, size)
            sink.truncate()
    if done < size:
        raise Unreachable(f"The download ended after {done} of {size} bytes.")


def begins_at(content_range: str) -> int:
    """Return which byte comes first, by the header ``Content-Range``; the status is not 206 everywhere, such as in rclone."""
    first = content_range.removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else 0
