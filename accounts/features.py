"""Which features are on. Asked of a process's own memory, which is as old as ``STUDIO_MEMORY_SECONDS`` at most."""

from __future__ import annotations

from django.conf import settings
from django.db import connection

from accounts.models import Flag
from config.features import WORDS, Feature
from edge_ai.engine.errors import UserInputError


def is_on(feature: Feature, schema_name: str = "") -> bool:
    """Tell whether a feature is on in a workspace, by its schema; the current one where none is named."""
    schema_name = schema_name or str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    for flag in Flag.get_all():
        if flag.name == feature:
            decided: bool | None = flag.decides(schema_name)
            if decided is not None:
                return decided
    return feature not in settings.FEATURES_OFF


def require(feature: Feature | None) -> None:
    """Refuse what needs a feature that is off in the current workspace.

    Raises
    ------
    UserInputError
        ``feature_off``.
    """
    if feature is not None and not is_on(feature):
        raise UserInputError(
            f"{WORDS[feature]} is switched off here.",
            code="feature_off",
            fix="What is there can be looked at, downloaded and deleted as before. Ask the operator of the studio.",
            details={"feature": feature.value},
        )


def new_accounts() -> bool:
    """Tell whether anybody at all can make an account, be it by an invitation."""
    return settings.SIGN_UP != "off" and is_on(Feature.SIGN_UP, "public")


def anybody_signs_up() -> bool:
    """Tell whether whoever comes can make an account."""
    return settings.SIGN_UP == "open" and new_accounts()
