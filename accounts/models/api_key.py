"""Keys for scripts: shown once, stored as a hash, recognisable when leaked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models.user import User
from accounts.models.workspace import Membership, Workspace, enterable

_FORM = re.compile(r"eas_([a-z2-7]{8})_([A-Za-z0-9_-]{43})")
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
# Writing the time of the last use on every request would make each read a write.
LAST_USED_RESOLUTION = timedelta(minutes=1)


class ApiKeyScope(models.TextChoices):
    """What a key may be used for."""

    READ = "read", "Read"
    WRITE = "write", "Read and write"
    ADMIN = "admin", "Administer"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Finding keys."""

    def visible_to(self, user: User) -> ApiKeyQuerySet:
        """A person's own keys."""
        return self.filter(user=user)

    def usable(self) -> ApiKeyQuerySet:
        """Neither revoked nor expired, of somebody who may still sign in and still belongs to a workspace that is there."""
        return self.filter(
            enterable(),
            models.Q(expires_at__isnull=True) | models.Q(expires_at__gt=Now()),
            revoked_at__isnull=True,
            user__is_active=True,
            user__memberships__workspace_id=models.F("workspace_id"),
        )

    def find(self, presented: str) -> ApiKey | None:
        """Return the usable key that ``presented`` is, with its membership, or ``None``.

        Runs as the system: nobody is known yet. One query.
        """
        match = _FORM.fullmatch(presented)
        if match is None:
            return None
        key: Any = (
            self.usable()
            .select_related("user", "workspace")
            .annotate(
                membership_id=models.F("user__memberships__id"),
                membership_role=models.F("user__memberships__role"),
                membership_since=models.F("user__memberships__created_at"),
            )
            .filter(prefix=match[1])
            .first()
        )
        if key is None or not hmac.compare_digest(key.secret_sha256, _digest(match[2])):
            return None
        found: ApiKey = key
        found.membership = Membership(
            id=key.membership_id,
            user=key.user,
            workspace=key.workspace,
            role=key.membership_role,
            created_at=key.membership_since,
        )
        found.membership._state.adding = False
        return found


class ApiKey(models.Model):
    """A key of one person in one workspace: ``eas_<8 characters>_<32 random bytes>``."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    secret_sha256 = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=ApiKeyScope.choices))
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: How often it may be used; unset: as often as any.
    rate_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests a minute; empty: the studio's limit.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[models.Manager[ApiKey]] = ApiKeyQuerySet.as_manager()
    #: What its person is in its workspace, of a key that :meth:`ApiKeyQuerySet.find` has found.
    membership: Membership

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scopes__contained_by=ApiKeyScope.values) & ~models.Q(scopes=[]),
                name="accounts_apikey_scopes_known",
            ),
            models.CheckConstraint(
                condition=models.Q(rate_per_minute__isnull=True) | models.Q(rate_per_minute__gt=0),
                name="accounts_apikey_rate_positive",
            ),
        ]
        indexes = [models.Index(fields=["user", "-created_at"], name="accounts_apikey_of_user")]  # settings: my keys

    def __str__(self) -> str:
        return f"{self.name} (eas_{self.prefix}_…)"

    @classmethod
    def issue(
        cls,
        *,
        user: User,
        workspace: Workspace,
        name: str,
        scopes: list[str],
        expires_at: datetime | None = None,
        rate_per_minute: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns the row and the only copy of the secret text."""
        prefix = "".join(secrets.choice(_ID_ALPHABET) for _ in range(8))
        secret = secrets.token_urlsafe(32)
        key = cls.objects.create(
            user=user,
            workspace=workspace,
            name=name,
            prefix=prefix,
            # 32 random bytes cannot be guessed; a slow password hash would only slow every request down.
            secret_sha256=_digest(secret),
            scopes=scopes,
            expires_at=expires_at,
            rate_per_minute=rate_per_minute,
        )
        return key, f"eas_{prefix}_{secret}"

    def allows(self, scope: str) -> bool:
        """Tell whether the key may do what needs ``scope``; each scope includes the lesser ones."""
        order = [ApiKeyScope.READ.value, ApiKeyScope.WRITE.value, ApiKeyScope.ADMIN.value]
        return any(order.index(held) >= order.index(scope) for held in self.scopes)

    @property
    def rate(self) -> int:
        """Requests that it may make in a minute; 0 is without limit."""
        return self.rate_per_minute or settings.API_RATE_PER_MINUTE

    def note_use(self) -> None:
        """Keep the time of the last use, to the minute."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > LAST_USED_RESOLUTION:
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
