"""Forms of members. What is allowed, the services decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms

from accounts.models import Membership, Role


def in_words(member: Membership) -> str:
    """Say who a member is, by name and address."""
    return f"{member.user.name} ({member.user.email})" if member.user.name else member.user.email


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.TypedChoiceField(choices=Role.choices, coerce=Role)


class MemberForm(forms.Form):
    """A choice among members: who takes over what somebody leaves, or the workspace itself."""

    member = forms.TypedChoiceField(coerce=UUID)

    def __init__(self, *args: Any, members: Iterable[Membership], label: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["member"]
        field.label = label
        field.choices = [(str(member.pk), in_words(member)) for member in members]  # type: ignore[attr-defined]  # a choice


class InvitationForm(forms.Form):
    """Whom to invite, as what."""

    email = forms.EmailField(
        label="Email", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )
    role = forms.TypedChoiceField(coerce=Role, initial=Role.MEMBER)

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]  # a choice
