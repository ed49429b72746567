"""Azure Blob Storage. Needs the extra ``azure``: the library is imported where this backend is chosen, and nowhere else."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobPrefix, BlobServiceClient
from storages.backends.azure_storage import AzureStorage

from config.disposition import attachment


class StudioAzureStorage(AzureStorage):  # type: ignore[misc]  # django-storages has no type information
    """django-storages' Azure, with an endpoint of its own, the machine's identity, and folders."""

    token_credential: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.account_key and self.token_credential is None:
            from azure.identity import DefaultAzureCredential

            self.token_credential = DefaultAzureCredential()

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults of options that the settings do not name."""
        defaults: dict[str, Any] = super().get_default_settings()
        return defaults | {"endpoint_url": None}

    def _get_service_client(self) -> BlobServiceClient:
        if not self.endpoint_url:
            return super()._get_service_client()
        key = {"account_name": self.account_name, "account_key": self.account_key}
        return BlobServiceClient(
            self.endpoint_url, credential=key if self.account_key else self.token_credential, **self.client_options
        )

    def _open(self, name: str, mode: str = "rb") -> Any:
        """Open a file; raises ``FileNotFoundError`` now, and not when it is read."""
        if "r" in mode and not self.exists(name):
            raise FileNotFoundError(name)
        return super()._open(name, mode)

    def size(self, name: str) -> int:
        """Return a file's size in bytes; raises ``FileNotFoundError``."""
        try:
            return int(super().size(name))
        except ResourceNotFoundError as error:
            raise FileNotFoundError(name) from error

    def listdir(self, path: str = "") -> tuple[list[str], list[str]]:
        """Return the names of folders and files in a folder; the library's own tells every file beneath it."""
        beginning = f"{self._get_valid_path(path)}/" if path else ""
        folders: list[str] = []
        files: list[str] = []
        for found in self.client.walk_blobs(name_starts_with=beginning, delimiter="/"):
            name = str(found.name)[len(beginning) :]
            if isinstance(found, BlobPrefix):
                folders.append(name.rstrip("/"))
            else:
                files.append(name)
        return folders, files

    def download_url(self, name: str, *, file_name: str, mime_type: str, seconds: int) -> str:
        """Return a link with a shared access signature, which works for ``seconds`` and says what the file is called."""
        parameters = {
            "content_disposition": attachment(file_name),
            "content_type": mime_type,
        }
        return str(self.url(name, expire=seconds, parameters=parameters))
