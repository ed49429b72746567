"""`manage.py verify_blobs`: what it finds, what it mends, and what it leaves alone."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as live
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.db import transaction

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.models import Blob, Model
from edge_ai.services.blob_checks import Report, verify
from tests.conftest import inside_as_system
from tests.edge_ai import factories

LONG_AGO = time.time() - 7200


@pytest.fixture
def shelves(settings: Any, tmp_path: Path) -> Path:
    """A place of its own for blobs on local disk, so that nothing of other tests is found in it."""
    there = settings.STORAGES["blobs"]
    options = there["OPTIONS"] | {"location": tmp_path / "blobs"}
    settings.STORAGES = settings.STORAGES | {"blobs": {**there, "OPTIONS": options}}
    return tmp_path / "blobs"


@pytest.fixture
def system(alpha: Workspace) -> Iterator[None]:
    """Inside the workspace, as a command is."""
    with inside_as_system(alpha):
        yield


def store(owner: User, content: bytes) -> Blob:
    """Put some bytes into the current workspace, as a model's."""
    path = Path(live.UPLOAD_DIR) / "incoming"
    path.write_bytes(content)
    with transaction.atomic():
        blob = storage.put(path, storage.fingerprint(path))
        if not Model.objects.filter(blob=blob).exists():
            factories.make_model(owner, blob=blob, sha256=blob.sha256, size_bytes=blob.size_bytes)
            Blob.objects.filter(models=None).delete()  # the factory's own, which has no file
    return blob


def told(report: Report) -> set[tuple[str, str, str, bool]]:
    """What was found: what is wrong, with which file, what was done, and whether it is wrong still."""
    return {(each.trouble.value, each.name.rpartition("/")[2], each.repaired, each.wrong) for each in report.findings}


def test_what_is_wrong_is_told_with_what_needs_it_and_mended_where_that_is_safe(
    shelves: Path, system: None, alpha: Workspace, owner: User
) -> None:
    fine, flipped, lost, missized = (store(owner, word * 1000) for word in (b"fine", b"flip", b"lost", b"size"))
    at = {blob: shelves / storage.blob_name(alpha.schema_name, blob.sha256) for blob in (fine, flipped, lost, missized)}
    at[flipped].write_bytes(b"flop" * 1000)
    at[lost].unlink()
    Blob.objects.filter(pk=missized.pk).update(size_bytes=7)
    stray, young = at[fine].with_name("0" * 64), at[fine].with_name("1" * 64)
    half, strange = at[fine].with_name(f".{'2' * 64}.4711"), at[fine].with_name("notes.txt")
    for path in (stray, young, half, strange):
        path.write_bytes(b"?")
        if path != young:
            os.utime(path, (LONG_AGO, LONG_AGO))
    # The shelf is the first two digits; what lies on another is nobody's.
    shelf = shelves / alpha.schema_name / "blobs" / "00"
    shelf.mkdir(parents=True, exist_ok=True)
    stray = stray.rename(shelf / stray.name)

    report = verify()
    assert (report.blobs, report.wrong) == (4, 6)
    assert told(report) == {
        ("damaged", flipped.sha256, "", True),
        ("missing", lost.sha256, "", True),
        ("wrong_size", missized.sha256, "", True),
        ("stray", "0" * 64, "", True),
        ("stray", half.name, "", True),
        ("stray", "notes.txt", "", True),
    }
    needed = {each.name.rpartition("/")[2]: each.rows for each in report.findings}
    model = Model.objects.get(blob=flipped)
    assert needed[flipped.sha256] == (f"model {model.pk} “{model}”",)
    assert at[flipped].exists(), "nothing is changed unless that is asked for"

    aside = f"put aside as {alpha.schema_name}/quarantine/{flipped.sha256}"
    assert told(verify(repair=True)) == {
        ("damaged", flipped.sha256, aside, True),
        ("missing", lost.sha256, "", True),
        ("wrong_size", missized.sha256, "the row says 4000 bytes now", False),
        ("stray", "0" * 64, "removed", False),
        ("stray", half.name, "removed", False),
        ("stray", "notes.txt", "", True),
    }
    assert (shelves / alpha.schema_name / "quarantine" / flipped.sha256).read_bytes() == b"flop" * 1000
    assert (young.exists(), strange.exists(), stray.exists(), half.exists()) == (True, True, False, False)

    # Whoever has the file uploads it again.
    store(owner, b"flip" * 1000)
    store(owner, b"lost" * 1000)
    strange.unlink()
    assert (verify().findings, Blob.objects.get(pk=missized.pk).size_bytes) == ([], 4000)


def test_files_come_back_from_another_storage_that_has_them_whole(
    shelves: Path, system: None, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    damaged, lost = store(owner, b"damaged"), store(owner, b"lost")
    spare = FileSystemStorage(tmp_path / "spare")
    for blob, content in ((damaged, b"damaged"), (lost, b"lost")):
        name = storage.blob_name(alpha.schema_name, blob.sha256)
        spare.save(name, ContentFile(content))
    (shelves / storage.blob_name(alpha.schema_name, damaged.sha256)).write_bytes(b"dam")
    (shelves / storage.blob_name(alpha.schema_name, lost.sha256)).unlink()
    report = verify(repair=True, spare={"backup": spare})
    assert {(each.trouble.value, each.repaired) for each in report.findings} == {
        ("damaged", "recovered from backup"),
        ("missing", "recovered from backup"),
    }
    assert report.wrong == 0
    assert verify().findings == []


def test_a_bucket_is_looked_through_too(bucket: None, system: None, alpha: Workspace, owner: User) -> None:
    kept, flipped = store(owner, b"kept in a bucket"), store(owner, b"flipped in a bucket")
    there = storage.backend()
    there.save(storage.blob_name(alpha.schema_name, flipped.sha256), ContentFile(b"flopped"))
    there.save(storage.blob_name(alpha.schema_name, "0" * 64), ContentFile(b"nobody's"))
    assert ("stray", "0" * 64, "", True) not in told(verify()), "somebody may be about to refer to it"
    report = verify(repair=True, grace=timedelta(seconds=-60))
    assert told(report) == {
        ("damaged", flipped.sha256, f"put aside as {alpha.schema_name}/quarantine/{flipped.sha256}", True),
        ("stray", "0" * 64, "removed", False),
    }
    store(owner, b"flipped in a bucket")
    assert verify(grace=timedelta(seconds=-60)).findings == []
    assert there.exists(storage.blob_name(alpha.schema_name, kept.sha256))


def test_the_command_tells_monitors_and_ends_with_a_status(shelves: Path, alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        blob = store(owner, b"by the command")
    out = io.StringIO()
    call_command("verify_blobs", "--workspace", "alpha", stdout=out)
    assert "1 files" in out.getvalue() and "all as it should be" in out.getvalue()
    (shelves / storage.blob_name(alpha.schema_name, blob.sha256)).write_bytes(b"something else")
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_blobs", "--workspace", "alpha", "--json", stdout=out)
    answer = json.loads(out.getvalue())
    assert (ended.value.code, answer["wrong"]) == (1, 1)
    assert answer["workspaces"][0]["findings"][0]["trouble"] == "damaged"
