"""Where a browser goes to see every page: each address of the URL table that answers with one, and its many faces.

An address whose parameters are known here is visited as soon as it is in the URL table. Whatever is left out is named, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse

from config.addresses import Address, addresses
from config.permissions import rule_of
from edge_ai.web import documentation
from tests.browser.work import Work
from tests.web.support import LEADS_ELSEWHERE, PLAIN_TEXT

#: Answers for programs, and for the graph's frame.
FOR_PROGRAMS = {
    *("robots", "manifest", "sitemap", "health", "stored-file", "graph-model", "graph-viewer", "graph-asset"),
    *(f"edge_ai:{name}" for name in PLAIN_TEXT),
    *("mfa_login_webauthn", "mfa_download_recovery_codes", "admin:jsi18n", "admin:autocomplete"),
    "api:schema",
}
#: Redirects, some of them only for somebody without a second factor or with a password.
ELSEWHERE = {
    "openid_connect_callback",  # from a provider, where one is set
    *(f"edge_ai:{name}" for name in LEADS_ELSEWHERE),
    *("mfa_index", "mfa_list_webauthn", "account_set_password", "account_confirm_reauthentication_code"),
    *("admin:login", "admin:logout", "admin:password_change", "admin:password_change_done", "admin:view_on_site"),
}
#: Pages of people with a second factor: test_signing_in.py holds them to the same.
SECOND_FACTOR = {
    *("mfa_authenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn", "mfa_deactivate_totp"),
    *("mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_remove_webauthn", "mfa_edit_webauthn"),
}
#: For people who have not signed in, and lead others to the overview.
FOR_STRANGERS = {
    *("edge_ai:landing", "edge_ai:sample", "accounts:login", "account_login", "account_signup", "account_inactive"),
    *("account_reset_password", "account_reset_password_done", "account_reset_password_from_key"),
    *("account_reset_password_from_key_done", "account_confirm_email", "account_email_verification_sent"),
    *("shared-comparison", "accounts:invitation"),
}
#: How many pages of the documentation are looked at with axe: the others have the same elements.
THOROUGHLY = 3
#: Other faces of the same addresses.
FACES = (
    "/models/?search=nothing-has-this-name",
    "/search/?q=Shown",
    "/search/?q=nothing-has-this-name",
    *(f"/models/{{work.model}}/?tab={tab}" for tab in ("graph", "operators", "layers", "variants", "benchmarks")),
    *(f"/models/{{work.model}}/?tab={tab}" for tab in ("history", "files")),
    "/models/{work.model}/?tab=layers&search=nothing-has-this-name",
    "/models/{work.variant}/",
    "/models/{work.broken_model}/",
    "/models/{work.model}/compatibility/?category=microcontroller",
    "/models/{work.model}/compatibility/?target_format=tflite",
    "/models/{work.model}/optimize/?target_format=openvino&precision=int4",
    "/models/{work.variant}/benchmark/",
    "/devices/?view=table",
    "/devices/{work.device}/",
    "/devices/add/?like={work.device}",
    "/devices/compare/?device={work.device}&device={places.own_device}",
    "/optimize/?model={work.model}&model={work.variant}&precision=fp16&precision=fp32",
    "/jobs/{work.cancelled_optimization}/",
    "/jobs/{work.bundle}/",
    "/benchmarks/{work.compared_benchmark}/",
    "/benchmarks/{work.estimate}/",
    "/comparisons/new/?model={work.model}&model={work.variant}",
    "/compare/?run={work.benchmark}&run={work.compared_benchmark}",
    "/settings/audit/?object=nothing-has-this-name",
    "/settings/webhooks/{work.webhook}/?status=pending&event=model.failed",
    "/docs/search/?q=latency",
    "/accounts/confirm/?next=/settings/account/",
)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """An address, and who goes there."""

    path: str
    signed_in: bool
    #: Like another page in all but its text.
    alike: bool = False


@dataclass(frozen=True, kw_only=True)
class Places:
    """What the addresses take, beside what has been worked."""

    work: Work
    own_device: str
    member: str
    share_token: str
    invitation_token: str
    reset: dict[str, str]

    def taken_by(self, address: Address) -> dict[str, str]:
        """The parameters of an address. One that is not known here raises: give it a place."""
        work = self.work
        of_link = {"shared-comparison": self.share_token, "accounts:invitation": self.invitation_token}
        known = {
            "model_id": work.model,
            "job_id": work.optimization,
            "run_id": work.benchmark,
            "comparison_id": work.comparison,
            "dataset_id": work.dataset,
            "device_id": self.own_device,
            "artifact_id": work.artifact,
            "webhook_id": work.webhook,
            "diagnosis_id": work.diagnosis,
            "member_id": self.member,
            "batch_id": work.batch,
            "token": of_link.get(address.name, ""),
            "key": "altered",
        }
        if address.name == "account_reset_password_from_key":
            known |= self.reset
        return {name: known[name] for name in address.pattern.pattern.regex.groupindex}


def pages() -> list[Address]:
    """Every address that answers with a page, by the URL table and the table of permissions; the admin site's apart."""
    left_out = FOR_PROGRAMS | ELSEWHERE | SECOND_FACTOR
    return [
        each
        for each in addresses()
        if rule_of(each.name, "GET")
        and not each.name.startswith("admin:")
        and (not each.name.startswith("api:") or each.name == "api:docs")
        and each.name not in left_out
    ]


def visits(places: Places) -> Iterator[Visit]:
    """Every page with every face of it."""
    for address in pages():
        if address.name == "docs:page":
            paths = [reverse(address.name, args=[name]) for name in documentation.pages()]
        else:
            paths = [reverse(address.name, kwargs=places.taken_by(address))]
        for place, path in enumerate(paths):
            yield Visit(path=path, signed_in=address.name not in FOR_STRANGERS, alike=place >= THOROUGHLY)
    for face in FACES:
        yield Visit(path=face.format(work=places.work, places=places), signed_in=True)
