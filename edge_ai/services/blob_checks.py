"""Every blob of a workspace hashed again, and what can be mended without asking. Safe while the studio runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from django.core.files.base import File
from django.core.files.storage import Storage
from django.db import connection, transaction

from edge_ai import storage
from edge_ai.models import Blob
from edge_ai.services import blobs
from edge_ai.storage import GRACE, Fingerprint, blob_name

AT_ONCE = 500
ROWS_TOLD = 20


class Trouble(StrEnum):
    """What may be wrong."""

    MISSING = "missing"
    """A row's file is nowhere."""
    DAMAGED = "damaged"
    """A file is not what its name says."""
    WRONG_SIZE = "wrong_size"
    """A row gives another size than its file has."""
    STRAY = "stray"
    """No row means a file, and it is too old to be on its way."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is, or was, wrong.

    Parameters
    ----------
    place
        Name of the storage; of a missing file the one that it should be in.
    repaired
        What was done about it; empty when nothing was.
    wrong
        It is wrong still.
    rows
        What refers to the blob, in words; at most 20.
    """

    trouble: Trouble
    place: str
    name: str
    detail: str
    repaired: str = ""
    wrong: bool = True
    rows: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Report:
    """What a look at one workspace came to; sizes in bytes."""

    blobs: int = 0
    size_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How many things are wrong still."""
        return sum(finding.wrong for finding in self.findings)


def verify(*, repair: bool = False, spare: Mapping[str, Storage] | None = None, grace: timedelta = GRACE) -> Report:
    """Hash every blob of the current workspace, and look for files that no row means.

    Parameters
    ----------
    repair
        Damaged and missing files are replaced from another storage that has them right. Where none does, a damaged file
        is put aside, so that nobody takes it for the real one and the same file can be stored again. Sizes are corrected.
        Files without a row are removed after ``grace``.
    spare
        Further storages that may have the files, by name.

    Raises
    ------
    EngineError
        ``storage_unavailable``, ``storage_full``.
    """
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    look = _Look(schema_name=schema_name, repair=repair, spare=dict(spare or {}))
    report = Report()
    last = ""
    while True:
        page = list(
            Blob.objects.filter(sha256__gt=last).order_by("sha256").values_list("sha256", "size_bytes")[:AT_ONCE]
        )
        if not page:
            break
        for sha256, size_bytes in page:
            report.blobs += 1
            report.size_bytes += size_bytes
            report.findings += look.at_blob(sha256, size_bytes)
        last = page[-1][0]
    for name, place in look.places.items():
        report.findings += look.at_strays(name, place, grace)
    return report


@dataclass(kw_only=True)
class _Look:
    schema_name: str
    repair: bool
    spare: dict[str, Storage]
    places: dict[str, Storage] = field(default_factory=blobs.places)

    def at_blob(self, sha256: str, size_bytes: int) -> Iterator[Finding]:
        name = blob_name(self.schema_name, sha256)
        found = self._found(name)
        if not found:
            # Swept, or moved, since it was listed?
            with transaction.atomic():
                storage.hold(self.schema_name, sha256)
                if not Blob.objects.filter(sha256=sha256).exists():
                    return
                found = self._found(name)
        if not found:
            finding = Finding(
                trouble=Trouble.MISSING,
                place=next(iter(self.places)),
                name=name,
                detail="A row means this file, and it is nowhere.",
                rows=_rows(sha256),
            )
            yield self._recovered(finding, sha256) if self.repair else finding
            return
        for place, mark in found.items():
            if mark.sha256 != sha256:
                yield from self._damaged(place, name, sha256, mark)
        sizes = {mark.size_bytes for mark in found.values() if mark.sha256 == sha256}
        if sizes and sizes != {size_bytes}:
            yield self._missized(next(iter(found)), name, sha256, row=size_bytes, real=sizes.pop())

    def _found(self, name: str) -> dict[str, Fingerprint]:
        marks = {place: blobs.stored(there, name) for place, there in self.places.items()}
        return {place: mark for place, mark in marks.items() if mark is not None}

    def _damaged(self, place: str, name: str, sha256: str, mark: Fingerprint) -> Iterator[Finding]:
        finding = Finding(
            trouble=Trouble.DAMAGED,
            place=place,
            name=name,
            detail=f"Its {mark.size_bytes} bytes have the SHA-256 {mark.sha256}.",
            rows=_rows(sha256),
        )
        if not self.repair:
            yield finding
            return
        finding = self._recovered(finding, sha256)
        if not finding.wrong:
            yield finding
            return
        there = self.places[place]
        aside = f"{self.schema_name}/quarantine/{sha256}"
        with transaction.atomic():
            storage.hold(self.schema_name, sha256)
            now = blobs.stored(there, name)
            if now is None or now.sha256 == sha256:  # removed, or stored again, since it was read
                return
            with storage.reaching():
                with there.open(name, "rb") as stream:
                    aside = there.save(aside, File(stream))
                there.delete(name)
        yield replace(finding, repaired=f"put aside as {aside}")

    def _recovered(self, finding: Finding, sha256: str) -> Finding:
        """Replace a file from wherever it is right."""
        target = self.places[finding.place]
        for place, source in (*self.places.items(), *self.spare.items()):
            if place == finding.place:
                continue
            done = blobs.copy(source, target, name=finding.name, schema_name=self.schema_name, sha256=sha256)
            if done is blobs.Copied.DONE:
                return replace(finding, repaired=f"recovered from {place}", wrong=False)
        return finding

    def _missized(self, place: str, name: str, sha256: str, *, row: int, real: int) -> Finding:
        finding = Finding(
            trouble=Trouble.WRONG_SIZE,
            place=place,
            name=name,
            detail=f"Its row says {row} bytes; it has {real}, and the right SHA-256.",
            rows=_rows(sha256),
        )
        if not self.repair:
            return finding
        Blob.objects.filter(sha256=sha256).update(size_bytes=real)
        return replace(finding, repaired=f"the row says {real} bytes now", wrong=False)

    def at_strays(self, place: str, there: Storage, grace: timedelta) -> Iterator[Finding]:
        page: list[str] = []
        with storage.reaching():
            for name in storage.files_under(there, f"{self.schema_name}/blobs"):
                page.append(name)
                if len(page) == AT_ONCE:
                    yield from self._strays(place, there, page, grace)
                    page = []
            yield from self._strays(place, there, page, grace)

    def _strays(self, place: str, there: Storage, names: list[str], grace: timedelta) -> Iterator[Finding]:
        hashes = {name: name.rpartition("/")[2] for name in names}
        known = set(Blob.objects.filter(sha256__in=list(hashes.values())).values_list("sha256", flat=True))
        for name, sha256 in hashes.items():
            if sha256 in known and name == blob_name(self.schema_name, sha256):
                continue
            age = blobs.age(there, name)
            if age is None or age < grace:  # somebody may be about to refer to it
                continue
            finding = Finding(trouble=Trouble.STRAY, place=place, name=name, detail="No row means this file.")
            yield self._cleared(finding, there, sha256) if self.repair else finding

    def _cleared(self, finding: Finding, there: Storage, file_name: str) -> Finding:
        """Remove a file that no row means. One whose name is none of ours is left to the operator."""
        staged = blobs.STAGED_FILE.fullmatch(file_name)
        sha256 = staged[1] if staged else file_name
        ours = staged is not None or (
            blobs.BLOB_FILE.fullmatch(file_name) and finding.name == blob_name(self.schema_name, file_name)
        )
        if not ours:
            return finding
        with transaction.atomic():
            storage.hold(self.schema_name, sha256)
            if staged is None and Blob.objects.filter(sha256=sha256).exists():
                return replace(finding, repaired="a row means it now", wrong=False)
            there.delete(finding.name)
        return replace(finding, repaired="removed", wrong=False)


def _rows(sha256: str) -> tuple[str, ...]:
    """Return what refers to a blob, in words."""
    told: list[str] = []
    for relation in Blob._meta.related_objects:
        table = relation.related_model
        column = relation.field.name
        for row in table._default_manager.filter(**{column: sha256})[: ROWS_TOLD - len(told)]:
            told.append(f"{table._meta.verbose_name} {row.pk} “{row}”")
    return tuple(told)
