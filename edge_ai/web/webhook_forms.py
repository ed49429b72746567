"""Forms of webhooks."""

from __future__ import annotations

from django import forms

from edge_ai.models import DeliveryStatus, WebhookEvent
from edge_ai.outbound.addresses import MAX_URL


class WebhookForm(forms.Form):
    """An address, and what it is told of. Whether the address will do, the service decides."""

    url = forms.CharField(
        label="Address",
        max_length=MAX_URL,
        help_text="Where messages are posted, such as https://example.com/hooks/studio.",
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
    )
    description = forms.CharField(max_length=200, required=False, help_text="What listens there, for your own memory.")
    events = forms.MultipleChoiceField(
        label="Tell it when",
        choices=WebhookEvent.choices,
        error_messages={"required": "Choose at least one."},
    )


class RedeliverForm(forms.Form):
    """What is sent again."""

    status = forms.ChoiceField(
        label="Send again",
        choices=[
            (DeliveryStatus.FAILED.value, "what failed"),
            (DeliveryStatus.DELIVERED.value, "what arrived"),
        ],
    )
    hours = forms.TypedChoiceField(
        label="of the last",
        coerce=int,
        choices=[(1, "hour"), (24, "day"), (24 * 7, "week"), (24 * 30, "30 days")],
        initial=24,
    )
