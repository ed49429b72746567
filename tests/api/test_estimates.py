"""How long an optimization will take, asked by script before it is sent."""

from __future__ import annotations

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Ticket
from edge_ai.models import Model
from tests.api.support import Script, send_json
from tests.conftest import inside
from tests.edge_ai import factories


def test_a_dry_run_tells_the_time_by_what_ran_before(alpha: Workspace, owner: User, script_of: Script) -> None:
    with acting_as_system():
        Ticket.objects.all().delete()  # nobody waits in line
    with inside(alpha, owner):
        model = factories.make_model(owner)
        for seconds in (4, 9, 6):
            factories.make_completed(owner, model, seconds)
        wanted = {
            "model": str(model.pk),
            "device_profile": str(factories.host_device().pk),
            "target_format": "onnx",
            "precision": "fp16",
            "dry_run": True,
        }
    answer = send_json(script_of(owner), "post", "optimization-jobs/", wanted)
    assert answer.status_code == 200, answer.content
    assert answer.json()["estimate"] == {"seconds": 6.0, "low": 4.0, "high": 9.0, "samples": 3, "reason": None}
    wait = answer.json()["wait"]
    assert (wait["place"], wait["seconds"]) == (1, None)
    assert "No worker serves this queue" in wait["reason"], "there is none in tests"
    with inside(alpha, owner):
        Model.objects.filter(pk=model.pk).update(status="uploaded", analysis=None)
    assert send_json(script_of(owner), "post", "optimization-jobs/", wanted).json()["wait"] is None


def test_another_workspace_s_jobs_tell_nothing(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        factories.make_completed(owner, factories.make_model(owner), 4, visibility="workspace")
    with inside(beta, outsider):
        wanted = {
            "model": str(factories.make_model(outsider).pk),
            "device_profile": str(factories.host_device().pk),
            "target_format": "onnx",
            "precision": "fp16",
            "dry_run": True,
        }
    estimate = send_json(script_of(outsider), "post", "optimization-jobs/", wanted).json()["estimate"]
    assert (estimate["seconds"], estimate["samples"]) == (None, 0)
    assert "has been completed here yet" in estimate["reason"]
