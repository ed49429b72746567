"""Webhooks: where they go, what came of each, and sending again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.models import TEST_EVENT, DeliveryStatus, WebhookDelivery, WebhookEndpoint, WebhookEvent
from edge_ai.services import webhooks as service
from edge_ai.web.forms import add_domain_error
from edge_ai.web.listing import listing
from edge_ai.web.lists import DELIVERIES, WEBHOOKS
from edge_ai.web.pages import UNPROCESSABLE, comes_back, list_page, page, see_other
from edge_ai.web.webhook_forms import RedeliverForm, WebhookForm

EVENTS = [*WebhookEvent.choices, (TEST_EVENT, "A test")]


@in_workspace
@comes_back(WEBHOOKS.address)
@require_safe
def webhook_list(request: MemberRequest) -> HttpResponse:
    """One's own webhooks."""
    found = listing(request, WebhookEndpoint.objects.visible_to(request.user), WEBHOOKS)
    return list_page(request, "edge_ai/webhook_list.html", found, {})


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def webhook_create(request: MemberRequest) -> HttpResponse:
    """Register an address. The answer shows the secret: it can be shown this once only, so there is no redirect to it."""
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    form = WebhookForm(request.POST or None, initial={"events": WebhookEvent.values})
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                endpoint, secret = service.create_endpoint(request.user, **form.cleaned_data)
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                return _detail(request, endpoint, secret=secret)
    return page(request, "edge_ai/webhook_form.html", {"form": form}, status=status)


@in_workspace
@require_safe
def webhook_detail(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """A webhook with the log of what was sent to it."""
    return _detail(request, _endpoint(request, webhook_id))


def _detail(request: MemberRequest, endpoint: WebhookEndpoint, *, secret: str = "") -> HttpResponse:
    deliveries = WebhookDelivery.objects.visible_to(request.user).filter(endpoint_id=endpoint.pk)
    found = listing(
        request,
        deliveries.select_related("message").prefetch_related("attempts"),
        DELIVERIES,
        path=reverse("edge_ai:webhook-detail", args=[endpoint.pk]),
    )
    overlap_ends = endpoint.previous_secret_expires_at
    context: dict[str, Any] = {
        "endpoint": endpoint,
        "secret": secret,
        "manages": request.membership.may_administer,
        "listing": found,
        "redeliver": RedeliverForm(),
        "overlap_ends": overlap_ends if overlap_ends and overlap_ends > timezone.now() else None,
    }
    return page(request, "edge_ai/webhook_detail.html", context)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def webhook_update(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """Change address, events and description."""
    endpoint = _endpoint(request, webhook_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    known = {"url": endpoint.url, "events": endpoint.events, "description": endpoint.description}
    form = WebhookForm(request.POST or None, initial=known)
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                service.update_endpoint(request.user, endpoint=endpoint, fields=form.cleaned_data)
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                messages.success(request, "The webhook is changed.")
                return see_other("edge_ai:webhook-detail", endpoint.pk)
    return page(request, "edge_ai/webhook_form.html", {"form": form, "endpoint": endpoint}, status=status)


@in_workspace
@may_write
@require_POST
def webhook_switch(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """Switch on or off."""
    endpoint = _endpoint(request, webhook_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    on = request.POST.get("enabled") == "yes"
    service.update_endpoint(request.user, endpoint=endpoint, fields={"enabled": on})
    messages.success(request, f"The webhook is switched {'on' if on else 'off'}.")
    return see_other("edge_ai:webhook-detail", endpoint.pk)


@in_workspace
@may_write
@require_POST
def webhook_rotate(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """Give it a new secret, which the answer shows this once."""
    endpoint = _endpoint(request, webhook_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    overlap = timedelta(0) if request.POST.get("overlap") == "none" else service.OVERLAP
    return _detail(request, endpoint, secret=service.rotate_secret(request.user, endpoint=endpoint, overlap=overlap))


@in_workspace
@may_write
@require_POST
def webhook_test(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """Send a test, wait for what comes of it, and say so."""
    endpoint = _endpoint(request, webhook_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    sent = service.send_test(request.user, endpoint=endpoint)
    sent.refresh_from_db()
    if sent.status == DeliveryStatus.DELIVERED:
        messages.success(request, f"The test arrived: {sent.http_status} after {sent.latency_ms or 0:.0f} ms.")
    else:
        messages.error(request, f"The test did not arrive. {sent.error or 'It waits behind another delivery.'}")
    return see_other("edge_ai:webhook-detail", endpoint.pk)


@in_workspace
@may_write
@require_POST
def webhook_redeliver(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """Send again what it missed within some time."""
    endpoint = _endpoint(request, webhook_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    form = RedeliverForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose since when, and what is sent again.")
        return see_other("edge_ai:webhook-detail", endpoint.pk)
    try:
        count = service.redeliver_many(
            request.user,
            endpoint=endpoint,
            since=timezone.now() - timedelta(hours=form.cleaned_data["hours"]),
            status=form.cleaned_data["status"],
        )
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, f"{count} deliver{'y is' if count == 1 else 'ies are'} sent again.")
    return see_other("edge_ai:webhook-detail", endpoint.pk)


@in_workspace
@may_write
@require_POST
def webhook_delivery_redeliver(request: MemberRequest, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    """Send one delivery again."""
    endpoint = _endpoint(request, webhook_id)
    mine = WebhookDelivery.objects.visible_to(request.user).filter(endpoint_id=endpoint.pk)
    delivery = get_object_or_404(mine.select_related("endpoint"), pk=delivery_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    try:
        service.redeliver(request.user, delivery=delivery)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, f"“{delivery.event_type}” is sent again.")
    return see_other("edge_ai:webhook-detail", endpoint.pk)


@in_workspace
@may_write
@require_POST
def webhook_delete(request: MemberRequest, webhook_id: UUID) -> HttpResponse:
    """Remove a webhook; the page that posts here has asked."""
    endpoint = _endpoint(request, webhook_id)
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    service.delete_endpoint(request.user, endpoint=endpoint)
    messages.success(request, f"The webhook {endpoint.url} is deleted.")
    return see_other("edge_ai:webhook-list")


def _endpoint(request: MemberRequest, webhook_id: UUID) -> WebhookEndpoint:
    return get_object_or_404(WebhookEndpoint.objects.visible_to(request.user), pk=webhook_id)


def _admins_only() -> UserInputError:
    return UserInputError(
        "Webhooks send the workspace's news elsewhere, which takes an admin or owner.",
        code="permission_denied",
        fix="Ask an admin of the workspace.",
    )
