"""Webhooks of a studio of real processes: a job ends, and a receiver hears of it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from standardwebhooks import Webhook

from edge_ai.sample import ONNX_MODEL
from tests.browser.work import API, await_final, made, upload
from tests.conftest import ask
from tests.receiver import Received, answering, receiver, silent
from tests.studio import RealStudio

pytestmark = pytest.mark.worker
EVENTS = ["model.ready", "optimization_job.completed", "artifact.created"]


def register(studio: RealStudio, url: str, events: list[str]) -> dict[str, Any]:
    """Make a webhook."""
    answer = ask(studio, "POST", f"{API}webhooks/", {"url": url, "events": events})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.body
    return found


def test_a_job_ends_and_its_receiver_hears_of_it_once_though_it_was_down_and_another_is_slow(
    studio: RealStudio,
) -> None:
    lock = threading.Lock()
    refused: list[str] = []

    def behave(handler: Any) -> None:
        message = handler.headers["webhook-id"]
        with lock:
            first = not refused
            if first:
                refused.append(message)
        answering(503 if first else 204, b"")(handler)

    def arrived(request: Received) -> dict[str, Any]:
        told: dict[str, Any] = Webhook(hook["secret"]).verify(request.body, request.headers)
        return told

    with receiver(behave) as there, receiver(silent(20)) as slow:
        register(studio, slow.url, ["model.ready"])
        hook = register(studio, there.url, EVENTS)
        try:
            model = upload(studio, "models/", "digits.onnx", ONNX_MODEL.read_bytes(), name="Told of")["id"]
            assert await_final(studio, f"models/{model}/")["status"] == "ready"
            device = ask(studio, "GET", f"{API}device-profiles/").body["results"][0]["id"]
            request = {"model": model, "device_profile": device, "precision": "fp16", "target_format": "onnx"}
            request["fresh"] = True
            job = made(studio, "optimization-jobs/", request)
            done = await_final(studio, f"optimization-jobs/{job}/")
            assert done["status"] == "completed", done
            artifacts = {
                each["id"] for each in ask(studio, "GET", f"{API}artifacts/?optimization_job={job}").body["results"]
            }
            expected = {
                (event, subject)
                for event, subjects in (
                    ("model.ready", {model, done["result"]["model"]}),
                    ("optimization_job.completed", {job}),
                    ("artifact.created", artifacts),
                )
                for subject in subjects
            }
            assert len(artifacts) >= 2
            there.await_count(len(expected) + 1, seconds=60)  # one came twice: it was refused at first
            time.sleep(1)
            told = [arrived(each) for each in there.received]
            assert {(each["type"], each["data"]["id"]) for each in told} == expected
            ids = [each.headers["webhook-id"] for each in there.received]
            assert {message for message in ids if ids.count(message) > 1} == set(refused)
            assert len(ids) == len(expected) + 1

            log = ask(studio, "GET", f"{API}webhooks/{hook['id']}/deliveries/?page_size=200").body["results"]
            assert {row["status"] for row in log} == {"delivered"}
            (again,) = [row for row in log if row["attempt"] == 2]
            whole = ask(studio, "GET", f"{API}webhooks/{hook['id']}/deliveries/{again['id']}/").body
            assert [each["http_status"] for each in whole["attempts"]] == [204, 503]
            assert json.loads(whole["request_body"])["type"] == again["event"]
        finally:
            for each in ask(studio, "GET", f"{API}webhooks/").body["results"]:
                assert ask(studio, "DELETE", f"{API}webhooks/{each['id']}/").status == 204
