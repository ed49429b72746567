"""Google Cloud Storage. Needs the extra ``google``: the library is imported where this backend is chosen, and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.auth import default as default_credentials
from google.auth.credentials import AnonymousCredentials
from google.cloud.exceptions import NotFound
from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2.service_account import Credentials
from storages.backends.gcloud import GoogleCloudStorage

from config.disposition import attachment

#: How long a request is tried again; the library's two minutes would hold up workers and pages.
PATIENCE_SECONDS = 15
# Every call of the library has this very object as its default, and no setting leads to it.
DEFAULT_RETRY._timeout = DEFAULT_RETRY._deadline = PATIENCE_SECONDS
SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)


class StudioGoogleStorage(GoogleCloudStorage):  # type: ignore[misc]  # django-storages has no type information
    """django-storages' Google Cloud, with the key of a service account in a file, and endpoints of other makers.

    Without a key the machine's own identity is used, which must be allowed to sign (``iam.serviceAccounts.signBlob``).
    """

    _client: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.credentials_file:
            self.credentials = Credentials.from_service_account_file(self.credentials_file, scopes=SCOPES)
        self.iam_sign_blob = not self.credentials_file and not self._is_emulator

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults of options that the settings do not name."""
        defaults: dict[str, Any] = super().get_default_settings()
        return defaults | {"credentials_file": None, "endpoint_url": None}

    @property
    def _is_emulator(self) -> bool:
        """Nobody's token is sent in the open: what is not reached by https is taken for an emulator."""
        return str(self.endpoint_url or "").startswith("http://")

    @property
    def client(self) -> Client:
        """The library's client, made when it is first needed."""
        if self._client is None and self.endpoint_url:
            if not self.credentials and not self._is_emulator:
                self.credentials, _ = default_credentials(scopes=SCOPES)
            self._client = Client(
                project=self.project_id,
                credentials=AnonymousCredentials() if self._is_emulator else self.credentials,
                client_options={"api_endpoint": self.endpoint_url},
            )
        return super().client

    def size(self, name: str) -> int:
        """Return a file's size in bytes; raises ``FileNotFoundError``."""
        try:
            return int(super().size(name))
        except NotFound as error:
            raise FileNotFoundError(name) from error

    def download_url(self, name: str, *, file_name: str, mime_type: str, seconds: int) -> str:
        """Return a signed link to a file, which works for ``seconds`` and says what the file is called."""
        parameters = {
            "expiration": timedelta(seconds=seconds),
            "response_disposition": attachment(file_name),
            "response_type": mime_type,
        }
        if self.credentials_file:
            parameters["credentials"] = self.credentials
        return str(self.url(name, parameters=parameters))
