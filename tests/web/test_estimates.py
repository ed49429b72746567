"""How long an optimization will take, in the plan beside its form."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from accounts.models import User, Workspace
from tests.conftest import inside
from tests.edge_ai import factories

Browser = Callable[[User], Client]


def test_the_plan_says_how_long_and_how_far_that_may_be_off(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        for seconds in (4, 9, 6):
            factories.make_completed(owner, model, seconds)
    page = browser_of(owner).get(
        reverse("edge_ai:optimization-create", args=[model.pk]), {"precision": "fp16", "target_format": "onnx"}
    )
    assert (page.context["estimate"].seconds, page.context["estimate"].samples) == (6.0, 3)
    said = " ".join(strip_tags(page.content.decode()).split())
    assert "Mostly 4.0 s to 9.0 s, by 3 jobs like it." in said
