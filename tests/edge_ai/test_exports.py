"""Taking a workspace away: who may, what is in the file and what is not, and that it goes again."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai import storage
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.models import AuditEvent, Job, WorkspaceExport
from edge_ai.services.exports import expire_exports, export_url, request_export
from edge_ai.services.members import remove_member
from edge_ai.worker import exporting
from edge_ai.worker.babysitter import run_job
from tests.conftest import inside, inside_as_system, person
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
SETTINGS = "/settings/workspace/"


def member(user: User) -> Membership:
    with acting_as_system():
        return Membership.objects.select_related("user", "workspace").get(user=user)


def stored(content: bytes, folder: Path) -> Any:
    path = folder / "incoming"
    path.write_bytes(content)
    with transaction.atomic():
        return storage.put(path, storage.fingerprint(path))


def made(workspace: Workspace, user: User) -> WorkspaceExport:
    """Ask for an export and let a worker make it."""
    with inside(workspace, user):
        export = request_export(member(user))
    with inside_as_system(workspace):
        run_job(workspace.schema_name, export.job_id)
        export.refresh_from_db()
    return export


def opened(answer: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))


def rows_of(archive: zipfile.ZipFile, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"rows/{table}.jsonl").splitlines()]


def test_everything_that_one_sees_is_in_it_and_nothing_else(
    alpha: Workspace, beta: Workspace, owner: User, colleague: User, outsider: User, browser_of: Browser, tmp_path: Path
) -> None:
    rows = make_rows(alpha, owner)
    make_rows(beta, outsider)
    content, secret = b"weights" * 1000, b"private weights"
    with inside(alpha, owner):
        blob = stored(content, tmp_path)
        model = factories.make_model(owner, name="mine", file_name="../net.onnx", blob=blob, sha256=blob.sha256)
    with inside(alpha, colleague):
        hidden = stored(secret, tmp_path)
        factories.make_model(colleague, name="hidden", blob=hidden, sha256=hidden.sha256)
        factories.make_dataset(colleague, name="shown", visibility="workspace")
    browser = browser_of(owner)
    assert browser.post(f"{SETTINGS}export/").status_code == 303
    assert "being made" in browser.get(SETTINGS).content.decode()
    with inside_as_system(alpha):
        waiting = WorkspaceExport.objects.get(blob=None)
        assert browser.get(f"{SETTINGS}exports/{waiting.pk}/download/").status_code == 404
    with inside_as_system(alpha):
        run_job(alpha.schema_name, waiting.job_id)
        assert Job.objects.get(pk=waiting.job_id).status == "completed", Job.objects.get(pk=waiting.job_id).error
    answer = browser.get(f"{SETTINGS}exports/{waiting.pk}/download/")
    assert answer.status_code == 302
    file = Client().get(answer["Location"])
    assert "alpha-" in file["Content-Disposition"]
    archive = opened(file)
    assert archive.testzip() is None
    assert all(not name.startswith("/") and ".." not in name for name in archive.namelist())
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["workspace"]["slug"] == "alpha"
    assert {each["email"] for each in manifest["members"]} >= {owner.email, colleague.email}
    assert outsider.email not in archive.read("manifest.json").decode()
    assert {each["name"] for each in rows_of(archive, "model")} >= {"mine", "digits"}
    assert "hidden" not in {each["name"] for each in rows_of(archive, "model")}
    assert "shown" in {each["name"] for each in rows_of(archive, "dataset")}
    assert str(rows.optimization.pk) in {each["job_ptr_id"] for each in rows_of(archive, "optimizationjob")}
    assert rows_of(archive, "auditevent")
    (path,) = (each["path"] for each in manifest["files"] if each["sha256"] == blob.sha256)
    assert path.endswith("-net.onnx")
    assert hashlib.sha256(archive.read(path)).hexdigest() == blob.sha256
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert secret not in everything and hidden.sha256.encode() not in everything
    for word in (
        '"token_sha256"',
        '"lease_token"',
        '"secret"',
        '"previous_secret"',
        factories.WEBHOOK_SECRET,
        "password",
    ):
        assert word.encode() not in everything, word
    with inside_as_system(alpha):
        noted = list(AuditEvent.objects.filter(object_id=waiting.pk).order_by("at").values_list("action", flat=True))
    assert noted == ["export.requested", "export.downloaded"]
    assert model.name == "mine"


def test_owners_and_admins_take_it_away_and_each_only_their_own(
    alpha: Workspace, owner: User, colleague: User, viewer: User, browser_of: Browser
) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    export = made(alpha, owner)
    for user in (colleague, viewer):
        with inside(alpha, user), pytest.raises(UserInputError) as refused:
            request_export(member(user))
        assert refused.value.code == "permission_denied"
        assert browser_of(user).post(f"{SETTINGS}export/").status_code == 403
        assert "Take it with you" not in browser_of(user).get(SETTINGS).content.decode()
    assert browser_of(admin).get(f"{SETTINGS}exports/{export.pk}/download/").status_code == 404
    assert browser_of(admin).post(f"{SETTINGS}export/").status_code == 303
    with inside(alpha, admin), pytest.raises(UserInputError) as refused:
        request_export(member(admin))
    assert refused.value.code == "conflict"
    with acting_as_system():
        Membership.objects.create(
            workspace=alpha, user=User.objects.create_user("second@example.com", "x"), role="owner"
        )
        Membership.objects.filter(user=owner).update(role=Role.MEMBER)
    with inside(alpha, owner), pytest.raises(UserInputError) as refused:
        export_url(member(owner), export=export)
    assert refused.value.code == "permission_denied"


def test_it_goes_when_its_time_is_over(alpha: Workspace, owner: User) -> None:
    export = made(alpha, owner)
    with inside_as_system(alpha):
        assert expire_exports() == 0
        storage.sweep(grace=timedelta(0))
        storage.open_blob(alpha.schema_name, export.blob_id or "").close()
        WorkspaceExport.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert expire_exports() == 1
        assert not Job.objects.filter(pk=export.job_id).exists()
        assert storage.sweep(grace=timedelta(0)) >= 1
        with pytest.raises(FileNotFoundError):
            storage.open_blob(alpha.schema_name, export.blob_id or "")


def test_it_goes_with_its_owner_and_is_nobodys_inheritance(alpha: Workspace, owner: User) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    made(alpha, admin)
    with inside(alpha, owner):
        remove_member(member(owner), member=member(admin), heir_id=member(owner).pk)
    with inside_as_system(alpha):
        assert not WorkspaceExport.objects.exists()


def test_a_file_that_is_gone_is_told_and_the_rest_is_there(alpha: Workspace, owner: User, tmp_path: Path) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    with inside_as_system(alpha):
        result, path = exporting.export_workspace(owner, tmp_path)
    assert result["missing"] == [model.sha256]
    assert zipfile.is_zipfile(path)


def test_a_full_disk_is_told(alpha: Workspace, owner: User, settings: Any, tmp_path: Path) -> None:
    settings.DISK_RESERVE_BYTES = 1 << 60
    with inside(alpha, owner):
        factories.make_model(owner)
    with inside_as_system(alpha), pytest.raises(EngineError) as told:
        exporting.export_workspace(owner, tmp_path)
    assert told.value.code == "storage_full"
