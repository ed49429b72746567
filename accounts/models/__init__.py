"""The tables of the shared schema that say who is who."""

from accounts.models.api_key import ApiKey, ApiKeyScope
from accounts.models.user import User
from accounts.models.workspace import Domain, Membership, Role, Workspace

__all__ = ["ApiKey", "ApiKeyScope", "Domain", "Membership", "Role", "User", "Workspace"]
