"""The API against its own description: schemathesis asks every operation whatever the description allows and what it does
not, as everybody, with all its checks.

``STUDIO_SCHEMATHESIS_EXAMPLES`` raises how many examples are made for each operation and role.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase
from schemathesis.checks import CHECKS
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test

from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.api.schema import description
from edge_ai.services.resumable import begin
from tests.conftest import inside, person
from tests.edge_ai import factories
from tests.web.support import make_rows

EXAMPLES = int(os.environ.get("STUDIO_SCHEMATHESIS_EXAMPLES", "0"))
#: For each role: examples that are made, and whether every bound and every missing part is tried as well.
ROLES = {
    "owner": (3, True),
    "admin": (2, False),
    "member": (2, False),
    "viewer": (2, False),
    "outsider": (2, False),
    "stranger": (1, False),
}
#: The lists of which every bound is tried unless more examples are asked for.
LISTS = {"list_models", "list_audit_events"}
#: Each says that the request is understood and cannot be done as things are.
REFUSALS = ["401", "402", "403", "404", "409", "410", "412", "413", "415", "422", "423", "429", "460"]
CONFIG: dict[str, Any] = {
    "phases": {"coverage": {"unexpected-methods": ["PUT", "TRACE"]}},
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2XX", "302", "304", *REFUSALS]},
        "negative_data_rejection": {"expected-statuses": ["304", "400", "405", "406", *REFUSALS]},
        "missing_required_header": {"expected-statuses": ["400", "401", "403", "404", "412", "422"]},
    },
}


@schemathesis.serializer("application/offset+octet-stream")
def octets(context: Any, value: Any) -> Any:
    """The bytes of an upload."""
    return value if isinstance(value, bytes) else str(value).encode()


class _UndoneError(Exception):
    """Takes back what a request did."""


@pytest.fixture(autouse=True)
def _keep_the_connection() -> Iterator[None]:
    """What a server does around each request, and Django's own test client does not: closing connections."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def ids(alpha: Workspace, owner: User) -> dict[str, list[str]]:
    """The ids of rows that are there, by the part of an address that leads to them and by the field that names them."""
    rows = make_rows(alpha, owner, visibility="workspace")
    with inside(alpha, owner):
        package = factories.make_packaging(owner, rows.model, visibility="workspace")
        imported = factories.make_import(owner, visibility="workspace")
        upload = begin(owner, length_bytes=9, purpose="model", file_name="a.onnx", name="")
    found = {
        "models": rows.model.pk,
        "datasets": rows.dataset.pk,
        "uploads": upload.pk,
        "device-profiles": rows.device.pk,
        "optimization-jobs": rows.optimization.pk,
        "batches": rows.batch.pk,
        "benchmarks": rows.benchmark.pk,
        "comparisons": rows.comparison.pk,
        "packages": package.pk,
        "imports": imported.pk,
        "diagnoses": rows.diagnosis.pk,
        "artifacts": rows.artifact.pk,
        "webhooks": rows.delivery.endpoint_id,
        "deliveries": rows.delivery.pk,
    }
    return {name: [str(value)] for name, value in found.items()}


@pytest.fixture
def key_of(alpha: Workspace, owner: User, colleague: User, viewer: User, outsider: User) -> Callable[[str], str]:
    """A key of somebody by their role; none of a stranger's."""
    people = {
        "owner": owner,
        "admin": person("admin@example.com", alpha, Role.ADMIN),
        "member": colleague,
        "viewer": viewer,
        "outsider": outsider,
    }

    def make(role: str) -> str:
        if role not in people:
            return ""
        with acting_as_system():
            workspace = Membership.objects.select_related("workspace").get(user=people[role]).workspace
            _, secret = ApiKey.issue(user=people[role], workspace=workspace, name="tests", scopes=["admin"])
        return secret

    return make


def aim(case: Any, ids: dict[str, list[str]], chance: random.Random) -> None:
    """Let what is valid mean rows that are there, for the most part."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if case.headers and (positive or case.method.upper() in {"PUT", "TRACE"}):
        # A word that is no workspace's is a 404 before anything else is looked at.
        case.headers.pop("X-Tenant-ID", None)
    if not positive:
        return
    parts = case.operation.path.strip("/").split("/")
    for place, part in enumerate(parts):
        if part.startswith("{") and case.path_parameters and chance.random() < 0.8:
            case.path_parameters[part[1:-1]] = ids[parts[place - 1]][0]
    named = {"model": "models", "baseline": "models", "dataset": "datasets", "device_profile": "device-profiles"}
    if isinstance(case.body, dict):
        for field, kind in named.items():
            if field in case.body and case.body[field] and chance.random() < 0.8:
                case.body[field] = ids[kind][0]
        for field, kind in {"models": "models", "device_profiles": "device-profiles"}.items():
            if case.body.get(field) and chance.random() < 0.8:
                case.body[field] = [*ids[kind], *case.body[field][1:]]


def failures(role: str, key: str, ids: dict[str, list[str]]) -> Iterator[str]:
    """Ask every operation; yields what schemathesis finds fault with."""
    examples, thorough = ROLES[role]
    schema = schemathesis.openapi.from_dict(description(), config=schemathesis.Config.from_dict(CONFIG))
    schema.app = get_wsgi_application()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # Each case sent again without a key, and with a wrong one: thrice the work, and once is enough.
    left_out = set() if role == "admin" else {"ignored_auth"}
    checks = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in left_out]
    chance = random.Random(7)  # noqa: S311 - no secret

    def ask(case: Any) -> None:
        aim(case, ids, chance)
        try:
            with transaction.atomic():
                case.call_and_validate(headers=dict(headers), checks=checks)
                raise _UndoneError
        except _UndoneError:
            pass

    config = HypothesisTestConfig(
        project=schema.config,
        modes=[HypothesisTestMode.FUZZING, HypothesisTestMode.EXAMPLES],
        seed=7,
        settings=hypothesis.settings(
            max_examples=EXAMPLES or examples,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=True,
        ),
    )
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # the description is valid
        name = str(operation.definition.raw["operationId"])
        # Lists have many filters, and share their code.
        tried_out = thorough and (EXAMPLES or not name.startswith("list_") or name in LISTS)
        modes = [*config.modes, HypothesisTestMode.COVERAGE] if tried_out else config.modes
        try:
            create_test(operation=operation, test_func=ask, config=replace(config, modes=modes))()
        except BaseExceptionGroup as group:
            for failure in dict.fromkeys(map(str, leaves(group))):
                yield f"{operation.label}: {failure}"
        except Exception as error:
            yield f"{operation.label}: {error!r}"


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """What a group of failures holds."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves(each)
        else:
            yield each


@pytest.mark.parametrize("role", list(ROLES))
@override_settings(API_RATE_PER_MINUTE=0)
def test_nothing_is_found(role: str, key_of: Callable[[str], str], ids: dict[str, list[str]]) -> None:
    found = list(failures(role, key_of(role), ids))
    assert not found, "\n\n".join(found)
