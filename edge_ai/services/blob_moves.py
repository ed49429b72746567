"""Moving every blob from the storage that is fallen back on to the one that is written to, while the studio runs.

A file leaves its old place only when it was read back from the new one in this run, and when links to the old place have
run out since. Whatever is killed is begun again: what is still in the old place is what is left to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings
from django.core.files.storage import Storage
from django.db import transaction

from config.database.identity import workspace_as_system
from edge_ai import storage
from edge_ai.models import Blob
from edge_ai.services import blobs
from edge_ai.services.schemas import complete_schemas
from edge_ai.storage import GRACE, blob_name

#: A link may be made a moment after its file was looked for.
MARGIN_SECONDS = 5


@dataclass(kw_only=True)
class Moved:
    """What a move came to; sizes in bytes."""

    copied: int = 0
    size_bytes: int = 0
    removed: int = 0
    damaged: list[str] = field(default_factory=list)
    """Files that are not what their names say, or did not arrive; they stay where they are."""
    left: list[str] = field(default_factory=list)
    """Files that no row means, too young to be removed, or called like nothing of ours."""


def move(
    *, keep: bool = False, say: Callable[[str], None] = lambda _: None, sleep: Callable[[float], None] = time.sleep
) -> Moved:
    """Move everything; returns when a look through the old place finds nothing more.

    Parameters
    ----------
    keep
        Leave the files in the old place, too.
    say
        Is told how far it is.

    Raises
    ------
    EngineError
        ``storage_unavailable``, ``storage_full``: begin again when it is there.
    """
    target, source = storage.places()
    return _Move(source=source, target=target, keep=keep, say=say, sleep=sleep).run()


@dataclass(kw_only=True)
class _Move:
    source: Storage
    target: Storage
    keep: bool
    say: Callable[[str], None]
    sleep: Callable[[float], None]
    moved: Moved = field(default_factory=Moved)
    #: By name, what was seen whole in its new place.
    seen: set[str] = field(default_factory=set)
    #: What waits to be removed, the oldest first: when it was seen, of which schema, and its hash.
    waiting: deque[tuple[float, str, str]] = field(default_factory=deque)

    def run(self) -> Moved:
        while True:
            found = 0
            self.moved.damaged, self.moved.left = [], []
            for schema_name in complete_schemas():
                with workspace_as_system(schema_name):
                    found += self._workspace(schema_name)
            if self.waiting and (rest := self._due() - time.monotonic()) > 0:
                self.say(f"{len(self.waiting)} files wait {rest:.0f} s until links to their old place have run out.")
            while self.waiting:
                if (rest := self._due() - time.monotonic()) > 0:
                    self.sleep(rest)
                self._remove_due()
            if not found:
                return self.moved

    def _workspace(self, schema_name: str) -> int:
        """Copy what a workspace has in the old place; returns how many files were copied or seen for the first time."""
        found = 0
        with storage.reaching():
            names = list(storage.files_under(self.source, f"{schema_name}/blobs"))
        for name in names:
            if name not in self.seen:
                found += self._file(schema_name, name)
            self._remove_due()
        if found:
            self.say(f"{schema_name}: {found} files are in {settings.STORAGE_BACKEND}.")
        return found

    def _file(self, schema_name: str, name: str) -> bool:
        sha256 = name.rpartition("/")[2]
        if not blobs.BLOB_FILE.fullmatch(sha256) or name != blob_name(schema_name, sha256):
            self.moved.left.append(name)
            return False
        if not Blob.objects.filter(sha256=sha256).exists():
            self._stray(schema_name, name, sha256)
            return False
        mark = blobs.stored(self.target, name)
        if mark is None or mark.sha256 != sha256:
            done = blobs.copy(self.source, self.target, name=name, schema_name=schema_name, sha256=sha256)
            if done is blobs.Copied.GONE:  # swept
                return False
            if done is not blobs.Copied.DONE:
                self.moved.damaged.append(name)
                return False
            self.moved.copied += 1
            self.moved.size_bytes += self.target.size(name)
        with transaction.atomic():
            storage.hold(schema_name, sha256)
            if not Blob.objects.filter(sha256=sha256).exists():  # swept while it was copied
                with storage.reaching():
                    self.target.delete(name)
                    self.source.delete(name)
                return True
        self.seen.add(name)
        if not self.keep:
            self.waiting.append((time.monotonic(), schema_name, sha256))
        return True

    def _stray(self, schema_name: str, name: str, sha256: str) -> None:
        with transaction.atomic(), storage.reaching():
            storage.hold(schema_name, sha256)
            age = blobs.age(self.source, name)
            if age is None:
                return
            if age > GRACE and not self.keep and not Blob.objects.filter(sha256=sha256).exists():
                self.source.delete(name)
                self.moved.removed += 1
            else:
                self.moved.left.append(name)

    def _due(self) -> float:
        return self.waiting[0][0] + settings.DOWNLOAD_URL_SECONDS + MARGIN_SECONDS

    def _remove_due(self) -> None:
        while self.waiting and self._due() <= time.monotonic():
            _, schema_name, sha256 = self.waiting.popleft()
            name = blob_name(schema_name, sha256)
            with transaction.atomic(), storage.reaching():
                storage.hold(schema_name, sha256)
                if self.target.exists(name):
                    self.source.delete(name)
                    self.moved.removed += 1
                else:  # swept; or somebody removed it, and it is copied again
                    self.seen.discard(name)
