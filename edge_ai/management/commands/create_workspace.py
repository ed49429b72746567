"""Make a workspace and its owner, for scripts."""

from __future__ import annotations

import json
import os
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import connection, transaction

from accounts.models import ApiKey, ApiKeyScope, User, Workspace
from accounts.signals import AccountAction
from edge_ai.services.audit import note_accounts
from edge_ai.services.workspaces import create_workspace


class Command(BaseCommand):
    """``manage.py create_workspace SLUG --owner EMAIL [--password-env VAR] [--api-key]``."""

    requires_system_checks = ()  # the web processes run them; here they would only cost time
    help = (
        "Make a workspace with its owner and print one JSON object {workspace, user, api_key}. When both exist already, "
        "nothing changes but for a new key, if one is asked for."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="Short name: lower-case letters, digits and dashes.")
        parser.add_argument("--owner", required=True, metavar="EMAIL", help="Who owns it; made when unknown.")
        parser.add_argument("--name", default="", help="What people see; the short name by default.")
        parser.add_argument(
            "--password-env", metavar="VAR", help="Environment variable that holds the password of a new owner."
        )
        parser.add_argument("--api-key", action="store_true", help="Also make an API key and print it, once.")
        parser.add_argument("--staff", action="store_true", help="A new owner may enter the admin pages.")

    def handle(self, *args: Any, **options: Any) -> None:
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
        password = self._password(options["password_env"])
        try:
            validate_email(options["owner"])
            user, workspace = create_workspace(
                slug=options["slug"],
                name=options["name"],
                owner_email=options["owner"],
                password=password,
                staff=options["staff"],
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        answer = {
            "workspace": workspace.slug,
            "user": user.email,
            "api_key": self._key(user, workspace, options["api_key"]),
        }
        self.stdout.write(json.dumps(answer))

    def _password(self, variable: str | None) -> str | None:
        if variable is None:
            return None
        password = os.environ.get(variable, "")
        if not password:
            raise CommandError(f"The environment variable {variable} holds no password.")
        return password

    def _key(self, user: User, workspace: Workspace, wanted: bool) -> str | None:
        if not wanted:
            return None
        with transaction.atomic():
            key, secret = ApiKey.issue(
                user=user, workspace=workspace, name="create_workspace", scopes=[ApiKeyScope.ADMIN.value]
            )
            note_accounts(
                action=AccountAction.API_KEY_CREATED, subject=key, workspace=workspace, after={"scopes": key.scopes}
            )
        return secret
