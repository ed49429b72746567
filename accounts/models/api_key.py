"""Keys for scripts: shown once, stored as a hash, recognisable when leaked."""

from __future__ import annotations

import functools
import hashlib
import hmac
import itertools
import re
import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import connection, models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models.user import User
from accounts.models.workspace import Membership, Workspace, enterable

MEMBERSHIP: Final = "user__memberships__"
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
        key = _Finder.made().find(match[1])
        if key is None or not hmac.compare_digest(key.secret_sha256, _digest(match[2])):
            return None
        return key


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


class _Finder:
    """Looks keys up at every request by a statement that is made once; that takes Django longer than to run it."""

    PLACE = "where the prefix goes"

    def __init__(self) -> None:
        #: What each part of a row is made of, and how it is reached from the key.
        self._parts: list[tuple[type[models.Model], list[str]]] = []
        names: list[str] = []
        for table, way in ((ApiKey, ""), (User, "user__"), (Workspace, "workspace__"), (Membership, MEMBERSHIP)):
            fields = [field.attname for field in table._meta.concrete_fields]
            self._parts.append((table, fields))
            names += [way + name for name in fields]
        keys = ApiKeyQuerySet(ApiKey).usable().filter(prefix=self.PLACE).order_by()
        compiler = keys.values_list(*names).query.get_compiler(connection=connection)
        self._statement, values = compiler.as_sql()
        self._values = list(values)
        self._converters = compiler.get_converters([column for column, _, _ in compiler.select])
        self._compiler = compiler

    @staticmethod
    @functools.cache
    def made() -> _Finder:
        """Return the one of this process."""
        return _Finder()

    def find(self, prefix: str) -> ApiKey | None:
        """Return the usable key with a prefix, its person, workspace and membership with it. One query."""
        with connection.cursor() as cursor:
            cursor.execute(self._statement, [prefix if value == self.PLACE else value for value in self._values])
            row = cursor.fetchone()
        if row is None:
            return None
        if self._converters:
            (row,) = self._compiler.apply_converters([row], self._converters)
        values = iter(row)
        made: list[Any] = [
            table.from_db(connection.alias, fields, list(itertools.islice(values, len(fields))))
            for table, fields in self._parts
        ]
        key: ApiKey = made[0]
        _, key.user, key.workspace, key.membership = made
        key.membership.user, key.membership.workspace = key.user, key.workspace
        return key


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
