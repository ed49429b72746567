"""Static files under names that carry their content's hash, so that browsers may keep them for ever."""

from __future__ import annotations

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StudioStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise has no type information
    """Hashed names where the files were collected, and plain ones where they were not, as in tests."""

    manifest_strict = False

    def hashed_name(self, name: str, content: Any = None, filename: str | None = None) -> str:
        """Return the name with its content's hash, or the name itself when there is no such file."""
        try:
            return str(super().hashed_name(name, content, filename))
        except ValueError:
            return name
