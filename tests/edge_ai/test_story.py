"""What the engine says is bounded and free of secrets before anybody reads it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import OperationalError

from accounts.models import User, Workspace
from edge_ai.models import JobEvent
from edge_ai.worker.story import HIDDEN, MAX_LINES, Story
from tests.conftest import inside_as_system
from tests.edge_ai import factories

FOLDER = "/somewhere/work/ws_alpha/job/1-abc"


@pytest.fixture
def story(owner: User, alpha: Workspace) -> Any:
    with inside_as_system(alpha):
        yield Story(factories.make_optimization(owner).pk, attempt=1, folder=FOLDER)


def cleaner() -> Story:
    return Story(uuid.uuid4(), attempt=1, folder=FOLDER)


@pytest.mark.parametrize(
    "line",
    [
        "using eas_abcd1234_c2VjcmV0LXNlY3JldC1zZWNyZXQ for it",
        "signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Authorization: Bearer abcdefghijklmnop",
        "postgresql://studio_web:hunter22@db/studio",
    ],
)
def test_what_looks_like_a_secret_is_hidden(line: str) -> None:
    cleaned = cleaner().clean(line)
    assert HIDDEN in cleaned
    for part in ("c2VjcmV0", "MfKQ9r8", "abcdefghij", "hunter22"):
        assert part not in cleaned


def test_the_values_of_secret_settings_are_hidden(settings: Any) -> None:
    settings.SECRET_KEY = "a-secret-key-of-this-studio"
    settings.STORAGES = settings.STORAGES | {
        "blobs": {"OPTIONS": {"secret_key": "s3-secret-value", "bucket": "models"}}
    }
    cleaned = cleaner().clean("a-secret-key-of-this-studio s3-secret-value models")
    assert cleaned == f"{HIDDEN} {HIDDEN} models"


def test_paths_of_the_host_and_what_steers_terminals_are_left_out() -> None:
    assert cleaner().clean(f"\x1b[31mread {FOLDER}/model.onnx\x1b[0m\x07\u202e") == "read …/model.onnx"


def test_a_flood_is_cut_and_says_so(story: Story) -> None:
    most = max(MAX_LINES.values())
    for number in range(most + 500):
        story.log("debug", f"line {number}")
        story.stage("load", 1, f"stage {number}")
    story.write()
    rows = list(JobEvent.objects.order_by("pk").values_list("kind", "message"))
    assert len(rows) == sum(MAX_LINES.values()) + 2
    assert sum("more than is kept" in message for _, message in rows) == 2
    story.log("debug", "and more")
    story.write()
    assert JobEvent.objects.count() == len(rows)


def test_lines_wait_for_a_database_that_is_away(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.log("info", "before")
    with monkeypatch.context() as away:

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OperationalError("away")

        away.setattr(JobEvent.objects, "bulk_create", fail)
        away.setattr("edge_ai.worker.story.connection.close", lambda: None)
        story.write()
    story.log("info", "after")
    story.write()
    assert list(JobEvent.objects.order_by("pk").values_list("message", flat=True)) == ["before", "after"]
