"""Device profiles: templates for all, and one's own."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.engine.errors import EngineError
from edge_ai.models import DeviceProfile
from edge_ai.services import devices
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories

BOARD = "raspberry-pi-5"


def board() -> DeviceProfile:
    """A template as the current workspace has it."""
    return DeviceProfile.objects.get(slug=BOARD, is_template=True)


def edit_template(**fields: Any) -> None:
    """Change a template as a migration of the catalogue or a member of staff would."""
    with acting_as_system():
        DeviceTemplate.objects.filter(slug=BOARD).update(**fields)


def test_a_second_sync_changes_nothing(db: None) -> None:
    devices.sync_templates()
    assert devices.sync_templates() == 0


def test_a_sync_leaves_whoever_asked_where_they_were(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        devices.sync_templates()
        assert type(model).objects.get().pk == model.pk


def test_what_was_changed_in_one_workspace_is_put_right_and_counted(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        DeviceProfile.objects.filter(slug=BOARD).update(memory_mb=1)
    assert devices.sync_templates() == 1
    with inside(alpha, owner):
        assert board().memory_mb != 1


def test_a_template_that_nobody_edited_follows_the_file(alpha: Workspace, beta: Workspace) -> None:
    with inside_as_system(alpha):
        before = board().description
    edit_template(description="An older release said this.")
    assert devices.sync_workspace(alpha.schema_name) == 1
    assert devices.sync_templates() == 1
    for workspace in (alpha, beta):
        with inside_as_system(workspace):
            assert board().description == before


def test_an_edited_template_is_not_overwritten_and_reaches_every_workspace(alpha: Workspace, beta: Workspace) -> None:
    edit_template(description="Measured by us.", memory_mb=12_345, edited=True)
    assert devices.sync_templates() == Workspace.objects.exclude(schema_name="public").count()
    for workspace in (alpha, beta):
        with inside_as_system(workspace):
            assert (board().description, board().memory_mb) == ("Measured by us.", 12_345)
    assert devices.sync_templates() == 0


def test_this_machine_is_detected_anew_even_when_edited(alpha: Workspace) -> None:
    with acting_as_system():
        DeviceTemplate.objects.filter(is_host=True).update(cpu_model="A typewriter", edited=True)
    devices.sync_templates()
    with inside_as_system(alpha):
        assert factories.host_device().cpu_model != "A typewriter"


def test_a_removed_template_goes_unless_a_job_used_it(alpha: Workspace, beta: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        factories.make_benchmark(owner, device_profile=board())
    with acting_as_system():
        DeviceTemplate.objects.filter(slug=BOARD).delete()
    for workspace, changed in ((alpha, 0), (beta, 1)):
        assert devices.sync_workspace(workspace.schema_name) == changed
        with inside_as_system(workspace):
            assert DeviceProfile.objects.filter(slug=BOARD).exists() is (workspace == alpha)


def test_a_template_is_changed_and_deleted_by_no_member(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        for forbidden in (
            lambda: devices.update_profile(owner, profile=board(), fields={"name": "mine"}),
            lambda: devices.delete_profile(owner, profile=board()),
        ):
            with pytest.raises(EngineError) as refused:
                forbidden()
            assert refused.value.code == "permission_denied"
        assert board().name != "mine"


def test_a_profile_of_ones_own_is_made_changed_shared_and_removed(
    alpha: Workspace, owner: User, colleague: User
) -> None:
    with inside(alpha, owner):
        profile = devices.create_profile(owner, fields={"name": "Mein Gerät!", "category": "microcontroller"})
        assert (profile.slug, profile.visibility, profile.is_template) == ("mein-gerat", "private", False)
    with inside(alpha, colleague):
        assert not DeviceProfile.objects.filter(pk=profile.pk).exists()
    with inside(alpha, owner):
        fields = {"visibility": "workspace", "memory_mb": 512, "is_template": True, "owner": colleague, "is_host": True}
        changed = devices.update_profile(owner, profile=profile, fields=fields)
        assert (changed.visibility, changed.memory_mb) == ("workspace", 512)
        assert (changed.is_template, changed.owner_id, changed.is_host) == (False, owner.pk, False)
    with inside(alpha, colleague):
        shared = DeviceProfile.objects.get(pk=profile.pk)
        for forbidden in (
            lambda: devices.update_profile(colleague, profile=shared, fields={"name": "mine"}),
            lambda: devices.delete_profile(colleague, profile=shared),
        ):
            with pytest.raises(EngineError) as refused:
                forbidden()
            assert refused.value.code == "permission_denied"
    with inside(alpha, owner):
        devices.delete_profile(owner, profile=profile)
        assert not DeviceProfile.objects.filter(slug="mein-gerat").exists()


def test_a_name_without_letters_still_makes_a_slug(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        assert devices.create_profile(owner, fields={"name": "模型", "category": "phone"}).slug == "device"


def test_a_profile_is_a_template_or_somebodys(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        for fields in ({"owner": owner, "is_template": True}, {"owner": None, "is_template": False}):
            with pytest.raises(IntegrityError, match="template_or_owned"), transaction.atomic():
                DeviceProfile.objects.create(slug="x", name="x", category="phone", **fields)
