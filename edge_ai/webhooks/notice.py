"""The mail to the owner of an endpoint that was disabled."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail
from django.urls import reverse

from edge_ai.models import DisabledReason, WebhookEndpoint

log = logging.getLogger(__name__)
WHY = {
    DisabledReason.FAILING: "It has failed for five days without a single success.",
    DisabledReason.GONE: "It answered 410 Gone, which means that it wants no more messages.",
}


def tell_owner(endpoint: WebhookEndpoint, reason: DisabledReason, last_error: str) -> None:
    """Write to the owner. A mail server that is away stops nothing: the page says the same."""
    where = settings.PUBLIC_URL + reverse("edge_ai:webhook-detail", args=[endpoint.pk])
    text = (
        f"The webhook {endpoint.url} was switched off.\n\n{WHY[reason]}\n"
        + (f"The last attempt: {last_error}\n" if last_error else "")
        + f"\nWhen the receiver works again, switch the webhook on and send again what it missed:\n{where}\n"
    )
    try:
        send_mail("A webhook was switched off", text, None, [endpoint.owner.email])
    except (OSError, SMTPException) as error:
        log.warning("The owner of webhook endpoint %s could not be told by mail: %s", endpoint.pk, error)
