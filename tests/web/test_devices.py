"""Pages of devices: added, begun with a template, changed, deleted, filtered, and side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import DeviceProfile
from edge_ai.services import devices as service
from tests.api.support import Script, send_json
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
ADD, LIST, COMPARE = (reverse(f"edge_ai:device-{name}") for name in ("create", "list", "compare"))
#: What a browser sends of an empty form.
EMPTY = {
    **{"category": "phone", "visibility": "private"},
    **{"accelerators-TOTAL_FORMS": "1", "accelerators-INITIAL_FORMS": "0", "accelerators-0-kind": "npu"},
}
CAMERA = EMPTY | {
    **{"name": "Conveyor camera", "category": "single_board_computer", "vendor": "Acme", "cpu_cores": "4"},
    **{"cpu_extensions": "neon, dotprod, neon", "memory_mb": "2048", "memory_bandwidth_gb_s": "12.8"},
    **{"formats": ["onnx", "tflite"], "precisions": ["fp32", "int8"], "runtimes": "onnxruntime"},
    **{"accelerators-0-name": "Acme NPU", "accelerators-0-peak_tops_int8": "2.5", "accelerators-0-precisions": "int8"},
}


def template(workspace: Workspace, user: User) -> DeviceProfile:
    """A board with an accelerator and sources."""
    with inside(workspace, user):
        found = DeviceProfile.objects.filter(is_template=True, is_host=False).exclude(accelerators=[])
        return next(each for each in found if each.memory_mb and "accelerators.0.peak_tops_int8" in each.sources)


def form_of(page: Any) -> dict[str, Any]:
    """What a browser would send of a page's form as it is shown."""
    forms = page.context["forms"]
    sent = {name: forms.form[name].value() for name in forms.form.fields}
    sent = {name: "" if value is None else value for name, value in sent.items()}
    management = forms.accelerators.management_form
    sent |= {management[name].html_name: management[name].value() for name in management.fields}
    for each in forms.accelerators:
        for field in each.visible_fields():
            sent[field.html_name] = "" if field.value() is None else field.value()
    return sent


def test_a_device_is_added_changed_and_deleted(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    answer = browser.post(ADD, CAMERA)
    assert answer.status_code == 303
    with inside(alpha, owner):
        device = DeviceProfile.objects.get(owner=owner)
    assert answer["Location"] == reverse("edge_ai:device-detail", args=[device.pk])
    assert (device.cpu_extensions, device.cpu_cores, device.memory_mb) == (["neon", "dotprod"], 4, 2048)
    assert (device.formats, device.precisions, device.tdp_w) == (["onnx", "tflite"], ["fp32", "int8"], None)
    assert device.accelerators == [{"name": "Acme NPU", "kind": "npu", "peak_tops_int8": 2.5, "precisions": ["int8"]}]
    shown = browser.get(answer["Location"]).content.decode()
    assert "entered by its owner" in shown and "Acme NPU" in shown
    where = reverse("edge_ai:device-update", args=[device.pk])
    changed = form_of(browser.get(where)) | {"memory_mb": "", "visibility": "workspace", "accelerators-0-name": ""}
    assert browser.post(where, changed).status_code == 303
    with inside(alpha, owner):
        device.refresh_from_db()
    assert (device.memory_mb, device.visibility, device.accelerators) == (None, "workspace", [])
    assert device.memory_bandwidth_gb_s == 12.8
    where = reverse("edge_ai:device-delete", args=[device.pk])
    assert "for your colleagues as well" in browser.get(where).content.decode()
    assert browser.post(where)["Location"] == LIST
    with inside(alpha, owner):
        assert not DeviceProfile.objects.filter(owner=owner).exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "required"),
        ({"category": "host"}, "Select a valid choice"),
        ({"cpu_cores": "0"}, "greater than or equal to 1"),
        ({"memory_mb": str(2**31)}, "less than or equal to 2147483647"),
        ({"tdp_w": "-1"}, "greater than or equal to 0"),
        ({"tdp_w": "nan"}, "Enter a number"),
        ({"formats": ["exe"]}, "exe is not one of the available choices"),
        ({"runtimes": "x" * 31}, "at most 30 letters"),
        ({"accelerators-0-precisions": "int9"}, "is no precision"),
        ({"accelerators-0-peak_tops_int8": "many"}, "Enter a number"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(
    wrong: dict[str, Any], said: str, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    answer = browser_of(owner).post(ADD, CAMERA | wrong)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert said in text
    with inside(alpha, owner):
        assert not DeviceProfile.objects.filter(owner=owner).exists()


def test_form_and_api_make_the_same_device(
    alpha: Workspace, owner: User, browser_of: Browser, script_of: Script
) -> None:
    browser_of(owner).post(ADD, CAMERA)
    accelerator = {"name": "Acme NPU", "kind": "npu", "peak_tops_int8": 2.5, "precisions": ["int8"]}
    send_json(
        script_of(owner),
        "post",
        "device-profiles/",
        {
            **{"name": "Conveyor camera", "category": "single_board_computer", "vendor": "Acme", "cpu_cores": 4},
            **{"cpu_extensions": ["neon", "dotprod"], "memory_mb": 2048, "memory_bandwidth_gb_s": 12.8},
            **{"formats": ["onnx", "tflite"], "precisions": ["fp32", "int8"], "runtimes": ["onnxruntime"]},
            "accelerators": [accelerator],
        },
    )
    with inside(alpha, owner):
        first, second = DeviceProfile.objects.filter(owner=owner)
        for name in service.OWN_FIELDS:
            assert getattr(first, name) == getattr(second, name), name


def test_a_copy_of_a_template_keeps_the_sources_of_what_stays(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    board = template(alpha, owner)
    browser = browser_of(owner)
    page = browser.get(ADD, {"like": str(board.pk)})
    sent = form_of(page) | {"name": "Ours", "memory_mb": "123"}
    answer = browser.post(f"{ADD}?like={board.pk}", sent)
    assert answer.status_code == 303, answer.context["forms"].form.errors
    with inside(alpha, owner):
        ours = DeviceProfile.objects.get(owner=owner)
    assert (ours.name, ours.memory_mb, ours.made_from) == ("Ours", 123, board.slug)
    assert ours.accelerators == board.accelerators
    for name in service._SAID:
        assert sorted(getattr(ours, name)) == sorted(getattr(board, name)), name
    assert "memory_mb" not in ours.sources, "a number that somebody changed is his"
    assert ours.sources == {name: source for name, source in board.sources.items() if name != "memory_mb"}
    with inside(alpha, owner):
        changed = service.update_profile(owner, profile=ours, fields={"accelerators": [], "runtimes": ["ncnn"]})
    assert "texts" not in changed.sources
    assert not [name for name in changed.sources if name.startswith("accelerators")]
    assert changed.sources.get("cpu_cores") == board.sources.get("cpu_cores")


def test_this_machine_can_be_begun_with_as_another_kind(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        host = factories.host_device()
    browser = browser_of(owner)
    sent = form_of(browser.get(ADD, {"like": str(host.pk)})) | {"category": "server", "name": "Its twin"}
    assert browser.post(f"{ADD}?like={host.pk}", sent).status_code == 303
    with inside(alpha, owner):
        twin = DeviceProfile.objects.get(owner=owner)
    assert (twin.is_host, twin.cpu_model) == (False, host.cpu_model)


@pytest.mark.parametrize("like", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_nothing_is_begun_with_what_is_not_there(like: str, owner: User, browser_of: Browser) -> None:
    assert browser_of(owner).get(ADD, {"like": like}).status_code == 404


def test_a_template_and_a_colleagues_device_are_not_ones_own(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        shared = factories.make_device(owner, visibility="workspace")
    for key, user in ((template(alpha, owner).pk, owner), (shared.pk, colleague)):
        browser = browser_of(user)
        text = browser.get(reverse("edge_ai:device-detail", args=[key])).content.decode()
        assert "Make one of your own from it" in text
        for name in ("device-update", "device-delete"):
            where = reverse(f"edge_ai:{name}", args=[key])
            assert where not in text
            assert browser.get(where).status_code == browser.post(where, CAMERA).status_code == 404


def test_a_viewer_is_offered_no_change(alpha: Workspace, owner: User, viewer: User, browser_of: Browser) -> None:
    browser = browser_of(viewer)
    board = template(alpha, owner)
    for where in (LIST, reverse("edge_ai:device-detail", args=[board.pk])):
        text = browser.get(where).content.decode()
        assert ADD not in text
    assert browser.post(ADD, CAMERA).status_code == 403


def test_a_device_that_jobs_refer_to_stays(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        device = factories.make_device(owner)
        factories.make_optimization(owner, device_profile=device)
    answer = browser_of(owner).post(reverse("edge_ai:device-delete", args=[device.pk]))
    assert answer.status_code == 409
    assert "is used by jobs" in answer.content.decode()


# -- the page of a device -------------------------------------------------------------------------------------------
def test_a_device_shows_what_was_done_for_it_and_what_could_be(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    rows = make_rows(alpha, owner)
    with inside(alpha, owner):
        host = factories.host_device()
    where = reverse("edge_ai:device-detail", args=[host.pk])
    text = browser_of(owner).get(where).content.decode()
    for key, name in (
        (rows.benchmark.pk, "benchmark-detail"),
        (rows.optimization.pk, "job-detail"),
        (rows.comparison.pk, "comparison-detail"),
        (rows.model.pk, "model-compatibility"),
    ):
        assert reverse(f"edge_ai:{name}", args=[key]) in text, name
    assert f"?device_profile={host.pk}&amp;target_format=onnx&amp;precision=fp16" in text
    theirs = browser_of(colleague).get(where).content.decode()
    assert str(rows.model.pk) not in theirs and str(rows.benchmark.pk) not in theirs


def test_sources_are_links(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    board = template(alpha, owner)
    text = browser_of(owner).get(reverse("edge_ai:device-detail", args=[board.pk])).content.decode()
    assert 'href="https://' in text
    assert "Not measured here" in text or "neither measured nor estimated" in text


def test_a_device_with_much_around_it_takes_no_more_queries(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        host = factories.host_device()
    where = reverse("edge_ai:device-detail", args=[host.pk])
    make_rows(alpha, owner)

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(where).status_code == 200
        return len(asked)

    one = cost()
    for _ in range(15):
        make_rows(alpha, owner)
    assert cost() == one < 15


# -- the list --------------------------------------------------------------------------------------------------------
def test_filters_narrow_the_devices(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        npu = [{"name": "N", "kind": "npu", "peak_tops_int8": 1.0, "precisions": []}]
        factories.make_device(owner, name="Ours", vendor="Acme", runtimes=["acme_rt"], accelerators=npu)
    browser = browser_of(owner)

    def names(**query: str) -> set[str]:
        return {device.name for device in browser.get(LIST, query).context["listing"]}

    everything = names()
    assert names(vendor="Acme") == names(runtime="acme_rt") == names(owner="own") == {"Ours"}
    assert "Ours" in names(accelerator="npu") < everything
    assert "Ours" not in names(accelerator="none") and names(accelerator="none")
    assert "Ours" not in names(owner="template")
    assert names(vendor="no such maker") == everything, "what is not known does not filter"
    assert "No device matches" in browser.get(LIST, {"search": "nothing like it"}).content.decode()


def test_a_table_sorts(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    answer = browser_of(owner).get(LIST, {"view": "table", "ordering": "-name"})
    names = [device.name for device in answer.context["listing"]]
    assert names == sorted(names, reverse=True) or len(set(names)) > 1
    text = answer.content.decode()
    assert 'aria-sort="descending"' in text and "<tbody" in text
    assert "<tbody" not in browser_of(owner).get(LIST).content.decode()


# -- side by side ----------------------------------------------------------------------------------------------------
def test_devices_stand_side_by_side(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        small = factories.make_device(owner, name="Small", memory_mb=512, cpu_cores=4, precisions=["int8"])
        large = factories.make_device(owner, name="Large", memory_mb=8192, cpu_cores=4, precisions=["int8", "fp16"])
    answer = browser_of(owner).get(COMPARE, {"device": [str(small.pk), str(large.pk)]})
    rows = {row.title: row for row in answer.context["rows"]}
    assert rows["Memory"].differs and [cell.most for cell in rows["Memory"].cells] == [False, True]
    assert not rows["CPU cores"].differs and not any(cell.most for cell in rows["CPU cores"].cells)
    assert [cell.words for cell in rows["Precisions"].cells] == [(("int8", True),), (("int8", True), ("fp16", False))]
    assert not rows["Power"].differs
    only = browser_of(owner).get(COMPARE, {"device": [str(small.pk), str(large.pk)], "show": "differences"})
    assert {row.title for row in only.context["rows"]} == {row.title for row in rows.values() if row.differs}


def test_a_comparison_takes_two_to_six(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        made = [factories.make_device(owner, name=f"Board {number}") for number in range(8)]
    browser = browser_of(owner)
    assert "Choose 2 to 6 devices" in browser.get(COMPARE).content.decode()
    assert "Choose 2 to 6 devices" in browser.get(COMPARE, {"device": str(made[0].pk)}).content.decode()
    assert "Choose 2" in browser.get(COMPARE, {"device": [str(made[0].pk)] * 2}).content.decode()
    many = browser.get(COMPARE, {"device": [str(each.pk) for each in made]})
    assert len(many.context["columns"]) == 6 and "The first 6" in many.content.decode()
    without: str = many.context["columns"][0]["without"]
    assert str(made[0].pk) not in without and str(made[1].pk) in without


def test_what_is_gone_or_not_ones_own_is_left_out_and_told(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        first, second = (factories.make_device(owner, name=name) for name in ("One", "Two"))
    with inside(alpha, colleague):
        private = factories.make_device(colleague, name="Secret board")
    answer = browser_of(owner).get(
        COMPARE,
        {"device": [*(str(key) for key in (first.pk, private.pk, second.pk, uuid4())), "nonsense\x00", "'\"<b>"]},
    )
    text = answer.content.decode()
    assert [column["device"].pk for column in answer.context["columns"]] == [first.pk, second.pk]
    assert "2 of the devices in the address are not here" in text
    assert "Secret board" not in text


def test_a_comparison_costs_the_same_for_six_as_for_two(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        made = [str(factories.make_device(owner, name=f"Board {number}").pk) for number in range(6)]
    browser = browser_of(owner)

    def cost(count: int) -> int:
        with CaptureQueriesContext(connection) as asked:
            browser.get(COMPARE, {"device": made[:count]})
        return len(asked)

    assert cost(2) == cost(6) < 15
