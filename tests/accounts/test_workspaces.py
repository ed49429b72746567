"""Which workspace a request is about, who gets in, and what is left on the connection afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from accounts.middleware import WorkspaceMiddleware
from accounts.models import ApiKey, Domain, Membership, Role, User, Workspace
from config.database.backend.base import NOBODY, USER_ROLE
from config.database.identity import acting_as_system
from tests.conftest import PASSWORD, ROOT, inside, person
from tests.edge_ai import factories

ME = "/api/edge/v1/me/"


@pytest.fixture
def both(owner: User, beta: Workspace) -> User:
    """The owner, who belongs to the other workspace too."""
    with acting_as_system():
        Membership.objects.create(user=owner, workspace=beta, role=Role.MEMBER)
    return owner


def where(client: Client, path: str = ME, **headers: str) -> str | int:
    """Say which workspace a request lands in, or its status."""
    answer = client.get(path, headers=headers)
    return str(answer.json()["workspace"]["slug"]) if answer.status_code == 200 else answer.status_code


def test_the_sole_membership_needs_no_word(owner: User, browser_of: Callable[[User], Client]) -> None:
    assert where(browser_of(owner)) == "alpha"


def test_header_before_query_before_host_before_session(both: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(both)
    assert client.post("/workspaces/switch/", {"workspace": "alpha"}).status_code == 303
    assert where(client) == "alpha", "the session's choice"
    assert where(client, host="beta.localhost") == "beta"
    assert where(client, ME + "?tenant_id=alpha", host="beta.localhost") == "alpha"
    assert where(client, ME + "?tenant_id=alpha", **{"X-Tenant-ID": "beta"}) == "beta"


@pytest.mark.parametrize("way", ["header", "query", "host"])
def test_strangers_and_inventions_get_the_same_answer(
    outsider: User, browser_of: Callable[[User], Client], way: str
) -> None:
    client = browser_of(outsider)
    answers = []
    for slug in ("alpha", "no-such-place"):
        path = f"{ME}?tenant_id={slug}" if way == "query" else ME
        headers = {"header": {"X-Tenant-ID": slug}, "host": {"host": f"{slug}.localhost"}}.get(way, {})
        answers.append(client.get(path, headers=headers))
        assert answers[-1].status_code == 404
    bodies = [answer.json() | {"request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    kept = [{name: value for name, value in answer.items() if name != "X-Request-ID"} for answer in answers]
    assert kept[0] == kept[1], "nor do the headers tell"


def test_a_page_of_another_workspace_is_a_404_for_people_too(
    outsider: User, browser_of: Callable[[User], Client]
) -> None:
    answer = browser_of(outsider).get("/models/", headers={"host": "alpha.localhost"})
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


def test_a_host_of_somebody_elses_naming_means_no_workspace(
    owner: User, browser_of: Callable[[User], Client], settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["studio.example.com"]
    assert where(browser_of(owner), host="studio.example.com") == "alpha"
    with acting_as_system():
        Domain.objects.create(domain="studio.example.com", tenant=Workspace.objects.get(slug="beta"), is_primary=False)
    assert where(browser_of(owner), host="studio.example.com") == 404, "until it is somebody's"


def test_of_several_workspaces_one_has_to_be_named(both: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(both)
    answer = client.get(ME)
    assert (answer.status_code, answer.json()["code"]) == (422, "workspace_required")
    page = client.get("/models/")
    assert (page.status_code, page["Location"]) == (302, "/workspaces/")
    assert client.get("/workspaces/").status_code == 200


def test_a_choice_does_not_outlive_the_membership(both: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(both)
    assert client.post("/workspaces/switch/", {"workspace": "beta"}).status_code == 303
    assert where(client) == "beta"
    with acting_as_system():
        Membership.objects.filter(user=both, workspace__slug="beta").delete()
    assert where(client) == "alpha"
    assert where(client, **{"X-Tenant-ID": "beta"}) == 404


def test_switching_is_for_members_and_never_leads_away(both: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(both)
    for target in ("https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)", "evil", ""):
        away = client.post("/workspaces/switch/", {"workspace": "beta", "next": target})
        assert (away.status_code, away["Location"]) == (303, "/overview/"), target
    back = client.post("/workspaces/switch/", {"workspace": "alpha", "next": "/models/?tag=a"})
    assert back["Location"] == "/models/?tag=a"
    assert client.post("/workspaces/switch/", {"workspace": "nowhere"}).status_code == 404
    assert client.get("/workspaces/switch/").status_code == 405


def test_nothing_of_a_request_stays_on_the_connection(owner: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(owner)
    client.raise_request_exception = False
    for path in ("/models/", "/models/11111111-2222-4333-8444-555555555555/", "/health/"):
        client.get(path)
        assert connection.schema_name == "public"  # type: ignore[attr-defined]
        assert connection.identity == NOBODY  # type: ignore[attr-defined]


def test_nor_does_it_when_the_view_raises(owner: User, rf: RequestFactory) -> None:
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append((connection.schema_name, connection.identity))  # type: ignore[attr-defined]
        raise RuntimeError

    request = rf.get("/models/")
    request.user = owner
    request.session = {}  # type: ignore[assignment]  # what the session middleware would put there
    with pytest.raises(RuntimeError):
        WorkspaceMiddleware(view)(request)
    assert seen == [("ws_alpha", (USER_ROLE, str(owner.pk)))]
    assert connection.schema_name == "public"  # type: ignore[attr-defined]
    assert connection.identity == NOBODY  # type: ignore[attr-defined]


def test_signing_in_by_address_in_any_case(owner: User) -> None:
    client = Client()
    answer = client.post("/accounts/sign-in/", {"login": "OWNER@example.com", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/overview/")
    assert client.get("/overview/").status_code == 200
    assert client.post("/accounts/sign-out/").status_code == 302
    assert client.get("/overview/").status_code == 302


def test_a_wrong_password_and_an_unknown_address_sound_alike(owner: User) -> None:
    texts = []
    for name in ("owner@example.com", "nobody@example.com"):
        answer = Client().post("/accounts/sign-in/", {"login": name, "password": "wrong"})
        assert answer.status_code == 200
        texts.append(answer.content.decode().replace(name, "").partition("<form")[2].partition("csrf")[0])
    assert texts[0] == texts[1]


def test_a_sign_in_never_leads_away(owner: User) -> None:
    answer = Client().post(
        "/accounts/sign-in/?next=https://evil.example/",
        {"login": owner.email, "password": PASSWORD, "next": "https://evil.example/"},
    )
    assert answer["Location"] == "/overview/"


def test_a_key_is_shown_once_and_kept_as_a_hash(owner: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(owner)
    wanted = client.post("/settings/api-keys/", {"name": "nightly", "scope": "read", "days": "30"})
    assert (wanted.status_code, wanted["Location"]) == (303, "/accounts/confirm/?next=%2Fsettings%2Fapi-keys%2F")
    assert wanted["Location"] in client.get("/settings/api-keys/").content.decode()
    proof = client.post(wanted["Location"], {"password": PASSWORD, "next": "/settings/api-keys/"})
    assert proof["Location"] == "/settings/api-keys/"
    made = client.post("/settings/api-keys/", {"name": "nightly", "scope": "read", "days": "30"})
    assert made.status_code == 200
    secret = made.context["new_key"]["secret"]
    assert secret in made.content.decode()
    assert made["Cache-Control"] == "no-store"
    assert secret not in client.get("/settings/api-keys/").content.decode()
    with acting_as_system():
        key = ApiKey.objects.get(name="nightly")
    assert secret.rsplit("_", 1)[-1] not in key.secret_sha256
    script = Client(headers={"Authorization": f"Bearer {secret}"})
    assert where(script) == "alpha"
    assert script.post("/api/edge/v1/device-profiles/", {}, "application/json").status_code == 403, "it may only read"
    assert client.post(f"/settings/api-keys/{key.pk}/revoke/").status_code == 303
    assert where(script) == 401


def test_a_viewer_makes_no_keys(viewer: User, browser_of: Callable[[User], Client]) -> None:
    answer = browser_of(viewer).post("/settings/api-keys/", {"name": "mine", "scope": "admin", "days": "0"})
    assert answer.status_code == 403


def test_anothers_key_is_not_revoked(owner: User, colleague: User, browser_of: Callable[[User], Client]) -> None:
    with acting_as_system():
        key, _ = ApiKey.issue(user=owner, workspace=Workspace.objects.get(slug="alpha"), name="theirs", scopes=["read"])
    assert browser_of(colleague).post(f"/settings/api-keys/{key.pk}/revoke/").status_code == 404


def test_staff_see_rows_of_their_workspace_in_the_admin_pages(
    alpha: Workspace, browser_of: Callable[[User], Client]
) -> None:
    staff = person("staff@example.com", alpha, Role.MEMBER)
    with acting_as_system():
        User.objects.filter(pk=staff.pk).update(is_staff=True, is_superuser=True)
    staff.refresh_from_db()
    with inside(alpha, staff):
        job = factories.make_optimization(staff)
    client = browser_of(staff)
    for path in (
        "/admin/",
        "/admin/catalogue/devicetemplate/",
        "/admin/edge_ai/model/",
        "/admin/edge_ai/optimizationjob/",
        f"/admin/edge_ai/optimizationjob/{job.pk}/change/",
        "/admin/fleet/cluster/",
        "/admin/accounts/workspace/",
    ):
        assert client.get(path).status_code == 200, path


def test_an_edit_of_a_template_in_the_admin_pages_is_on_its_way_to_every_workspace(
    alpha: Workspace, browser_of: Callable[[User], Client]
) -> None:
    from django_q.models import OrmQ

    from edge_ai.catalogue.models import DeviceTemplate

    staff = person("staff@example.com", alpha, Role.MEMBER)
    with acting_as_system():
        User.objects.filter(pk=staff.pk).update(is_staff=True, is_superuser=True)
        template = DeviceTemplate.objects.get(slug="raspberry-pi-5")
    staff.refresh_from_db()
    client = browser_of(staff)
    page = client.get(f"/admin/catalogue/devicetemplate/{template.pk}/change/")
    form = page.context["adminform"].form
    data = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    data = {name: json.dumps(v) if isinstance(v, (dict,)) else v for name, v in data.items()}
    for name in ("cpu_extensions", "runtimes", "formats", "precisions"):
        data[name] = ",".join(getattr(template, name))
    data["accelerators"], data["sources"] = json.dumps(template.accelerators), json.dumps(template.sources)
    data["description"] = "Edited in the admin pages."
    data.pop("edited", None)
    before = OrmQ.objects.count()
    where = f"/admin/catalogue/devicetemplate/{template.pk}/change/"
    question = client.post(where, data)
    assert OrmQ.objects.count() == before, "it is asked first"
    answer = client.post(where, data | {"_confirmed": "yes", "_seen": question.context["seen"]})
    assert answer.status_code == 302
    with acting_as_system():
        template.refresh_from_db()
    assert (template.description, template.edited) == ("Edited in the admin pages.", True)
    assert OrmQ.objects.count() == before + 1


def command(*arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    """Run create_workspace as an operator's script would."""
    return subprocess.run(
        [sys.executable, "manage.py", "create_workspace", *arguments],
        cwd=ROOT,
        env=os.environ | {"THE_PASSWORD": password},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_command_makes_a_workspace_once_and_a_new_key_each_time(db: None) -> None:
    arguments = ("scripted", "--owner", "script@example.com", "--password-env", "THE_PASSWORD", "--api-key")
    first, second = command(*arguments), command(*arguments)
    assert first.returncode == 0, first.stderr
    made, again = json.loads(first.stdout), json.loads(second.stdout)
    assert (made["workspace"], made["user"]) == ("scripted", "script@example.com")
    assert made["api_key"].startswith("eas_")
    assert again == made | {"api_key": again["api_key"]}
    assert again["api_key"] != made["api_key"]
    for answer in (made, again):
        assert where(Client(headers={"Authorization": f"Bearer {answer['api_key']}"})) == "scripted"
    taken = command("scripted", "--owner", "another@example.com", "--password-env", "THE_PASSWORD")
    assert taken.returncode == 1
    assert "does not own it" in taken.stderr


def test_the_command_ends_what_was_interrupted_before_the_schema_was_made(
    django_db_setup: None, django_db_blocker: Any
) -> None:
    arguments = ("halfway", "--owner", "alpha-root@example.com", "--api-key")
    with django_db_blocker.unblock():
        with acting_as_system():
            halfway = Workspace(slug="halfway", name="Halfway", schema_name=Workspace.schema_for("halfway"))
            halfway.auto_create_schema = False
            halfway.save()
            owner = User.objects.get(email="alpha-root@example.com")
            Membership.objects.create(user=owner, workspace=halfway, role=Role.OWNER)
        try:
            done = command(*arguments)
            assert done.returncode == 0, done.stderr
            client = Client(headers={"Authorization": f"Bearer {json.loads(done.stdout)['api_key']}"})
            assert where(client) == "halfway"
            assert client.get("/api/edge/v1/device-profiles/").json()["results"]
        finally:
            # Together: a workspace that is there is never without an owner.
            with acting_as_system(), transaction.atomic():
                ApiKey.objects.filter(workspace=halfway).delete()
                Membership.objects.filter(workspace=halfway).delete()
                Workspace.objects.filter(pk=halfway.pk)._raw_delete("default")


@pytest.mark.parametrize(
    ("arguments", "password", "complaint"),
    [
        (("Bad Slug", "--owner", "x@example.com", "--password-env", "THE_PASSWORD"), "a good password 1", "lower-case"),
        (("fine", "--owner", "not-an-address", "--password-env", "THE_PASSWORD"), "a good password 1", "email"),
        (("fine", "--owner", "x@example.com", "--password-env", "THE_PASSWORD"), "short", "too short"),
        (("fine", "--owner", "x@example.com", "--password-env", "NOT_SET"), "a good password 1", "NOT_SET"),
        (("fine", "--owner", "x@example.com"), "a good password 1", "password"),
    ],
)
def test_the_command_says_what_is_wrong(db: None, arguments: tuple[str, ...], password: str, complaint: str) -> None:
    done = command(*arguments, password=password)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not Workspace.objects.filter(slug="fine").exists()
    assert not User.objects.filter(email="x@example.com").exists()
