"""What happens to accounts, told to whoever keeps a record of it."""

from __future__ import annotations

from django.db import models
from django.dispatch import Signal


class AccountAction(models.TextChoices):
    """What can happen to people and keys; the label says it in words."""

    API_KEY_CREATED = "api_key.created", "An API key was made"
    API_KEY_REVOKED = "api_key.revoked", "An API key was revoked"
    MEMBER_INVITED = "invitation.created", "Somebody was invited"
    INVITATION_RESENT = "invitation.resent", "An invitation was sent again, by a new link"
    INVITATION_REVOKED = "invitation.revoked", "An invitation was revoked"
    MEMBER_JOINED = "member.joined", "Somebody accepted an invitation"
    MEMBER_ROLE_CHANGED = "member.role_changed", "A member was given another role"
    MEMBER_REMOVED = "member.removed", "A membership ended, by the member or by an admin"
    WORKSPACE_CHANGED = "workspace.changed", "A workspace was renamed, or its plan or limits changed"
    SIGNED_IN = "user.signed_in", "Somebody signed in"


#: Sent in the transaction of a change to something of a workspace, with ``action`` (of a closed set such as
#: :class:`AccountAction`), ``subject`` (the row), ``workspace``, and where they apply ``before`` and ``after`` (the fields
#: that change). The sender is the row's class. Who did it is known from :func:`accounts.actor.current_actor`.
state_changed = Signal()
