"""Members of the workspace: who they are, what they may do, and letting them go."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import members as rules
from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import Invitation, Membership, Role
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.services import members as service
from edge_ai.web.forms import add_domain_error
from edge_ai.web.listing import listing
from edge_ai.web.lists import MEMBERS
from edge_ai.web.member_forms import MemberForm, RoleForm, in_words
from edge_ai.web.pages import UNPROCESSABLE, comes_back, list_page, page, see_other

#: There are as many as the hourly limit and the time they last allow; the newest matter.
SHOWN_INVITATIONS = 100
#: What each role may do, in words, for the page.
ROLES = (
    (Role.OWNER, "Everything, and says who else is an owner."),
    (Role.ADMIN, "Manages members and webhooks, and does what members do."),
    (Role.MEMBER, "Uploads, optimizes, measures; changes own things."),
    (Role.VIEWER, "Looks at what is shared."),
)


@in_workspace
@comes_back(MEMBERS.address)
@require_safe
def member_list(request: MemberRequest) -> HttpResponse:
    """Who belongs to the workspace."""
    members = Membership.objects.filter(workspace=request.workspace).select_related("user")
    found = listing(request, members, MEMBERS)
    mine = rules.manageable(request.membership.role)
    context = {
        "gives": [(role.value, role.label) for role in mine],
        "manages": {role.value for role in mine},
        "owns": request.membership.role == Role.OWNER,
        "invitations": Invitation.objects.visible_to(request.membership)
        .open()
        .select_related("invited_by")
        .order_by("-created_at")[:SHOWN_INVITATIONS],
        "now": timezone.now(),
        "roles": [(role.label, words) for role, words in ROLES],
    }
    return list_page(request, "edge_ai/member_list.html", found, context)


@in_workspace
@may_write
@require_POST
def member_role(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Give a member another role."""
    member = _member(request, member_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return error_response(request, UserInputError("There is no such role.", code="invalid_request", field="role"))
    try:
        changed = rules.change_role(request.membership, member_id=member.pk, role=form.cleaned_data["role"])
    except EngineError as error:
        return error_response(request, error)
    messages.success(request, f"{in_words(member)} is {changed.get_role_display().lower()} now.")
    return see_other("edge_ai:member-list")


@in_workspace
@require_http_methods(["GET", "HEAD", "POST"])
def member_remove(request: MemberRequest, member_id: UUID) -> HttpResponse:
    """Say what goes with a member and to whom, and remove them. Everybody may leave, also viewers."""
    member = _member(request, member_id)
    leaving = member.pk == request.membership.pk
    if not leaving and not (
        request.membership.may_administer and member.role in rules.manageable(request.membership.role)
    ):
        return error_response(request, _not_yours())
    heirs = service.heirs(request.membership, member=member)
    form = MemberForm(request.POST or None, members=heirs, label="What they own goes to")
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                service.remove_member(request.membership, member=member, heir_id=form.cleaned_data["member"])
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                return _gone(request, member, leaving=leaving)
    context = {"member": member, "leaving": leaving, "form": form, "heirs": heirs}
    context |= {"holdings": service.holdings(member), "most": service.COUNTED}
    return page(request, "edge_ai/member_remove.html", context, status=status)


def _gone(request: MemberRequest, member: Membership, *, leaving: bool) -> HttpResponse:
    if leaving:
        messages.success(request, f"You have left {request.workspace.name}.")
        return see_other("accounts:workspace-list")
    messages.success(request, f"{in_words(member)} does not belong to the workspace any more.")
    return see_other("edge_ai:member-list")


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def ownership_transfer(request: MemberRequest) -> HttpResponse:
    """Hand the workspace over to another member."""
    if request.membership.role != Role.OWNER:
        return error_response(request, _not_yours())
    others = list(
        Membership.objects.filter(workspace=request.workspace)
        .exclude(pk=request.membership.pk)
        .select_related("user")
        .order_by("user__email")
    )
    form = MemberForm(request.POST or None, members=others, label="New owner")
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                owner = rules.transfer_ownership(request.membership, member_id=form.cleaned_data["member"])
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                messages.success(request, f"{in_words(owner)} is owner now, and you are admin.")
                return see_other("edge_ai:member-list")
    return page(request, "edge_ai/ownership_transfer.html", {"form": form, "others": others}, status=status)


def _member(request: MemberRequest, member_id: UUID) -> Membership:
    return get_object_or_404(Membership.objects.select_related("user"), pk=member_id, workspace=request.workspace)


def _not_yours() -> UserInputError:
    return UserInputError(
        "Members are managed by the admins of the workspace, and owners by owners alone.",
        code="permission_denied",
        fix="Ask an owner of the workspace.",
    )
