"""django-tenants' PostgreSQL backend, plus who is acting.

Three session settings travel together in one statement: the search path (which workspace), ``app.user_id`` (who) and the
role (with whose rights). They are sent ahead of the first statement after any of them changed, in the same trip, and again
after a rollback, which reverts them. The identity of a new connection is *nobody*: the role that acts for users, with no user.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import django.db.utils
import psycopg
from django.core.exceptions import ImproperlyConfigured
from django_tenants.postgresql_backend.base import DatabaseWrapper as TenantDatabaseWrapper
from django_tenants.utils import get_limit_set_calls, quote_schema_name
from psycopg.pq import TransactionStatus

USER_ROLE = "studio_app"
SYSTEM_ROLE = "studio_ops"


class Identity(NamedTuple):
    """In whose name statements run: a database role, and the user it acts for ("" is nobody)."""

    role: str
    user_id: str


NOBODY = Identity(USER_ROLE, "")
SYSTEM = Identity(SYSTEM_ROLE, "")


class IdentifiedCursor(psycopg.ClientCursor[Any]):
    """Sends who acts, and where, ahead of a statement, in the same trip, whenever that is not what was sent last."""

    #: Whose identity it is; without one, as where psycopg makes a cursor by itself, nothing is sent ahead.
    wrapper: DatabaseWrapper | None = None

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Run a statement as whoever acts now."""
        ahead = None if self.wrapper is None else self.wrapper.unsent()
        if self.wrapper is None or ahead is None:
            return super().execute(query, params, **options)
        try:
            # Bound on this side, since only without parameters may there be several statements.
            both = f"{self.mogrify(*ahead)}; {self.mogrify(query, params)}"
            super().execute(both, None, **options)
        except BaseException:
            # What failed outside of a transaction took back what was sent ahead of it.
            self.wrapper.forget_sent()
            raise
        self.nextset()
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        """Run a statement many times."""
        self._send_now()
        super().executemany(*arguments, **options)

    def copy(self, *arguments: Any, **options: Any) -> Any:
        """Begin a COPY."""
        self._send_now()
        return super().copy(*arguments, **options)

    def stream(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement and take its rows one by one."""
        self._send_now()
        return super().stream(*arguments, **options)

    def _send_now(self) -> None:
        ahead = None if self.wrapper is None else self.wrapper.unsent()
        if self.wrapper is None or ahead is None:
            return
        try:
            super().execute(*ahead)
        except BaseException:
            self.wrapper.forget_sent()
            raise


class DatabaseWrapper(TenantDatabaseWrapper):  # type: ignore[misc]  # django-tenants has no type information
    """One connection, its workspace and its identity."""

    _checked_roles: ClassVar[set[str]] = set()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.identity = NOBODY
        self.search_path_set_schemas: Any = None
        self._setting_search_path = False
        super().__init__(*args, **kwargs)

    # -- identity -------------------------------------------------------------------------------------------------
    def set_identity(self, identity: Identity) -> None:
        """Take effect with the next statement."""
        if identity != self.identity:
            self.identity = identity
            self.search_path_set_schemas = None

    def set_user(self, user_id: UUID | None) -> None:
        """Act for a user; ``None`` is nobody."""
        self.set_identity(Identity(USER_ROLE, "" if user_id is None else str(user_id)))

    @contextmanager
    def acting(self, identity: Identity) -> Iterator[None]:
        """Act as ``identity`` inside the block, and as before after it."""
        before = self.identity
        self.set_identity(identity)
        try:
            yield
        finally:
            self.set_identity(before)

    def reset_to_public(self) -> None:
        """Forget workspace and identity: what every request and task ends with."""
        self.set_schema_to_public()
        self.set_identity(NOBODY)

    # -- connecting -----------------------------------------------------------------------------------------------
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        embedded: Path | None = self.settings_dict.get("EMBEDDED_DATA_DIR")
        if embedded is not None:
            # Started by whoever needs it first, and again by whoever finds it killed.
            from config.embedded_postgres import EmbeddedPostgresError, ensure

            try:
                ensure(embedded, fast=bool(self.settings_dict.get("EMBEDDED_FAST")))
            except EmbeddedPostgresError as error:
                raise django.db.utils.OperationalError(str(error)) from error
        return super().get_new_connection(conn_params)

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.search_path_set_schemas = None
        user = str(self.settings_dict["USER"])
        if self._acts_for_users() and user not in self._checked_roles:
            row = self.connection.execute(
                "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user"
            ).fetchone()
            if not self.get_autocommit():
                self.connection.commit()
            if row is None or row[0]:
                # Django keeps a connection whose state it failed to set up, and would use it the next time.
                self.close()
                raise ImproperlyConfigured(
                    f"The database role {user!r} is a superuser or bypasses row level security, which would switch off "
                    "the wall between users in silence. Give DATABASE_URL an ordinary role (see docs/operations.md)."
                )
            self._checked_roles.add(user)

    def _acts_for_users(self) -> bool:
        return bool(self.settings_dict.get("ACTS_FOR_USERS", True))

    # -- the one statement ------------------------------------------------------------------------------------------
    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        return params | {"cursor_factory": IdentifiedCursor}

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = super().create_cursor(name)
        if isinstance(cursor, IdentifiedCursor) and self._acts_for_users():
            cursor.wrapper = self
        return cursor

    def unsent(self) -> tuple[str, list[str]] | None:
        """Return the statement that says who acts, and where, and take it as sent; ``None`` where it was already.

        An aborted transaction would refuse it together with the rollback that it is sent ahead of; it is sent after that.
        """
        if self.search_path_set_schemas or self.connection.info.transaction_status is TransactionStatus.INERROR:
            return None
        statement, values, paths = self._settings()
        self.search_path_set_schemas = paths
        return statement, values

    def forget_sent(self) -> None:
        """Take the settings as not sent, as whatever fails or is rolled back leaves them."""
        self.search_path_set_schemas = None

    def _settings(self) -> tuple[str, list[str], Any]:
        if not self.schema_name:
            raise ImproperlyConfigured("No schema is set on this connection.")
        paths = self._get_cursor_search_paths()
        settings = [("search_path", ",".join(quote_schema_name(path) for path in paths))]
        if self._acts_for_users():
            settings += [("app.user_id", self.identity.user_id), ("role", self.identity.role)]
        statement = "SELECT " + ", ".join("set_config(%s, %s, false)" for _ in settings)
        return statement, [item for pair in settings for item in pair], paths

    def _handle_search_path(self, cursor: Any = None) -> None:
        if self._setting_search_path or (get_limit_set_calls() and self.search_path_set_schemas):
            return
        if cursor is not None and getattr(cursor.cursor, "wrapper", None) is self:
            return  # it sends them by itself, as they are when it runs something
        statement, values, paths = self._settings()
        self._setting_search_path = True
        used = self.connection.cursor() if cursor is None else cursor
        try:
            used.execute(statement, values)
        except (django.db.utils.DatabaseError, psycopg.Error):
            # An aborted transaction refuses every statement but its rollback, after which this is sent again.
            self.search_path_set_schemas = None
        else:
            self.search_path_set_schemas = paths
        finally:
            self._setting_search_path = False
            if cursor is None:
                used.close()
