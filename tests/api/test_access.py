"""Who gets in, and how far. The addresses come from the URL table, so that a new one cannot be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.api.urls import resources
from edge_ai.models import BenchmarkRun, OptimizationJob
from tests.api.support import BASE, MISSING, Script, problem, send_json
from tests.conftest import inside, person
from tests.edge_ai import factories

# What uploads ask for before they look for a row; other addresses pass over it.
TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
VERBS = ("get", "post", "patch", "delete")


def operations() -> list[Any]:
    """Every verb at every address."""
    return [
        pytest.param(verb, route.name, id=f"{verb} {route.name}")
        for route in resources
        for verb in VERBS
        if hasattr(route.callback.view_class, verb)  # type: ignore[attr-defined]  # every one is a class
    ]


def address(name: str, row_id: object = MISSING) -> str:
    """Return where a name leads, whether it takes an id or not."""
    route = next(route for route in resources if route.name == name)
    taken = dict.fromkeys(route.pattern.converters, MISSING)
    return reverse(f"api:{name}", kwargs=taken | ({"id": row_id} if "id" in taken else {}))


def takes_an_id(param: Any) -> bool:
    """Tell addresses of one thing from lists."""
    return MISSING in address(param.values[1])


def ask(client: Client, verb: str, where: str) -> Any:
    """Send a request without a body that any address would look at."""
    sent = {"data": b"x", "content_type": "application/offset+octet-stream"} if verb == "patch" else {}
    return getattr(client, verb)(where, headers=TUS, **sent)


@pytest.mark.parametrize(("verb", "name"), operations())
def test_nobody_gets_in_anonymously(db: None, verb: str, name: str) -> None:
    response = getattr(Client(), verb)(address(name))
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="studio"'


@pytest.mark.parametrize("key", ["", "eas_", "eas_aaaaaaaa_" + "b" * 43, "x" * 5000, "eas_aaaaaaaa_\x00"])
def test_a_bad_key_is_a_401(db: None, key: str) -> None:
    response = Client(headers={"Authorization": f"Bearer {key}"}).get(f"{BASE}me/")
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="studio"'


@pytest.mark.parametrize(("verb", "name"), [p for p in operations() if takes_an_id(p)])
def test_what_does_not_exist_is_a_404(owner: User, script_of: Script, verb: str, name: str) -> None:
    problem(ask(script_of(owner), verb, address(name)), 404, "not_found")


@pytest.fixture
def private(alpha: Workspace, owner: User) -> dict[str, str]:
    """One row of each kind that only its owner sees, by the beginning of the names of its addresses."""
    with inside(alpha, owner):
        model = factories.make_model(owner)
        return {
            "model": str(model.pk),
            "dataset": str(factories.make_dataset(owner).pk),
            "device-profile": str(factories.make_device(owner).pk),
            "batch": str(factories.make_batch(owner, model).pk),
            "job": str(factories.make_optimization(owner, model).pk),
            "benchmark": str(factories.make_benchmark(owner, model).pk),
            "comparison": str(factories.make_comparison(owner, model).pk),
            "package": str(factories.make_packaging(owner, model).pk),
            "import": str(factories.make_import(owner).pk),
            "diagnosis": str(factories.make_diagnosis(owner, model).pk),
            "artifact": str(factories.make_artifact(owner, model).pk),
            "upload": str(factories.make_upload(owner).pk),
            "webhook": str(factories.make_endpoint(owner).pk),
        }


@pytest.mark.parametrize(("verb", "name"), [p for p in operations() if takes_an_id(p)])
@pytest.mark.parametrize("who", ["colleague", "outsider"])
def test_another_persons_id_is_a_404(
    request: pytest.FixtureRequest, private: dict[str, str], script_of: Script, who: str, verb: str, name: str
) -> None:
    stranger: User = request.getfixturevalue(who)
    theirs = private[name.rsplit("-", 1)[0]]
    problem(ask(script_of(stranger), verb, address(name, theirs)), 404, "not_found")


@pytest.mark.parametrize(
    "name",
    [
        route.name
        for route in resources
        if str(route.pattern).count("/") == 1
        and route.name not in {"me", "usage"}
        and hasattr(route.callback.view_class, "get")  # type: ignore[attr-defined]  # every one is a class
    ],
)
def test_lists_show_nothing_of_others(
    private: dict[str, str], colleague: User, outsider: User, owner: User, script_of: Script, name: str
) -> None:
    theirs = private[name.rsplit("-", 1)[0]]
    for someone, sees in ((owner, True), (colleague, False), (outsider, False)):
        rows = script_of(someone).get(address(name), {"page_size": 200}).json()["results"]
        assert (theirs in {row["id"] for row in rows}) is sees


def test_what_is_shared_is_seen_by_colleagues_alone(
    alpha: Workspace, owner: User, colleague: User, outsider: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        shared = factories.make_model(owner, visibility="workspace")
    where = address("model-detail", shared.pk)
    assert script_of(colleague).get(where).status_code == 200
    problem(script_of(outsider).get(where), 404, "not_found")
    problem(send_json(script_of(colleague), "patch", where, {"name": "mine now"}), 403, "permission_denied")
    problem(script_of(colleague).delete(where), 403, "permission_denied")
    assert script_of(owner).get(where).json()["name"] == "digits"


@pytest.mark.parametrize(("verb", "name"), operations())
def test_another_workspaces_name_is_a_404(
    owner: User, script_of: Script, beta: Workspace, verb: str, name: str
) -> None:
    for slug in (beta.slug, "no-such-workspace"):
        problem(getattr(script_of(owner), verb)(address(name), headers={"X-Tenant-ID": slug}), 404, "not_found")
    problem(getattr(script_of(owner), verb)(f"{address(name)}?tenant_id={beta.slug}"), 404, "not_found")


def test_a_key_may_name_its_own_workspace(owner: User, script_of: Script, alpha: Workspace) -> None:
    for where in (f"{BASE}me/?tenant_id={alpha.slug}", f"{BASE}models/?tenant_id={alpha.slug}"):
        assert script_of(owner).get(where, headers={"X-Tenant-ID": alpha.slug}).status_code == 200


@pytest.mark.parametrize(("verb", "name"), [p for p in operations() if p.values[0] != "get"])
def test_a_key_that_reads_does_not_write(owner: User, script_of: Script, verb: str, name: str) -> None:
    body = problem(getattr(script_of(owner, scopes=["read"]), verb)(address(name)), 403, "permission_denied")
    assert "scope" in body["detail"]


@pytest.mark.parametrize(("verb", "name"), [p for p in operations() if p.values[0] != "get"])
def test_a_viewer_only_looks(viewer: User, script_of: Script, verb: str, name: str) -> None:
    body = problem(getattr(script_of(viewer), verb)(address(name)), 403, "permission_denied")
    assert "viewer" in body["detail"]


def test_a_viewer_looks(viewer: User, script_of: Script) -> None:
    assert script_of(viewer).get(f"{BASE}models/").status_code == 200


def test_a_session_needs_its_csrf_token(owner: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    assert browser.get(f"{BASE}me/").status_code == 200
    device = {"name": "Board", "category": "phone"}
    body = problem(send_json(browser, "post", "device-profiles/", device), 403, "permission_denied")
    assert "CSRF" in body["detail"]
    browser.get(reverse("accounts:login"))
    token = "a" * 32
    browser.cookies["csrftoken"] = token
    answer = browser.post(
        f"{BASE}device-profiles/", device, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert answer.status_code == 201, answer.content


def test_a_key_needs_none(owner: User) -> None:
    with acting_as_system():
        membership = Membership.objects.select_related("workspace").get(user=owner)
        _, secret = ApiKey.issue(user=owner, workspace=membership.workspace, name="strict", scopes=["write"])
    strict = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {secret}"})
    answer = send_json(strict, "post", "device-profiles/", {"name": "Board", "category": "phone"})
    assert answer.status_code == 201, answer.content


def test_who_belongs_to_several_workspaces_says_which(alpha: Workspace, beta: Workspace) -> None:
    both = person("both@example.com", alpha, Role.MEMBER)
    with acting_as_system():
        Membership.objects.create(user=both, workspace=beta, role=Role.VIEWER)
    browser = Client()
    browser.force_login(both)
    body = problem(browser.get(f"{BASE}me/"), 422, "workspace_required")
    assert "X-Tenant-ID" in body["detail"]
    me = browser.get(f"{BASE}me/", headers={"X-Tenant-ID": "beta"}).json()
    assert (me["workspace"]["slug"], me["role"], me["scopes"]) == ("beta", "viewer", ["read"])
    me = browser.get(f"{BASE}me/?tenant_id=alpha").json()
    assert (me["workspace"]["slug"], me["role"], me["scopes"]) == ("alpha", "member", ["read", "write"])


def test_who_belongs_to_none_is_told_so(db: None) -> None:
    with acting_as_system():
        nobody = User.objects.create_user("nobody@example.com", "correct horse battery 7")
    browser = Client()
    browser.force_login(nobody)
    problem(browser.get(f"{BASE}models/"), 422, "workspace_required")


def test_me(owner: User, alpha: Workspace, script_of: Script, browser_of: Callable[[User], Client]) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        factories.make_optimization(owner, model)
        factories.make_dataset(owner)
    me = script_of(owner, scopes=["write"]).get(f"{BASE}me/").json()
    assert me["user"] == {"id": str(owner.pk), "email": "owner@example.com", "name": "Owner"}
    assert me["workspace"] == {"id": str(alpha.pk), "slug": "alpha", "name": alpha.name}
    assert (me["role"], me["scopes"]) == ("owner", ["read", "write"])
    assert me["api_key"]["name"] == "tests"
    assert me["quota"]["max_upload_bytes"] == 4 * 1024**3
    used = me["usage"]
    assert (used["models"], used["optimization_jobs"], used["datasets"], used["active_jobs"]) == (1, 1, 1, 1)
    assert used["stored_bytes"] > 0
    by_session = browser_of(owner).get(f"{BASE}me/").json()
    assert by_session["api_key"] is None
    assert by_session["scopes"] == ["read", "write", "admin"]


def test_a_revoked_key_is_over(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    assert script.get(f"{BASE}me/").status_code == 200
    with acting_as_system():
        ApiKey.objects.filter(user=owner).update(revoked_at=timezone.now())
    problem(script.get(f"{BASE}me/"), 401, "not_authenticated")


def test_colleagues_may_not_steer_each_others_jobs(
    alpha: Workspace, owner: User, colleague: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, visibility="workspace")
        job = factories.make_optimization(owner, model, visibility="workspace")
        run = factories.make_benchmark(owner, model, visibility="workspace")
    for name, row in (("job-cancel", job), ("job-retry", job), ("benchmark-cancel", run), ("benchmark-retry", run)):
        problem(script_of(colleague).post(address(name, row.pk)), 403, "permission_denied")
    with inside(alpha, owner):
        assert not OptimizationJob.objects.get(pk=job.pk).cancel_requested
        assert not BenchmarkRun.objects.get(pk=run.pk).cancel_requested
