"""Packing a variant into one small file. Standard library only."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.archive import NO_TIME

MANIFEST: Final = "manifest.json"
MANIFEST_VERSION: Final = 1

_CHUNK: Final = 1 << 20
_UNIX: Final = 3
_MODE: Final = 0o644


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A package that was made; sizes are in bytes, ``raw_bytes`` without the manifest."""

    path: Path
    raw_bytes: int
    packed_bytes: int
    manifest: Mapping[str, Any]


def pack(files: Mapping[str, Path], target: Path, *, about: Mapping[str, Any] | None = None) -> Packed:
    """Pack files into a zip archive with a manifest.

    The same contents give the same bytes: names are sorted, and there are no times.

    Parameters
    ----------
    files
        By the names that they get in the archive.
    about
        What the manifest says besides the files' sizes and SHA-256, ready for JSON.

    Raises
    ------
    UserInputError
        ``invalid_request`` for a name that leads out of the archive, is the manifest's or is there twice.
    """
    _check(files)
    described = [_describe(name, files[name]) for name in sorted(files)]
    manifest = {"version": MANIFEST_VERSION, "files": described, "about": dict(about or {})}
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(_entry(MANIFEST), json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        for name in sorted(files):
            with files[name].open("rb") as stream, archive.open(_entry(name), "w", force_zip64=True) as packed:
                while chunk := stream.read(_CHUNK):
                    packed.write(chunk)
    raw = sum(path.stat().st_size for path in files.values())
    return Packed(path=target, raw_bytes=raw, packed_bytes=target.stat().st_size, manifest=manifest)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, NO_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = _UNIX
    entry.external_attr = _MODE << 16
    return entry


def _check(files: Mapping[str, Path]) -> None:
    lowered = [name.lower() for name in files]
    for name in files:
        parts = name.split("/")
        escapes = (
            not name or "\\" in name or ":" in name or "\0" in name or any(part in {"", ".", ".."} for part in parts)
        )
        if escapes or name.lower() == MANIFEST or lowered.count(name.lower()) > 1:
            raise UserInputError(
                f"A package cannot hold a file called {name[:60]!r}.",
                code="invalid_request",
                fix="Give each file a plain name of its own.",
                field="files",
            )


def _describe(name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": name, "bytes": path.stat().st_size, "sha256": digest}
