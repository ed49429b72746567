"""Feature flags: who decides, what every door answers when something is off, and what pages show instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse

from accounts.features import is_on
from accounts.models import Flag, User, Workspace
from config.database.identity import acting_as_system
from config.features import DOORS, Feature
from config.permissions import TABLE
from edge_ai.engine.errors import EngineError
from edge_ai.models import Job
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import models, resumable
from edge_ai.services.benchmarks import BenchmarkRequest, submit_benchmark
from edge_ai.services.jobs import cancel_job, retry_job
from tests.conftest import inside
from tests.edge_ai import factories

Browser = Callable[[User], Client]
BASE = "/api/edge/v1/"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a process remembers of flags that a test makes is of no use to the next."""
    caches["memory"].clear()
    yield
    caches["memory"].clear()


def switch(feature: Feature, everyone: bool | None = None, *, on_in: Any = (), off_in: Any = ()) -> None:
    """Set a flag, as the admin pages do."""
    with acting_as_system():
        flag = Flag.objects.get(name=feature)
        flag.everyone = everyone
        flag.save()
        flag.on_in.set(on_in)
        flag.off_in.set(off_in)
        flag.flush()


def test_every_feature_has_its_flag_and_every_door_is_an_address(db: None) -> None:
    assert {flag.name for flag in Flag.objects.all()} == set(Feature)
    assert set(DOORS) <= set(TABLE)
    for name, (_, verbs) in DOORS.items():
        assert verbs & set(TABLE[name]), name


def test_who_decides(alpha: Workspace, beta: Workspace) -> None:
    feature = Feature.PACKAGING

    def state() -> tuple[bool, bool]:
        return is_on(feature, alpha.schema_name), is_on(feature, beta.schema_name)

    assert state() == (True, True)
    with override_settings(FEATURES_OFF=frozenset({"packaging"})):
        assert state() == (False, False), "the environment"
        switch(feature, on_in=[alpha])
        assert state() == (True, False)
        switch(feature, True)
        assert state() == (True, True), "a flag says otherwise"
    switch(feature, False)
    assert state() == (False, False)
    switch(feature, False, on_in=[alpha])
    assert state() == (True, False)
    switch(feature, True, on_in=[alpha], off_in=[alpha])
    assert state() == (False, True), "off in a workspace goes before all"


def test_flags_cost_no_query_once_they_are_known(alpha: Workspace) -> None:
    is_on(Feature.UPLOADS, alpha.schema_name)
    with CaptureQueriesContext(connection) as seen:
        assert all(is_on(feature, alpha.schema_name) for feature in Feature)
    assert len(seen) == 0


def off(answer: Any, feature: Feature) -> None:
    """Look at the problem that a shut door answers with."""
    assert answer.status_code == 403, answer.content[:500]
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["code"], body["details"]) == ("feature_off", {"feature": feature.value})
    assert "operator" in body["detail"]


def test_doors_are_shut_over_api_tus_and_forms(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, browser_of: Browser, script_of: Any
) -> None:
    with inside(alpha, owner):
        model, host = factories.make_model(owner), factories.host_device()
        upload = resumable.begin(owner, length_bytes=10, purpose="model", file_name="x.onnx", name="")
    browser, script = browser_of(owner), script_of(owner)
    for feature in Feature:
        switch(feature, off_in=[alpha])
    named = {"model": str(model.pk), "device_profile": str(host.pk)}
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000"}
    octets = "application/offset+octet-stream"
    several = {"models": [str(model.pk)], "device_profiles": [str(host.pk)], "precisions": ["fp16"]}
    asks: list[tuple[Feature, str, Any]] = [
        (Feature.OPTIMIZATION, "optimization-jobs/", named | {"precision": "fp16", "target_format": "onnx"}),
        (Feature.OPTIMIZATION, "optimization-jobs/batch/", several),
        (Feature.BENCHMARKING, "benchmarks/", named),
        (Feature.BENCHMARKING, "comparisons/", {"models": [str(model.pk)], "device_profile": str(host.pk)}),
        (Feature.BENCHMARKING, "diagnoses/", named),
        (Feature.PACKAGING, "packages/", {"model": str(model.pk)}),
        (Feature.UPLOADS, "models/", {"upload": str(upload.pk)}),
        (Feature.UPLOADS, "models/imports/", {"url": "https://example.com/net.onnx"}),
        (Feature.UPLOADS, "datasets/", {"upload": str(upload.pk)}),
    ]
    for feature, path, body in asks:
        off(script.post(BASE + path, body, content_type="application/json"), feature)
    off(script.post(BASE + "models/", {"file": SimpleUploadedFile("d.onnx", ONNX_MODEL.read_bytes())}), Feature.UPLOADS)
    off(script.post(BASE + "uploads/", b"", content_type=octets, headers=tus), Feature.UPLOADS)
    piece = tus | {"Upload-Offset": "0"}
    at = f"{BASE}uploads/{upload.pk}/"
    off(script.patch(at, b"0123456789", content_type=octets, headers=piece), Feature.UPLOADS)
    assert script.head(at, headers=tus).status_code == 200
    assert script.delete(at, headers=tus).status_code == 204, "what was begun can be given up"
    for method, name, arguments in (
        ("get", "optimization-create", [model.pk]),
        ("post", "optimization-create", [model.pk]),
        ("get", "batch-create", []),
        ("get", "benchmark-create", [model.pk]),
        ("get", "comparison-create", []),
        ("post", "packaging-create", [model.pk]),
        ("post", "model-upload", []),
        ("post", "model-import", []),
        ("post", "dataset-upload", []),
    ):
        answer = getattr(browser, method)(reverse(f"edge_ai:{name}", args=arguments))
        assert answer.status_code == 403
        assert "is switched off here" in answer.content.decode(), name
    for name, arguments in (("model-list", []), ("model-detail", [model.pk]), ("job-list", []), ("benchmark-list", [])):
        assert browser.get(reverse(f"edge_ai:{name}", args=arguments)).status_code == 200, "what is there is seen"
    with inside(alpha, owner):
        assert not Job.objects.exists()
    with inside(beta, outsider):
        theirs = factories.make_model(outsider)
    body = {"model": str(theirs.pk)}
    assert script_of(outsider).post(BASE + "packages/", body, content_type="application/json").status_code == 201


def test_no_way_leads_around(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model, host = factories.make_model(owner), factories.host_device()
        job = factories.make_benchmark(owner, model)
        cancel_job(owner, job=Job.objects.get(pk=job.pk))
        switch(Feature.BENCHMARKING, False)
        switch(Feature.UPLOADS, False)
        for ask in (
            lambda: submit_benchmark(owner, request=BenchmarkRequest(model=model, device_profile=host)),
            lambda: retry_job(owner, job=Job.objects.get(pk=job.pk)),
            lambda: models.upload_model(owner, file=SimpleUploadedFile("d.onnx", ONNX_MODEL.read_bytes())),
            lambda: resumable.begin(owner, length_bytes=10, purpose="dataset", file_name="x", name=""),
        ):
            with pytest.raises(EngineError) as refused, transaction.atomic():
                ask()
            assert refused.value.code == "feature_off"


def test_pages_offer_what_is_on_alone(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    browser = browser_of(owner)
    ways = [reverse(f"edge_ai:{name}", args=[model.pk]) for name in ("optimization-create", "packaging-create")]
    detail, listed = reverse("edge_ai:model-detail", args=[model.pk]), reverse("edge_ai:model-list")
    text = browser.get(detail).content.decode()
    assert all(way in text for way in ways) and 'id="upload-form"' in browser.get(listed).content.decode()
    for feature in Feature:
        switch(feature, False)
    text = browser.get(detail).content.decode()
    assert not any(way in text for way in ways)
    text = browser.get(listed).content.decode()
    assert 'id="upload-form"' not in text and "Uploads are switched off here." in text


def test_staff_switch_features_in_the_admin_pages(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with acting_as_system():
        User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
        flag = Flag.objects.get(name=Feature.OPTIMIZATION)
    browser = browser_of(owner)
    change = reverse("admin:accounts_flag_change", args=[flag.pk])
    assert "STUDIO_FEATURES_OFF" in browser.get(change).content.decode()
    assert is_on(Feature.OPTIMIZATION, alpha.schema_name)
    sent = {"name": "optimization", "everyone": "true", "off_in": [str(alpha.pk)], "note": "they misuse it"}
    with transaction.atomic():
        assert browser.post(change, sent).status_code == 302
    assert not is_on(Feature.OPTIMIZATION, alpha.schema_name), "at once in this process"
    assert is_on(Feature.OPTIMIZATION, "ws_beta")
    text = browser.get(reverse("admin:accounts_flag_changelist")).content.decode()
    assert "off in 1" in text and "they misuse it" in text
    assert browser.get(reverse("admin:index")).content.decode().count(reverse("admin:accounts_flag_changelist")) >= 1
