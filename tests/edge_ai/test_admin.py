"""The admin page of converters: who may see it, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from config.database.identity import acting_as_system
from edge_ai.engine.routes import TOOLS
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
