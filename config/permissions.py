"""Who may do what: one row for each address and verb, read by the doors of pages and API and written into docs/permissions.md.

The doors refuse roles that are too small and keys whose scope is. Which rows somebody sees or changes is kept where the rows
are asked for, and by row level security; the table says it, and a test asks every address as everybody and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Least(StrEnum):
    """The least that somebody must be."""

    PUBLIC = "public"
    SIGNED_IN = "signed in"
    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"
    STAFF = "staff"


class Rows(StrEnum):
    """Whose rows an address is about."""

    NONE = ""
    SEEN = "own and shared"
    OWN = "own"
    WORKSPACE = "the workspace's"
    LINK = "what the link stands for"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a verb at an address takes. ``scope`` is what a key needs; pages take none."""

    least: Least
    rows: Rows = Rows.NONE
    scope: str = ""


Verbs = Mapping[str, Rule]
ROLES = (Least.VIEWER, Least.MEMBER, Least.ADMIN, Least.OWNER)


def _public(rows: Rows = Rows.NONE) -> Verbs:
    return {"GET": Rule(least=Least.PUBLIC, rows=rows)}


def _anybody(rows: Rows = Rows.NONE) -> Verbs:
    return {**_public(rows), "POST": Rule(least=Least.PUBLIC, rows=rows)}


def _look(rows: Rows = Rows.NONE, least: Least = Least.VIEWER) -> Verbs:
    return {"GET": Rule(least=least, rows=rows)}


def _send(rows: Rows = Rows.NONE, least: Least = Least.MEMBER) -> Verbs:
    return {"POST": Rule(least=least, rows=rows)}


def _form(rows: Rows = Rows.NONE, least: Least = Least.MEMBER) -> Verbs:
    return {**_look(rows, least), **_send(rows, least)}


def _read(rows: Rows = Rows.NONE) -> Verbs:
    return {"GET": Rule(least=Least.VIEWER, rows=rows, scope="read")}


def _write(*verbs: str, rows: Rows = Rows.NONE, least: Least = Least.MEMBER, scope: str = "write") -> Verbs:
    return {verb: Rule(least=least, rows=rows, scope=scope) for verb in verbs}


def _job(name: str, *more: str) -> dict[str, Verbs]:
    """The addresses that every kind of job has in the API."""
    return {
        f"api:{name}-list": {**_read(), **_write("POST")},
        f"api:{name}-detail": _read(Rows.SEEN),
        f"api:{name}-cancel": _write("POST", rows=Rows.OWN),
        f"api:{name}-retry": _write("POST", rows=Rows.OWN),
        **{f"api:{name}-{each}": _read(Rows.SEEN) for each in ("events", *more)},
    }


_WEBHOOK_FORM = _form(Rows.OWN, Least.ADMIN)
_WEBHOOK_SEND = _send(Rows.OWN, Least.ADMIN)


def _webhook(*verbs: str) -> Verbs:
    return _write(*verbs, rows=Rows.OWN, least=Least.ADMIN, scope="admin")


#: By the name that ``reverse()`` takes. The admin site has too many addresses to name: see :data:`PREFIXES`.
TABLE: Mapping[str, Verbs] = {
    # -- for everybody
    "robots": _public(),
    "sitemap": _public(),
    "health": _public(),
    "edge_ai:landing": _public(),
    "edge_ai:error-codes": _public(),
    "edge_ai:sample": _public(),
    "manifest": _public(),
    "shared-comparison": _public(Rows.LINK),
    "docs:index": _public(),
    "docs:page": _public(),
    "docs:search": _public(),
    "api:schema": _public(),
    "api:docs": _public(),
    "stored-file": _public(Rows.LINK),
    "graph-model": _public(Rows.LINK),
    "graph-viewer": _public(),
    "graph-asset": _public(),
    # -- people
    "accounts:login": _anybody(),
    "accounts:logout": _anybody(),
    # The same two by the names that allauth looks for, and what else it has.
    "account_login": _anybody(),
    "account_logout": _anybody(),
    "account_signup": _anybody(),
    # Absent unless a provider is set.
    "openid_connect_login": {"POST": Rule(least=Least.PUBLIC, rows=Rows.LINK)},
    "openid_connect_callback": _public(Rows.LINK),
    "account_inactive": _public(),
    "account_email_verification_sent": _public(),
    "account_confirm_email": _anybody(Rows.LINK),
    "account_reset_password": _anybody(),
    "account_reset_password_done": _public(),
    "account_reset_password_from_key": _anybody(Rows.LINK),
    "account_reset_password_from_key_done": _public(),
    "account_reauthenticate": _form(least=Least.SIGNED_IN),
    "account_request_reauthentication_code": _form(least=Least.SIGNED_IN),
    "account_confirm_reauthentication_code": _form(least=Least.SIGNED_IN),
    "account_email": _form(least=Least.SIGNED_IN),
    "account_change_password": _form(least=Least.SIGNED_IN),
    "account_set_password": _form(least=Least.SIGNED_IN),
    "accounts:account": _form(least=Least.SIGNED_IN),
    "accounts:session-list": _look(least=Least.SIGNED_IN),
    "accounts:session-end-others": _send(least=Least.SIGNED_IN),
    "accounts:session-end": _send(Rows.OWN, Least.SIGNED_IN),
    # The second factor. What stands at sign-in knows whose password was right, and leads others to the sign-in.
    "mfa_authenticate": _form(least=Least.SIGNED_IN),
    "mfa_login_webauthn": _anybody(),
    "mfa_reauthenticate": _form(least=Least.SIGNED_IN),
    "mfa_reauthenticate_webauthn": _form(least=Least.SIGNED_IN),
    # These lead to the account.
    "mfa_index": _anybody(),
    "mfa_list_webauthn": _anybody(),
    "mfa_activate_totp": _form(least=Least.SIGNED_IN),
    "mfa_deactivate_totp": _form(least=Least.SIGNED_IN),
    "mfa_view_recovery_codes": _look(least=Least.SIGNED_IN),
    "mfa_generate_recovery_codes": _form(least=Least.SIGNED_IN),
    "mfa_download_recovery_codes": _look(least=Least.SIGNED_IN),
    "mfa_add_webauthn": _form(least=Least.SIGNED_IN),
    "mfa_remove_webauthn": _form(Rows.OWN, Least.SIGNED_IN),
    "mfa_edit_webauthn": _form(Rows.OWN, Least.SIGNED_IN),
    "accounts:invitation": _anybody(Rows.LINK),
    "accounts:workspace-list": _look(least=Least.SIGNED_IN),
    "accounts:switch-workspace": _send(least=Least.SIGNED_IN),
    "accounts:api-key-list": {**_look(), **_send()},
    "accounts:api-key-revoke": _send(Rows.OWN, Least.VIEWER),
    # -- workspaces
    "edge_ai:workspace-create": _form(least=Least.SIGNED_IN),
    "edge_ai:workspace-settings": {**_look(), **_send(least=Least.ADMIN)},
    "edge_ai:workspace-delete": _form(least=Least.OWNER),
    "edge_ai:workspace-export": _send(least=Least.ADMIN),
    "edge_ai:workspace-export-download": _look(Rows.OWN, Least.ADMIN),
    "edge_ai:workspace-keep": _send(least=Least.OWNER),
    # -- members
    "edge_ai:usage": _look(),
    "edge_ai:member-list": _look(Rows.WORKSPACE),
    "edge_ai:member-role": _send(Rows.WORKSPACE, Least.ADMIN),
    # Everybody may leave; others are removed by who manages them.
    "edge_ai:member-remove": _form(Rows.WORKSPACE, Least.VIEWER),
    "edge_ai:ownership-transfer": _form(least=Least.OWNER),
    "edge_ai:invitation-create": _form(least=Least.ADMIN),
    "edge_ai:invitation-resend": _send(Rows.WORKSPACE, Least.ADMIN),
    "edge_ai:invitation-revoke": _send(Rows.WORKSPACE, Least.ADMIN),
    # -- the studio's pages
    "edge_ai:overview": _look(),
    "edge_ai:model-list": _look(),
    "edge_ai:search": _look(),
    "edge_ai:model-upload": _form(),
    "edge_ai:model-import": _form(),
    "edge_ai:model-bulk": _send(),
    "edge_ai:model-tags": _send(Rows.OWN),
    "edge_ai:model-layers-read": _send(Rows.SEEN),
    "edge_ai:model-detail": _look(Rows.SEEN),
    "edge_ai:model-download": _look(Rows.SEEN),
    "edge_ai:model-compatibility": _look(Rows.SEEN),
    "edge_ai:model-update": _form(Rows.OWN),
    "edge_ai:model-delete": _form(Rows.OWN),
    "edge_ai:optimization-create": _form(Rows.SEEN),
    "edge_ai:benchmark-create": _form(Rows.SEEN),
    "edge_ai:packaging-create": _send(Rows.SEEN),
    "edge_ai:diagnosis-create": _send(Rows.SEEN),
    "edge_ai:diagnosis-detail": _look(Rows.SEEN),
    "edge_ai:diagnosis-fix": _send(Rows.SEEN),
    "edge_ai:job-list": _look(),
    "edge_ai:job-bulk": _send(),
    "edge_ai:job-ended": _look(),
    "edge_ai:batch-create": _form(),
    "edge_ai:batch-list": _look(),
    "edge_ai:batch-detail": _look(Rows.SEEN),
    "edge_ai:batch-cancel": _send(Rows.OWN),
    "edge_ai:batch-retry": _send(Rows.OWN),
    "edge_ai:job-detail": _look(Rows.SEEN),
    "edge_ai:job-events": _look(Rows.SEEN),
    "edge_ai:job-log": _look(Rows.SEEN),
    "edge_ai:variant-benchmark": _send(Rows.SEEN),
    "edge_ai:job-cancel": _send(Rows.OWN),
    "edge_ai:job-retry": _send(Rows.OWN),
    "edge_ai:job-afresh": _send(Rows.OWN),
    "edge_ai:benchmark-list": _look(),
    "edge_ai:benchmark-detail": _look(Rows.SEEN),
    "edge_ai:benchmark-samples": _look(Rows.SEEN),
    "edge_ai:run-comparison": _look(),
    "edge_ai:comparison-list": _look(),
    "edge_ai:comparison-create": _form(),
    "edge_ai:comparison-detail": _look(Rows.SEEN),
    "edge_ai:comparison-table": _look(Rows.SEEN),
    "edge_ai:comparison-samples": _look(Rows.SEEN),
    "edge_ai:dataset-list": _look(),
    "edge_ai:dataset-upload": _form(),
    "edge_ai:dataset-bulk": _send(),
    "edge_ai:dataset-detail": _look(Rows.SEEN),
    "edge_ai:dataset-download": _look(Rows.SEEN),
    "edge_ai:dataset-update": _form(Rows.OWN),
    "edge_ai:dataset-delete": _send(Rows.OWN),
    "edge_ai:device-list": _look(),
    "edge_ai:device-create": _form(),
    "edge_ai:device-compare": _look(),
    "edge_ai:device-detail": _look(Rows.SEEN),
    "edge_ai:device-update": _form(Rows.OWN),
    "edge_ai:device-delete": _form(Rows.OWN),
    "edge_ai:artifact-list": _look(),
    "edge_ai:artifact-bulk": _send(),
    "edge_ai:artifact-detail": _look(Rows.SEEN),
    "edge_ai:artifact-download": _look(Rows.SEEN),
    "edge_ai:artifact-delete": _send(Rows.OWN),
    "edge_ai:share-list": _form(),
    "edge_ai:share-revoke": _send(Rows.OWN),
    "edge_ai:audit-list": _look(least=Least.ADMIN),
    "edge_ai:audit-export": _look(least=Least.ADMIN),
    "edge_ai:audit-lines": _look(least=Least.ADMIN),
    "edge_ai:webhook-list": _look(Rows.OWN),
    "edge_ai:webhook-create": _form(least=Least.ADMIN),
    "edge_ai:webhook-detail": _look(Rows.OWN),
    "edge_ai:webhook-update": _WEBHOOK_FORM,
    "edge_ai:webhook-switch": _WEBHOOK_SEND,
    "edge_ai:webhook-rotate": _WEBHOOK_SEND,
    "edge_ai:webhook-test": _WEBHOOK_SEND,
    "edge_ai:webhook-redeliver": _WEBHOOK_SEND,
    "edge_ai:webhook-delete": _WEBHOOK_SEND,
    "edge_ai:webhook-delivery-redeliver": _WEBHOOK_SEND,
    # -- the API
    "api:me": _read(),
    "api:usage": _read(),
    "api:model-list": {**_read(), **_write("POST")},
    "api:model-detail": {**_read(Rows.SEEN), **_write("PATCH", "DELETE", rows=Rows.OWN)},
    "api:model-download": _read(Rows.SEEN),
    "api:model-compatibility": _read(Rows.SEEN),
    "api:model-history": _read(Rows.SEEN),
    "api:dataset-list": {**_read(), **_write("POST")},
    "api:dataset-detail": {**_read(Rows.SEEN), **_write("DELETE", rows=Rows.OWN)},
    "api:upload-list": _write("POST"),
    "api:upload-detail": {**_read(Rows.OWN), **_write("PATCH", "DELETE", rows=Rows.OWN)},
    "api:upload-parts": _write("POST", rows=Rows.OWN),
    "api:upload-complete": _write("POST", rows=Rows.OWN),
    "api:device-profile-list": {**_read(), **_write("POST")},
    "api:device-profile-detail": {**_read(Rows.SEEN), **_write("PATCH", "DELETE", rows=Rows.OWN)},
    **_job("job"),
    "api:batch-create": _write("POST"),
    "api:batch-list": _read(),
    "api:batch-detail": _read(Rows.SEEN),
    "api:batch-cancel": _write("POST", rows=Rows.OWN),
    "api:batch-retry": _write("POST", rows=Rows.OWN),
    "api:audit-event-list": {"GET": Rule(least=Least.ADMIN, scope="admin")},
    **_job("benchmark", "samples"),
    **_job("comparison", "samples"),
    **_job("package"),
    **_job("import"),
    **_job("diagnosis"),
    "api:artifact-list": _read(),
    "api:artifact-detail": {**_read(Rows.SEEN), **_write("DELETE", rows=Rows.OWN)},
    "api:artifact-download": _read(Rows.SEEN),
    "api:webhook-list": {**_read(Rows.OWN), **_write("POST", least=Least.ADMIN, scope="admin")},
    "api:webhook-detail": {**_read(Rows.OWN), **_webhook("PATCH", "DELETE")},
    "api:webhook-rotation": _webhook("POST"),
    "api:webhook-test": _webhook("POST"),
    "api:webhook-redelivery": _webhook("POST"),
    "api:webhook-deliveries": _read(Rows.OWN),
    "api:webhook-delivery": _read(Rows.OWN),
    "api:webhook-again": _webhook("POST"),
}
#: Whole namespaces. What staff may do there, their permissions in the admin site say.
PREFIXES: Mapping[str, Rule] = {"admin:": Rule(least=Least.STAFF)}


#: What holds for an address that the table does not know yet; a test fails then.
LOOK = Rule(least=Least.VIEWER, scope="read")
CHANGE = Rule(least=Least.MEMBER, scope="write")


def door_of(name: str, verb: str) -> Rule:
    """Return what a door asks for, before anything is looked up.

    Somebody else's row is not found, whoever one is; so where a person's rows are meant, it is the view that asks for admins
    and owners.
    """
    rule = rule_of(name, verb) or (LOOK if verb in {"GET", "HEAD", "OPTIONS"} else CHANGE)
    if rule.rows in {Rows.NONE, Rows.WORKSPACE} or rule.least not in {Least.ADMIN, Least.OWNER}:
        return rule
    return replace(rule, least=Least.VIEWER if verb in {"GET", "HEAD"} else Least.MEMBER)


def rule_of(name: str, verb: str) -> Rule | None:
    """Return what a verb takes at an address by that name; ``None`` where it is not taken."""
    for prefix, rule in PREFIXES.items():
        if name.startswith(prefix):
            return rule
    verbs = TABLE.get(name, {})
    return verbs.get(verb) or (verbs.get("GET") if verb == "HEAD" else None)


def is_enough(role: str, least: Least) -> bool:
    """Tell whether a member with ``role`` is what is needed at the least."""
    return least not in ROLES or ROLES.index(Least(role)) >= ROLES.index(least)
