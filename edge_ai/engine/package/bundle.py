"""Putting a bundle together: one archive whose bytes follow from the model and what is said of it, and from nothing else."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.archive import NO_TIME
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.installed import versions_of
from edge_ai.engine.package import guide
from edge_ai.engine.package.card import Subject, write_card
from edge_ai.engine.package.contents import contents_of
from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.recipe import to_json
from edge_ai.engine.report import sha256_of
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.engine.spec import PackageSpec

BUNDLE_VERSION: Final = 1
BUNDLE_NAME: Final = "bundle.zip"
MANIFEST: Final = "bundle.json"
SUMS: Final = "SHA256SUMS"
PROGRAM: Final = Path(__file__).with_name("program.py")
_CHUNK: Final = 1 << 20
#: Readable by everybody, as a file that was made with the usual mask.
_MODE: Final = 0o100644 << 16


def make_bundle(spec: PackageSpec, workdir: Path, progress: Progress) -> tuple[dict[str, Any], list[OutputFile]]:
    """Make the bundle that a spec asks for.

    Returns
    -------
    result : dict
        ``size_bytes`` of the archive, ``files`` (``path``, ``size_bytes``, ``sha256`` of each), ``runs_here``: it has a
        program that runs the model.
    files : list of OutputFile
        The archive.

    Raises
    ------
    EngineError
        ``model_unreadable``, ``model_unsafe`` and what else reading the model raises.
    """
    stored = workdir / spec.model_path
    progress.stage("analyze", 5, "Reading the model")
    analysis = handler_of(spec.format).inspect(stored, workdir)
    progress.stage("describe", 30, "Writing the model card")
    contents = contents_of(stored, spec.format, workdir)
    cannot = any(warning["code"] == "cannot_run_here" for warning in analysis["warnings"])
    subject = Subject(
        name=spec.name,
        format=spec.format,
        model=contents.model,
        size_bytes=stored.stat().st_size,
        sha256=sha256_of(stored),
        analysis=analysis,
        facts=spec.facts,
        versions=versions_of(guide.distributions(spec.format, analysis)),
        runs_here=spec.format in RUNS_HERE and not cannot,
    )
    entries: dict[str, Path | bytes] = dict(contents.files)
    entries["README.md"] = write_card(subject).encode()
    entries["requirements.txt"] = _requirements(subject.versions)
    if spec.recipe is not None:
        entries["recipe.json"] = to_json(spec.recipe).encode()
    if subject.runs_here:
        entries["run.py"] = PROGRAM.read_bytes()
    described = [_described(name, entries[name]) for name in sorted(entries)]
    entries[MANIFEST] = _manifest(subject, described)
    described.append(_described(MANIFEST, entries[MANIFEST]))
    described.sort(key=lambda file: str(file["path"]))
    entries[SUMS] = "".join(f"{file['sha256']}  {file['path']}\n" for file in described).encode()
    described.append(_described(SUMS, entries[SUMS]))
    progress.stage("pack", 50, f"Packing {len(entries)} files")
    size_bytes = write_archive(entries, workdir / BUNDLE_NAME)
    result = {
        "size_bytes": size_bytes,
        "files": sorted(described, key=lambda file: str(file["path"])),
        "runs_here": subject.runs_here,
    }
    return result, [OutputFile(role="bundle", path=BUNDLE_NAME, name=BUNDLE_NAME, mime_type="application/zip")]


def write_archive(entries: Mapping[str, Path | bytes], target: Path) -> int:
    """Pack files, compressed, in sorted order and without times; returns the size in bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE
            with archive.open(entry, "w", force_zip64=True) as packed:
                for chunk in _chunks(entries[name]):
                    packed.write(chunk)
    return target.stat().st_size


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _described(name: str, source: Path | bytes) -> dict[str, Any]:
    if isinstance(source, bytes):
        return {"path": name, "size_bytes": len(source), "sha256": hashlib.sha256(source).hexdigest()}
    return {"path": name, "size_bytes": source.stat().st_size, "sha256": sha256_of(source)}


def _requirements(versions: Mapping[str, str]) -> bytes:
    if not versions:
        return b"# Nothing from a package index runs this format; README.md says what does.\n"
    return "".join(f"{name}=={number}\n" for name, number in versions.items()).encode()


def _manifest(subject: Subject, files: list[dict[str, Any]]) -> bytes:
    analysis = subject.analysis
    told = {
        "bundle_version": BUNDLE_VERSION,
        "name": subject.name,
        "format": subject.format.value,
        "model": subject.model,
        "sha256": subject.sha256,
        "size_bytes": subject.size_bytes,
        "runs_here": subject.runs_here,
        "versions": dict(subject.versions),
        "facts": dict(subject.facts),
        "files": files,
        **{
            name: analysis[name]
            for name in ("inputs", "outputs", "operators", "precision", "parameter_count", "macs", "opset", "producer")
        },
    }
    return (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
