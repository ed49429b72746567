"""The admin pages of converters and of the sandbox: who may see them, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from config.database.identity import acting_as_system
from edge_ai.checks import sandbox_settings
from edge_ai.engine.routes import TOOLS
from edge_ai.fleet.models import Cluster
from edge_ai.services import converters as service

Browser = Callable[[User], Client]


@pytest.fixture
def staff(owner: User) -> User:
    """Somebody who runs the studio."""
    with acting_as_system():
        User.objects.filter(pk=owner.pk).update(is_staff=True)
    owner.is_staff = True
    return owner


def test_staff_see_every_tool(staff: User, browser_of: Browser) -> None:
    response = browser_of(staff).get(reverse("admin:edge_ai_converters"))
    assert response.status_code == 200
    text = response.content.decode()
    for name in TOOLS:
        assert f'<th scope="row">{name}</th>' in text
    assert version("openvino") in text
    assert "onnx → tflite" in text


def test_what_is_missing_is_named(staff: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    real = service.installed_version
    monkeypatch.setattr(service, "installed_version", lambda name: None if name == "sne4onnx" else real(name))
    text = browser_of(staff).get(reverse("admin:edge_ai_converters")).content.decode()
    assert "<strong>No</strong>: install sne4onnx" in text


def test_the_first_page_leads_there(staff: User, browser_of: Browser) -> None:
    assert reverse("admin:edge_ai_converters") in browser_of(staff).get(reverse("admin:index")).content.decode()


def test_others_are_sent_to_sign_in(colleague: User, browser_of: Browser) -> None:
    response = browser_of(colleague).get(reverse("admin:edge_ai_converters"))
    assert response.status_code == 302
    assert "login" in response["Location"]


# -- the sandbox -----------------------------------------------------------------------------------------------------------
REPORT = {
    "kernel": "Linux 6.18, x86_64",
    "refused": "",
    "attacked": "strong",
    "layers": [{"name": "bubblewrap", "on": True, "detail": "Installed: /usr/bin/bwrap"}],
    "attacks": [
        {"name": "read_file", "title": "Read a file outside of its folder", "stopped": True, "how": "No such file"},
        {"name": "kill", "title": "End another process", "stopped": False, "how": "The process has ended."},
    ],
    "trials": [{"level": "strong", "works": True, "why": ""}],
    "advice": ["Install bubblewrap and restart the workers."],
}


def supervisor(host: str, queue: str, level: str, **report: object) -> None:
    """A supervisor that was heard of just now."""
    with acting_as_system():
        Cluster.objects.create(
            host=host, queue=queue, pid=1, workers=1, sandbox_level=level, sandbox_report=REPORT | report
        )


def test_staff_see_level_layers_and_attacks_of_each_host(staff: User, browser_of: Browser) -> None:
    supervisor("first", "studio", "strong")
    supervisor("second", "benchmark", "standard")
    text = browser_of(staff).get(reverse("admin:edge_ai_sandbox")).content.decode()
    assert "first (studio): strong" in text and "second (benchmark): standard" in text
    assert "Read a file outside of its folder" in text and "<strong>No</strong>" in text
    assert "Install bubblewrap and restart the workers." in text
    assert "No sandbox on" not in text


def test_the_worst_supervisor_of_a_host_speaks_for_it(staff: User, browser_of: Browser) -> None:
    supervisor("first", "benchmark", "strong")
    supervisor("first", "studio", "none", refused="Nothing works.")
    text = browser_of(staff).get(reverse("admin:edge_ai_sandbox")).content.decode()
    assert "first (benchmark, studio): none" in text
    assert "Jobs are refused. Nothing works." in text


@pytest.mark.parametrize("page", ["admin:index", "admin:edge_ai_converters", "edge_ai:model-list"])
def test_staff_see_a_banner_everywhere_when_nothing_holds(
    page: str, staff: User, colleague: User, browser_of: Browser
) -> None:
    assert "No sandbox on" not in browser_of(staff).get(reverse(page)).content.decode()
    supervisor("bare", "studio", "none")
    assert "No sandbox on bare" in browser_of(staff).get(reverse(page)).content.decode()
    assert "No sandbox on" not in browser_of(colleague).get(reverse(page)).content.decode()


def test_the_sandbox_page_takes_as_many_queries_for_many_hosts(staff: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    counts = []
    for number in range(2):
        for each in range(1 + 5 * number):
            supervisor(f"host-{number}-{each}", "studio", "strong")
        with CaptureQueriesContext(connection) as taken:
            browser.get(reverse("admin:edge_ai_sandbox"))
        counts.append(len(taken))
    assert counts[0] == counts[1]


def test_the_sandbox_page_is_for_staff(colleague: User, browser_of: Browser) -> None:
    assert browser_of(colleague).get(reverse("admin:edge_ai_sandbox")).status_code == 302


def test_settings_that_let_jobs_go_unheld_are_warned_of(settings: Any) -> None:
    assert sandbox_settings() == []
    settings.SANDBOX_ALLOW_NONE, settings.SANDBOX_LEVEL = True, "none"
    assert [message.id for message in sandbox_settings()] == ["edge_ai.W002", "edge_ai.W003"]
