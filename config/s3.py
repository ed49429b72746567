"""S3 with bounded patience: the library's own would hold up workers and pages for minutes."""

from __future__ import annotations

from typing import Any

from botocore.config import Config  # type: ignore[import-untyped]
from django.conf import settings
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage


class StudioS3Storage(S3Storage):  # type: ignore[misc]  # django-storages has no type information
    """django-storages' S3, with time limits from the settings."""

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults of options that the settings do not name."""
        defaults: dict[str, Any] = super().get_default_settings()
        patience = Config(
            connect_timeout=settings.S3_CONNECT_SECONDS,
            read_timeout=settings.S3_READ_SECONDS,
            retries={"max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path"},
            signature_version="s3v4",
        )
        return defaults | {"client_config": patience}

    def download_url(self, name: str, *, file_name: str, mime_type: str, seconds: int) -> str:
        """Return a presigned link to a file, which works for ``seconds`` and says what the file is called."""
        parameters = {
            "ResponseContentDisposition": content_disposition_header(True, file_name),
            "ResponseContentType": mime_type,
        }
        return str(self.url(name, parameters=parameters, expire=seconds))
