"""Files move from disk to a real S3 service and back while people upload and download, and while the move is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import RequestFactory

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.models import Blob, Model
from edge_ai.services import blobs
from edge_ai.services.blob_checks import verify
from edge_ai.web.files import stored_file
from tests.conftest import ROOT
from tests.edge_ai import factories
from tests.s3 import KEY, SECRET

LIFETIME_S = 5
FILES = 40
FILE_BYTES = 300_000


class People:
    """Upload and download, and remember what they uploaded."""

    def __init__(self, owner: User, folder: Path) -> None:
        self.owner = owner
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.random = random.Random(7)  # noqa: S311 - no secret

    def upload(self) -> str:
        path = self.folder / "upload"
        content = self.random.randbytes(FILE_BYTES)
        path.write_bytes(content)
        mark = storage.fingerprint(path)
        with transaction.atomic():
            blob = storage.put(path, mark)
            factories.make_model(self.owner, blob=blob, sha256=mark.sha256, size_bytes=mark.size_bytes)
            Blob.objects.filter(models=None).delete()  # the factory's own, which has no file
        self.files[mark.sha256] = content
        return mark.sha256

    def link(self, sha256: str) -> str:
        return storage.signed_url(sha256=sha256, file_name="net.onnx", mime_type="application/octet-stream")

    def download(self, sha256: str) -> None:
        follow(self.link(sha256), self.files[sha256])
        storage.copy_out(sha256, self.folder / "copy")
        assert (self.folder / "copy").read_bytes() == self.files[sha256]

    def at_work(self) -> None:
        self.upload()
        for sha256 in self.random.sample(sorted(self.files), 3):
            self.download(sha256)
        time.sleep(0.1)  # the machine is not theirs alone


def follow(link: str, content: bytes) -> None:
    """Download by a link, of ours or of the service."""
    if link.startswith("/"):
        # The view itself: a whole request would leave the workspace on the way out.
        answer = stored_file(RequestFactory().get(link), link.split("/")[2], "net.onnx")
        assert answer.status_code == 200
        found = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    else:
        with urllib.request.urlopen(link, timeout=10) as stream:
            found = stream.read()
    assert found == content


@pytest.fixture
def environment(endpoint: str, settings: Any) -> dict[str, str]:
    """What a process is told of the service; this one has it, too."""
    settings.DOWNLOAD_URL_SECONDS = LIFETIME_S
    options = dict(settings.S3_STORAGE["OPTIONS"]) | {
        **{"bucket_name": "studio", "endpoint_url": endpoint, "region_name": "us-east-1"},
        **{"access_key": KEY, "secret_key": SECRET},
    }
    settings.BLOB_STORAGES = settings.BLOB_STORAGES | {"s3": {**settings.S3_STORAGE, "OPTIONS": options}}
    return {
        **{"S3_BUCKET": "studio", "S3_ENDPOINT_URL": endpoint, "S3_REGION": "us-east-1"},
        **{"S3_ACCESS_KEY_ID": KEY, "S3_SECRET_ACCESS_KEY": SECRET},
        "DOWNLOAD_URL_SECONDS": str(LIFETIME_S),
    }


def keep_in(settings: Any, first: str, second: str = "none") -> None:
    """Change where this process keeps files."""
    settings.STORAGE_BACKEND, settings.STORAGE_FALLBACK_BACKEND = first, second
    changed = {name: each for name, each in settings.STORAGES.items() if name != storage.FALLBACK}
    changed["blobs"] = settings.BLOB_STORAGES[first]
    if second != "none":
        changed[storage.FALLBACK] = settings.BLOB_STORAGES[second]
    settings.STORAGES = changed


@contextmanager
def moving(environment: dict[str, str], source: str, target: str) -> Iterator[subprocess.Popen[str]]:
    """`manage.py move_blobs` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "move_blobs", "--from", source, "--to", target],
        env=os.environ | environment | {"STORAGE_BACKEND": target, "STORAGE_FALLBACK_BACKEND": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def names_in(backend: str, schema_name: str) -> set[str]:
    return {name.rpartition("/")[2] for name in storage.files_under(blobs.named(backend), f"{schema_name}/blobs")}


def test_everything_moves_there_and_back_and_nothing_is_lost(
    committed: User, environment: dict[str, str], settings: Any, tmp_path: Path
) -> None:
    schema = Workspace.objects.get(slug="alpha").schema_name
    people = People(committed, tmp_path)
    for _ in range(FILES):
        people.upload()
    damaged = people.upload()
    path = Path(blobs.named("local").path(storage.blob_name(schema, damaged)))
    path.write_bytes(b"a bad sector")
    people.files.pop(damaged)

    keep_in(settings, "s3", "local")
    before = set(people.files)
    with moving(environment, "local", "s3") as process:
        while len(names_in("s3", schema) & before) < 5:
            people.at_work()
            assert process.poll() is None, process.communicate()[0]
        process.kill()
    left = names_in("local", schema) & set(people.files)
    assert left, "it was killed before it was done"
    for sha256 in people.files:
        people.download(sha256)

    with moving(environment, "local", "s3") as process:
        # A process that was not restarted yet goes on writing to the old place.
        keep_in(settings, "local", "s3")
        late = people.upload()
        keep_in(settings, "s3", "local")
        while process.poll() is None:
            people.at_work()
        said = process.communicate()[0]
    assert process.returncode == 1 and f"not what its name says: {storage.blob_name(schema, damaged)}" in said
    assert names_in("local", schema) & {*people.files, late} == set()

    keep_in(settings, "s3")
    assert set(people.files) <= names_in("s3", schema)
    for sha256 in people.files:
        people.download(sha256)
    Model.objects.filter(blob=damaged).delete()
    path.unlink()

    # And back. Links to the service that were given out before go on to work until they have run out.
    keep_in(settings, "local", "s3")
    with moving(environment, "s3", "local") as process:
        first = min(people.files)
        given_out = fresh = people.link(first)
        assert fresh.startswith("http"), "it is not here yet"
        while first not in names_in("local", schema):
            fresh = people.link(first)
            given_out = fresh if fresh.startswith("http") else given_out
            people.upload()
        follow(given_out, people.files[first])
        while process.poll() is None:
            people.at_work()
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert names_in("s3", schema) & set(people.files) == set()
    keep_in(settings, "local")
    for sha256 in people.files:
        people.download(sha256)
    assert {(each.trouble, each.name) for each in verify().findings if each.trouble != "stray"} == set()


def test_it_moves_nothing_that_the_studio_would_not_find(settings: Any, db: None) -> None:
    keep_in(settings, "local")
    for asked in (["--to", "s3"], ["--to", "local"], ["--to", "local", "--from", "s3"]):
        with pytest.raises(CommandError, match="STORAGE_FALLBACK_BACKEND none"):
            call_command("move_blobs", *asked)
