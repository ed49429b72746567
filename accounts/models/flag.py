"""Feature flags: which parts of the studio are on, for everybody and for single workspaces."""

from __future__ import annotations

from typing import Any

from django.db import models
from waffle.models import AbstractUserFlag

from accounts.models.workspace import Workspace


class Flag(AbstractUserFlag):
    """A feature's switch. What is not decided here, the environment decides (``STUDIO_FEATURES_OFF``).

    Of the fields that waffle's flags have, ``everyone`` and ``note`` count; a feature is on for workspaces, not for people.
    """

    on_in = models.ManyToManyField(
        Workspace, blank=True, related_name="+", help_text="On in these workspaces, even where it is off elsewhere."
    )
    off_in = models.ManyToManyField(
        Workspace, blank=True, related_name="+", help_text="Off in these workspaces, whatever else is said."
    )
    #: The schemas of both, kept with the flag in the cache.
    on_schemas: frozenset[str] = frozenset()
    off_schemas: frozenset[str] = frozenset()

    class Meta:
        verbose_name = "feature"
        verbose_name_plural = "features"

    @classmethod
    def get_all_from_db(cls) -> list[Any]:
        """Return all flags with their workspaces. Three queries, at most once in ``STUDIO_MEMORY_SECONDS``."""
        found = list(cls._base_manager.prefetch_related("on_in", "off_in"))
        for flag in found:
            flag.on_schemas = frozenset(each.schema_name for each in flag.on_in.all())
            flag.off_schemas = frozenset(each.schema_name for each in flag.off_in.all())
            # Only the names go into the cache.
            flag.__dict__.pop("_prefetched_objects_cache", None)
        return found

    def decides(self, schema_name: str) -> bool | None:
        """Return whether the feature is on in a workspace; ``None`` where nothing is said."""
        if schema_name in self.off_schemas:
            return False
        if schema_name in self.on_schemas:
            return True
        decided: bool | None = self.everyone
        return decided
