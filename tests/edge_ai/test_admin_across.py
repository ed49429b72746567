"""Admin pages across workspaces: what staff see and do there, what it costs, and what they do not get at."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone

from accounts.actor import Actor, How, acted_by
from accounts.models import Plan, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.fleet.models import Cluster, Ticket
from edge_ai.models import AuditAction, AuditEvent, DeviceProfile, Job, JobDay, JobTime, WebhookDelivery
from edge_ai.services import devices
from edge_ai.services.audit import note
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web.support import Rows, make_rows

Browser = Callable[[User], Client]
PAGES = ("workspaces", "jobs", "deliveries", "audit", "queues", "sandbox", "converters")


@pytest.fixture
def staff(owner: User) -> User:
    """Somebody who runs the studio, and owns the workspace alpha."""
    with acting_as_system():
        User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    owner.refresh_from_db()
    return owner


@pytest.fixture
def theirs(beta: Workspace, outsider: User) -> Rows:
    """One of everything in a workspace that staff are no member of."""
    return make_rows(beta, outsider)


def page(name: str) -> str:
    """Where an admin page across workspaces is."""
    return reverse(f"admin:edge_ai_{name}")


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_for_staff(name: str, owner: User, browser_of: Browser) -> None:
    for browser in (Client(), browser_of(owner)):
        answer = browser.get(page(name))
        assert answer.status_code == 302 and "login" in answer["Location"]


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_one_heading_and_a_description(name: str, staff: User, theirs: Rows, browser_of: Browser) -> None:
    text = browser_of(staff).get(page(name)).content.decode()
    assert text.count("<h1") == 1 and '<meta name="description" content="' in text
    assert "style=" not in text


def test_the_first_page_leads_to_every_page(staff: User, browser_of: Browser) -> None:
    text = browser_of(staff).get(reverse("admin:index")).content.decode()
    for name in PAGES:
        assert page(name) in text
    assert reverse("admin:edge_ai_model_changelist") in text, "the rows of the workspace that staff are in"
    assert "<style" not in text and "style=" not in text


@pytest.mark.parametrize("name", ["mfa_authenticator", "usersessions_usersession"])
def test_what_signs_people_in_is_not_written_by_staff_nor_its_secret_shown(
    name: str, staff: User, browser_of: Browser
) -> None:
    browser = browser_of(staff)
    with acting_as_system():
        session = UserSession.objects.create(
            user=staff, ip="203.0.113.9", session_key="key-of-a-session", user_agent="Browser", data={}
        )
        factor = Authenticator.objects.create(user=staff, type="totp", data={"secret": "secret-of-an-app"})
    row = factor if name.startswith("mfa") else session
    assert browser.get(reverse(f"admin:{name}_add")).status_code == 403
    assert browser.get(reverse(f"admin:{name}_changelist")).status_code == 200
    text = browser.get(reverse(f"admin:{name}_change", args=[row.pk])).content.decode()
    assert staff.email in text
    assert "key-of-a-session" not in text and "secret-of-an-app" not in text
    assert 'name="_save"' not in text
    found = browser.get(reverse("admin:usersessions_usersession_changelist"), {"q": staff.email})
    assert "203.0.113.9" in found.content.decode()


# -- workspaces -------------------------------------------------------------------------------------------------------
def test_workspaces_tell_what_they_have_and_do(
    alpha: Workspace, beta: Workspace, staff: User, outsider: User, theirs: Rows, browser_of: Browser
) -> None:
    with inside(beta, outsider):
        factories.make_optimization(outsider, theirs.model)
    with inside_as_system(beta):
        JobDay.objects.create(
            day=timezone.now().date(),
            kind="benchmark",
            status="failed",
            jobs=7,
            attempts=9,
            wait_seconds=1,
            run_seconds=90,
        )
        now = timezone.now()
        times = {"kind": "benchmark", "attempt": 1, "outcome": "failed"}
        JobTime.objects.create(job=uuid4(), seconds=90, began_at=now, ended_at=now, **times)
        long_ago = timezone.now().date() - timedelta(days=31)
        JobDay.objects.create(
            day=long_ago, kind="benchmark", status="failed", jobs=1, attempts=1, wait_seconds=1, run_seconds=600
        )
        note(AuditAction.MODEL_CHANGED, theirs.model)
        models = 2
    answer = browser_of(staff).get(page("workspaces"), {"search": "beta"})
    (usage,) = answer.context["usage"]
    assert usage.workspace == beta
    has = {limit.value: quota.used for limit, quota in usage.standing.quotas.items()}
    assert (has["models"], usage.active, usage.ended) == (models, {"queued": 1}, {"failed": 7})
    assert has["job_minutes"] == 1.5
    assert has["stored_bytes"] > 0 and usage.members >= 2
    assert timezone.now() - usage.last_activity < timedelta(minutes=5)
    assert {each.workspace.slug for each in browser_of(staff).get(page("workspaces")).context["usage"]} >= {
        "alpha",
        "beta",
    }


def test_a_quota_is_changed_and_the_workspace_told(beta: Workspace, staff: User, browser_of: Browser) -> None:
    where = reverse("admin:accounts_workspace_change", args=[beta.pk])
    assert where in browser_of(staff).get(page("workspaces")).content.decode()
    form = browser_of(staff).get(where).context["inline_admin_formsets"][0].formset
    sent: dict[str, Any] = {"name": beta.name, "concurrent_jobs": 3}
    sent |= {f"{form.prefix}-{part}_FORMS": len(form.initial_forms) for part in ("TOTAL", "INITIAL")}
    for each in form.initial_forms:
        sent |= {each.add_prefix(name): each[name].value() or "" for name in each.fields if name != "DELETE"}
    assert browser_of(staff).post(where, sent).status_code == 302
    with acting_as_system():
        beta.refresh_from_db()
    assert beta.concurrent_jobs == 3
    with inside_as_system(beta):
        event = AuditEvent.objects.get(action="workspace.changed")
    assert (event.actor, event.before, event.after) == (
        staff.email,
        {"concurrent_jobs": None},
        {"concurrent_jobs": 3},
    )


def test_a_plan_is_given_and_told_by_its_name(beta: Workspace, staff: User, browser_of: Browser) -> None:
    with acting_as_system():
        small = Plan.objects.create(name="Small", max_models=4)
    where = reverse("admin:accounts_workspace_change", args=[beta.pk])
    form = browser_of(staff).get(where).context["inline_admin_formsets"][0].formset
    sent: dict[str, Any] = {"name": beta.name, "plan": str(small.pk), "max_job_minutes": 60}
    sent |= {f"{form.prefix}-{part}_FORMS": len(form.initial_forms) for part in ("TOTAL", "INITIAL")}
    for each in form.initial_forms:
        sent |= {each.add_prefix(name): each[name].value() or "" for name in each.fields if name != "DELETE"}
    assert browser_of(staff).post(where, sent).status_code == 302
    with inside_as_system(beta):
        event = AuditEvent.objects.get(action="workspace.changed")
    assert event.after == {"plan": "Small", "max_job_minutes": 60}
    answer = browser_of(staff).get(page("workspaces"), {"search": "beta"})
    (usage,) = answer.context["usage"]
    assert usage.standing.plan == "Small"
    assert {limit.value: quota.limit for limit, quota in usage.standing.quotas.items()} == {
        "models": 4,
        "stored_bytes": None,
        "job_minutes": 60,
        "open_jobs": None,
    }
    text = answer.content.decode()
    assert 'of <span class="num">4</span>' in text and 'of <span class="num">60</span>' in text


def test_plans_are_kept_and_one_of_them_is_the_default(staff: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    add, listed = reverse("admin:accounts_plan_add"), reverse("admin:accounts_plan_changelist")
    with acting_as_system():
        standard = Plan.objects.get(is_default=True)
    sent = {"name": "Team", "max_models": "50", "is_default": "on"}
    assert browser.post(add, sent).status_code == 302
    with acting_as_system():
        team = Plan.objects.get(name="Team")
        assert [plan.pk for plan in Plan.objects.filter(is_default=True)] == [team.pk]
        assert (team.max_models, team.max_stored_bytes) == (50, None)
    assert standard.max_stored_bytes
    assert f">{standard.max_stored_bytes / 1e6:,.0f} MB<" in browser.get(listed).content.decode()
    change = reverse("admin:accounts_plan_change", args=[team.pk])
    answer = browser.post(change, {"name": "Team", "max_models": "60"})
    assert answer.status_code == 200 and "Make another plan the default" in answer.content.decode()
    assert browser.post(change, sent | {"max_models": "60"}).status_code == 302
    text = browser.get(listed).content.decode()
    assert "Standard" in text and "and all without a plan" in text
    assert browser.post(reverse("admin:accounts_plan_delete", args=[team.pk]), {"post": "yes"}).status_code == 403
    assert browser.post(reverse("admin:accounts_plan_delete", args=[standard.pk]), {"post": "yes"}).status_code == 302


# -- jobs ---------------------------------------------------------------------------------------------------------------
def test_jobs_of_every_workspace_are_listed_and_narrowed(
    alpha: Workspace, beta: Workspace, staff: User, outsider: User, theirs: Rows, browser_of: Browser
) -> None:
    with inside(alpha, staff):
        mine = factories.make_optimization(staff, name="of alpha")
    browser = browser_of(staff)

    def found(**query: str) -> set[Any]:
        return {job.pk for job in browser.get(page("jobs"), query).context["rows"]}

    everything = found()
    assert {mine.pk, theirs.optimization.pk, theirs.benchmark.pk} <= everything
    assert found(workspace="alpha") == {mine.pk}
    assert found(workspace="no-such-workspace") == set()
    assert found(status="queued") == {mine.pk}
    assert theirs.benchmark.pk in found(kind="benchmark") < everything
    assert found(search="of alp") == found(search=str(mine.pk)) == {mine.pk}
    assert found(search=outsider.email) == everything - {mine.pk}
    assert found(search="100%") == found(search="'; DROP TABLE") == set()
    text = browser.get(page("jobs")).content.decode()
    assert "of alpha" in text and outsider.email in text and beta.name in text


def test_pages_of_jobs_follow_one_another_across_workspaces(
    alpha: Workspace, beta: Workspace, staff: User, outsider: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ai.services.across.PAGE", 5)
    made = []
    for number in range(12):
        workspace, user = ((alpha, staff), (beta, outsider))[number % 2]
        with inside(workspace, user):
            made.append(factories.make_optimization(user, factories.make_model(user)).pk)
            at = timezone.now() - timedelta(minutes=number)
            Job.objects.filter(pk=made[-1]).update(created_at=at)
    browser = browser_of(staff)
    seen: list[Any] = []
    query: dict[str, str] = {}
    for _ in range(3):
        shown = browser.get(page("jobs"), query).context
        seen += [job.pk for job in shown["rows"]]
        query = {"older": shown["trail"].older}
    assert seen == made
    assert shown["trail"].older == ""
    back = browser.get(page("jobs"), {"newer": shown["trail"].newer}).context
    assert [job.pk for job in back["rows"]] == made[5:10]


def test_staff_cancel_and_run_again_and_the_workspace_is_told(
    beta: Workspace, staff: User, outsider: User, browser_of: Browser
) -> None:
    with inside(beta, outsider):
        job = factories.make_optimization(outsider)
    browser = browser_of(staff)
    for verb, status in (("cancel", "cancelled"), ("retry", "queued")):
        where = reverse(f"admin:edge_ai_job_{verb}", args=[beta.slug, job.pk])
        answer = browser.post(where, {"next": page("jobs") + "?workspace=beta"})
        assert (answer.status_code, answer["Location"]) == (303, page("jobs") + "?workspace=beta")
        with inside_as_system(beta):
            assert Job.objects.get(pk=job.pk).status == status
            event = AuditEvent.objects.order_by("at").last()
        assert event is not None
        assert (event.actor, event.object_id, event.how) == (staff.email, job.pk, How.SESSION)
        assert event.action == {"cancel": "job.cancelled", "retry": "job.retried"}[verb]
    with inside_as_system(beta):
        assert Ticket.objects.filter(job_id=job.pk).exists()
    answer = browser.post(reverse("admin:edge_ai_job_retry", args=[beta.slug, job.pk]), follow=True)
    assert "Only a failed or cancelled job can be run again" in answer.content.decode()


@pytest.mark.parametrize("name", ["job_cancel", "job_retry", "redeliver"])
def test_what_is_not_there_is_said(name: str, beta: Workspace, staff: User, browser_of: Browser) -> None:
    for slug in ("beta", "alpha", "nowhere"):
        answer = browser_of(staff).post(reverse(f"admin:edge_ai_{name}", args=[slug, uuid4()]), follow=True)
        assert "There is no such" in answer.content.decode()
    assert browser_of(staff).get(reverse(f"admin:edge_ai_{name}", args=["beta", uuid4()])).status_code == 405


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/admin/logout/", "jobs"])
def test_nobody_is_sent_elsewhere(target: str, beta: Workspace, staff: User, browser_of: Browser) -> None:
    answer = browser_of(staff).post(reverse("admin:edge_ai_job_cancel", args=["beta", uuid4()]), {"next": target})
    assert answer["Location"] == page("jobs")


# -- deliveries, queues, trails ---------------------------------------------------------------------------------------
def test_a_delivery_is_sent_again(
    beta: Workspace, staff: User, outsider: User, theirs: Rows, browser_of: Browser
) -> None:
    browser = browser_of(staff)
    (row,) = browser.get(page("deliveries"), {"workspace": "beta"}).context["rows"]
    assert (row.pk, row.url) == (theirs.delivery.pk, theirs.delivery.endpoint.url)
    assert browser.get(page("deliveries"), {"status": "delivered"}).context["rows"] == []
    with inside_as_system(beta):
        WebhookDelivery.objects.filter(pk=row.pk).update(
            status="failed", next_attempt_at=None, finished_at=timezone.now()
        )
    answer = browser.post(reverse("admin:edge_ai_redeliver", args=["beta", row.pk]), follow=True)
    assert "is sent again" in answer.content.decode()
    with inside_as_system(beta):
        assert WebhookDelivery.objects.get(pk=row.pk).status == "pending"
        event = AuditEvent.objects.get(action="webhook.redelivered")
    assert (event.actor, event.object_id) == (staff.email, theirs.delivery.endpoint_id)


def test_queues_tell_who_serves_them_and_what_waits(alpha: Workspace, staff: User, browser_of: Browser) -> None:
    with acting_as_system():
        Cluster.objects.create(host="h", queue="studio", pid=1, workers=3, ready=True, sandbox_level="standard")
        now = timezone.now()
        for taken, due in ((None, -5), (None, 60), (now + timedelta(minutes=1), -5)):
            Ticket.objects.create(
                job_id=uuid4(),
                schema_name=alpha.schema_name,
                queue="studio",
                priority=1,
                due_at=now + timedelta(minutes=due),
                taken_until=taken,
            )
    states = {each.name: each for each in browser_of(staff).get(page("queues")).context["queues"]}
    studio = states["studio"]
    assert (studio.clusters, studio.workers, studio.taken, studio.due, studio.later) == (1, 3, 1, 1, 1)
    assert states["benchmark"].workers == 0


def test_all_trails_are_read_as_one(
    alpha: Workspace, beta: Workspace, staff: User, outsider: User, theirs: Rows, browser_of: Browser
) -> None:
    with inside(beta, outsider), acted_by(Actor(how=How.SESSION, user_id=outsider.pk, name=outsider.email)):
        note(AuditAction.MODEL_DELETED, theirs.model, before={"format": "onnx"})
    browser = browser_of(staff)
    text = browser.get(page("audit")).content.decode()
    assert "model.deleted" in text and outsider.email in text and beta.name in text
    for query, count in (
        ({"workspace": "beta", "action": "model.deleted"}, 1),
        ({"workspace": "alpha", "action": "model.deleted"}, 0),
        ({"actor": "outsider@", "object": "digits"}, 1),
        ({"actor": str(outsider.pk), "object": str(theirs.model.pk)}, 1),
        ({"action": "model.deleted", "to": "2020-01-01"}, 0),
    ):
        assert len(browser.get(page("audit"), query).context["rows"]) == count, query


# -- what it costs, and what nobody gets at -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", PAGES)
def test_more_rows_take_no_more_queries(
    name: str, beta: Workspace, staff: User, outsider: User, browser_of: Browser
) -> None:
    browser = browser_of(staff)

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(page(name)).status_code == 200
        return len(asked)

    make_rows(beta, outsider)
    cost()  # what is read once in a process
    one = cost()
    for _ in range(5):
        make_rows(beta, outsider)
    assert cost() == one < 15


def addresses() -> list[URLPattern]:
    """Every address of the admin pages."""
    found: list[URLPattern] = []
    left: list[Any] = list(admin.site.urls[0])
    while left:
        each = left.pop()
        if isinstance(each, URLResolver):
            left += each.url_patterns
        else:
            found.append(each)
    return found


def test_no_admin_page_leads_to_a_models_bytes(
    alpha: Workspace, staff: User, theirs: Rows, browser_of: Browser
) -> None:
    mine = make_rows(alpha, staff)
    own = {"model": mine.model, "dataset": mine.dataset, "artifact": mine.artifact, "deviceprofile": mine.device}
    own |= {"optimizationjob": mine.optimization, "benchmarkrun": mine.benchmark, "webhookdelivery": mine.delivery}
    own |= {"comparisonjob": mine.comparison, "diagnosisjob": mine.diagnosis}
    browser = browser_of(staff)
    walked = 0
    for route in addresses():
        name = str(route.name)
        if name in {"logout", "jsi18n"} or route.name is None:
            continue
        kind = name.removeprefix("edge_ai_").partition("_")[0]
        taken: dict[str, Any] = {
            "object_id": own[kind].pk if kind in own else str(uuid4()),
            "slug": "beta",
            "job_id": theirs.optimization.pk,
            "delivery_id": theirs.delivery.pk,
            "app_label": "edge_ai",
            "content_type_id": 1,
            "id": "1",
        }
        asked = {*route.pattern.converters, *re.findall(r"\?P<(\w+)>", str(route.pattern))}
        named = {key: value for key, value in taken.items() if key in asked}
        if name == "password_change" or name == "view_on_site":
            continue
        answer = browser.get(reverse(f"admin:{name}", kwargs=named))
        if answer.status_code != 200 or answer.streaming:
            assert answer.status_code in {301, 302, 403, 404, 405}, name
            continue
        walked += 1
        assert answer["Content-Type"].startswith(("text/html", "application/json")), name
        text = answer.content.decode()
        links = re.findall(r'(?:href|src|action)="([^"]*)"', text)
        assert not [link for link in links if link.startswith(("/files/", "/graph/")) or "/download" in link], name
    assert walked > 40


# -- templates ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def board(alpha: Workspace) -> DeviceTemplate:
    """A template that is not the host."""
    with acting_as_system():
        return DeviceTemplate.objects.filter(is_host=False, memory_mb__isnull=False).earliest("position")


def form_of(browser: Client, where: str) -> dict[str, Any]:
    """What a browser would send of the form as it is shown."""
    form = browser.get(where).context["adminform"].form
    return {name: form[name].value() or "" for name in form.fields}


def test_a_change_is_shown_before_it_spreads(
    alpha: Workspace, beta: Workspace, staff: User, outsider: User, board: DeviceTemplate, browser_of: Browser
) -> None:
    with inside(beta, outsider):
        known = DeviceProfile.objects.get(slug=board.slug, is_template=True)
        devices.create_profile(outsider, fields={"name": "Mine", "category": "phone"}, like=known)
        factories.make_benchmark(outsider, device_profile=known)
    browser = browser_of(staff)
    where = reverse("admin:catalogue_devicetemplate_change", args=[board.pk])
    sent = form_of(browser, where) | {"memory_mb": "4321", "vendor": "Acme"}
    question = browser.post(where, sent)
    assert question.status_code == 200
    assert [(each.title, each.was, each.now) for each in question.context["changes"]] == [
        ("Vendor", board.vendor, "Acme"),
        ("Memory (MiB)", str(board.memory_mb), "4321"),
    ]
    reach = question.context["reach"]
    assert (reach.workspaces >= 2, reach.own_profiles, reach.jobs) == (True, 1, 1)
    with acting_as_system():
        assert DeviceTemplate.objects.get(pk=board.pk).memory_mb == board.memory_mb, "nothing is changed yet"
    told = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', question.content.decode()))
    answer = browser.post(where, sent | {"_confirmed": "yes", "_seen": told["_seen"]})
    assert answer.status_code == 302
    with acting_as_system():
        changed = DeviceTemplate.objects.get(pk=board.pk)
    assert (changed.memory_mb, changed.vendor, changed.edited) == (4321, "Acme", True)
    devices.sync_workspace(beta.schema_name)
    with inside_as_system(beta):
        assert DeviceProfile.objects.get(slug=board.slug, is_template=True).memory_mb == 4321
        assert DeviceProfile.objects.get(name="Mine").memory_mb is None, "own profiles stay"


def test_a_new_name_is_told_as_a_change_of_the_old_one(staff: User, board: DeviceTemplate, browser_of: Browser) -> None:
    browser = browser_of(staff)
    where = reverse("admin:catalogue_devicetemplate_change", args=[board.pk])
    question = browser.post(where, form_of(browser, where) | {"name": "Renamed"})
    assert question.context["title"] == f"Change “{board.name}”?"
    assert [(each.was, each.now) for each in question.context["changes"]] == [(board.name, "Renamed")]


def test_an_edit_that_was_overtaken_is_asked_again(staff: User, board: DeviceTemplate, browser_of: Browser) -> None:
    browser = browser_of(staff)
    where = reverse("admin:catalogue_devicetemplate_change", args=[board.pk])
    sent = form_of(browser, where) | {"vendor": "Acme"}
    seen = browser.post(where, sent).context["seen"]
    with acting_as_system():
        DeviceTemplate.objects.filter(pk=board.pk).update(os="Somebody else's")
    again = browser.post(where, sent | {"_confirmed": "yes", "_seen": seen})
    assert again.status_code == 200 and "Somebody changed the template meanwhile" in again.content.decode()
    assert {each.title for each in again.context["changes"]} == {"Vendor", "Operating system"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"memory_mb": "1024", "sources": "{}"}, "Say where these numbers are from: "),
        ({"sources": '["x"]'}, "Sources are an object"),
        ({"accelerators": '["x"]'}, "Accelerators are a list of objects"),
        ({"name": ""}, "This field is required"),
    ],
)
def test_a_number_takes_a_source(
    wrong: dict[str, str], said: str, staff: User, board: DeviceTemplate, browser_of: Browser
) -> None:
    browser = browser_of(staff)
    where = reverse("admin:catalogue_devicetemplate_change", args=[board.pk])
    answer = browser.post(where, form_of(browser, where) | wrong)
    assert answer.status_code == 200
    assert said in answer.content.decode() and "reach" not in answer.context
    with acting_as_system():
        assert DeviceTemplate.objects.get(pk=board.pk).memory_mb == board.memory_mb


def test_a_template_that_goes_says_whom_it_concerns(staff: User, board: DeviceTemplate, browser_of: Browser) -> None:
    where = reverse("admin:catalogue_devicetemplate_delete", args=[board.pk])
    assert "The template goes from" in browser_of(staff).get(where).content.decode()
    assert browser_of(staff).post(where, {"post": "yes"}).status_code == 302
    with acting_as_system():
        assert not DeviceTemplate.objects.filter(pk=board.pk).exists()
