"""Inviting people to the workspace by mail."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations
from accounts.access import MemberRequest, in_workspace, may_write
from accounts.members import manageable
from accounts.models import Invitation
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.web.forms import add_domain_error
from edge_ai.web.member_forms import InvitationForm
from edge_ai.web.pages import UNPROCESSABLE, page, see_other


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_create(request: MemberRequest) -> HttpResponse:
    """Invite an address."""
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    form = InvitationForm(request.POST or None, roles=manageable(request.membership.role))
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            email = form.cleaned_data["email"]
            try:
                told = invitations.invite(
                    request.membership, email=email, role=form.cleaned_data["role"], link=_links(request)
                )
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                return _sent(request, email, told=told)
    return page(
        request, "edge_ai/invitation_form.html", {"form": form, "days": settings.INVITATION_DAYS}, status=status
    )


@in_workspace
@may_write
@require_POST
def invitation_resend(request: MemberRequest, invitation_id: UUID) -> HttpResponse:
    """Send an invitation again, with a new link."""
    found = _invitation(request, invitation_id)
    try:
        told = invitations.send_again(request.membership, invitation_id=found.pk, link=_links(request))
    except EngineError as error:
        return _refused(request, error)
    return _sent(request, found.email, told=told)


@in_workspace
@may_write
@require_POST
def invitation_revoke(request: MemberRequest, invitation_id: UUID) -> HttpResponse:
    """Withdraw an invitation."""
    found = _invitation(request, invitation_id)
    try:
        invitations.revoke(request.membership, invitation_id=found.pk)
    except EngineError as error:
        return _refused(request, error)
    messages.success(request, f"The invitation of {found.email} is revoked.")
    return see_other("edge_ai:member-list")


def _links(request: HttpRequest) -> invitations.Link:
    def link(token: str) -> str:
        path = reverse("accounts:invitation", args=[token])
        return f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else request.build_absolute_uri(path)

    return link


def _sent(request: MemberRequest, email: str, *, told: bool) -> HttpResponse:
    if told:
        messages.success(request, f"{email} is invited; the link is in a mail.")
    else:
        messages.warning(
            request, f"{email} is invited, but the mail could not be sent. Tell the operator, then send it again."
        )
    return see_other("edge_ai:member-list")


def _refused(request: MemberRequest, error: EngineError) -> HttpResponse:
    messages.error(request, f"{error.message} {error.fix}")
    return see_other("edge_ai:member-list")


def _invitation(request: MemberRequest, invitation_id: UUID) -> Invitation:
    return get_object_or_404(Invitation.objects.visible_to(request.membership).open(), pk=invitation_id)


def _admins_only() -> UserInputError:
    return UserInputError(
        "People are invited by the admins and owners of the workspace.",
        code="permission_denied",
        fix="Ask an admin of the workspace.",
    )
