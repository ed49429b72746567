"""The tables of the shared schema that say who is who."""

from accounts.models.api_key import ApiKey, ApiKeyScope
from accounts.models.flag import Flag
from accounts.models.invitation import Invitation
from accounts.models.plan import LIMITS, Plan
from accounts.models.user import User
from accounts.models.workspace import Domain, Membership, Role, Workspace, enterable

__all__ = [
    "LIMITS",
    "ApiKey",
    "ApiKeyScope",
    "Domain",
    "Flag",
    "Invitation",
    "Membership",
    "Plan",
    "Role",
    "User",
    "Workspace",
    "enterable",
]
