"""S3 with bounded patience, since the library's own would hold up workers and pages for minutes; and files in parts."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from django.conf import settings
from django.utils.functional import cached_property
from storages.backends.s3 import S3Storage

from config.disposition import attachment
from config.in_parts import SignedPart, StoredPart, Unfinished

#: The largest file that S3 copies at once; larger ones are copied in parts.
COPIED_AT_ONCE_BYTES = 5 << 30
LOOK_BYTES = 256 << 10
#: How many pieces of 256 KB may have come that are not written yet. The library's hundred grow by as much as the disk is slow.
IO_QUEUE = 16
WHOLE_FILE_SECONDS = 300
_making = threading.RLock()
MISSING = frozenset({"NoSuchUpload", "NoSuchKey", "404"})


def bounded_patience() -> Config:
    """Return how long clients of S3 wait, and how they sign and address."""
    return Config(
        connect_timeout=settings.S3_CONNECT_SECONDS,
        read_timeout=settings.S3_READ_SECONDS,
        retries={"max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path"},
        signature_version="s3v4",
    )


class StudioS3Storage(S3Storage):  # type: ignore[misc]  # django-storages has no type information
    """django-storages' S3, with time limits from the settings. It is a :class:`config.in_parts.TakesParts`, whose methods
    share one client between threads.
    """

    #: Made by the first thread that connects.
    _session: Any = None

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults of options that the settings do not name."""
        defaults: dict[str, Any] = super().get_default_settings()
        return defaults | {
            "client_config": bounded_patience(),
            "transfer_config": TransferConfig(max_io_queue=IO_QUEUE),
        }

    def download_url(self, name: str, *, file_name: str, mime_type: str, seconds: int) -> str:
        """Return a presigned link to a file, which works for ``seconds`` and says what the file is called."""
        parameters = {
            "ResponseContentDisposition": attachment(file_name),
            "ResponseContentType": mime_type,
        }
        return str(self.url(name, parameters=parameters, expire=seconds))

    @property
    def connection(self) -> Any:
        """One for each thread, as the library asks for. They share the description of the service, most of their memory."""
        with _making:
            return super().connection

    def _create_session(self) -> Any:
        if self._session is None:
            self._session = super()._create_session()
        return self._session

    def begin_parts(self, name: str) -> str:
        """Begin a file; returns the id that its parts belong to."""
        asked = self.get_object_parameters(name) | self._of(name) | {"ChecksumAlgorithm": "SHA256"}
        return str(self._client.create_multipart_upload(**asked)["UploadId"])

    def sign_part(
        self, name: str, parts_id: str, number: int, *, size_bytes: int, sha256: bytes, seconds: int
    ) -> SignedPart:
        """Let anybody send one part for some seconds. Its size and its checksum are headers under the signature."""
        checksum = base64.b64encode(sha256).decode()
        asked = self._of(name) | {"UploadId": parts_id, "PartNumber": number}
        url = self._client.generate_presigned_url(
            "upload_part", Params=asked | {"ContentLength": size_bytes, "ChecksumSHA256": checksum}, ExpiresIn=seconds
        )
        return SignedPart(url=url, headers={"x-amz-checksum-sha256": checksum})

    def parts_of(self, name: str, parts_id: str) -> dict[int, StoredPart] | None:
        """Return the parts that have arrived, by number from 1; ``None`` where there is no such id (any more)."""
        pages = self._client.get_paginator("list_parts").paginate(**self._of(name), UploadId=parts_id)
        try:
            return {
                int(part["PartNumber"]): StoredPart(
                    size_bytes=int(part["Size"]), etag=part["ETag"], sha256=part.get("ChecksumSHA256", "")
                )
                for page in pages
                for part in page.get("Parts", ())
            }
        except ClientError as error:
            if _is_missing(error):
                return None
            raise

    def join_parts(self, name: str, parts_id: str, parts: Mapping[int, StoredPart]) -> None:
        """Make the file of its parts."""
        listed = [
            # A service that keeps checksums wants them said again.
            {"PartNumber": number, "ETag": part.etag} | ({"ChecksumSHA256": part.sha256} if part.sha256 else {})
            for number, part in sorted(parts.items())
        ]
        self._patient.complete_multipart_upload(**self._of(name), UploadId=parts_id, MultipartUpload={"Parts": listed})

    def abandon_parts(self, name: str, parts_id: str) -> None:
        """Throw the parts away; nothing happens where there are none."""
        try:
            self._client.abort_multipart_upload(**self._of(name), UploadId=parts_id)
        except ClientError as error:
            if not _is_missing(error):
                raise

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Return what was begun under names that begin so."""
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket_name, Prefix=prefix)
        try:
            for page in pages:
                for each in page.get("Uploads", ()):
                    if each["Key"].startswith(prefix):
                        yield Unfinished(name=each["Key"], parts_id=each["UploadId"], began_at=each["Initiated"])
        except ClientError as error:
            if not _is_missing(error):
                raise

    def files(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Return the files whose names begin so, and when each was last written."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name, Prefix=prefix):
            for each in page.get("Contents", ()):
                yield each["Key"], each["LastModified"]

    def bytes_of(self, name: str) -> int | None:
        """Return the size of a file; ``None`` where there is none."""
        try:
            return int(self._client.head_object(**self._of(name))["ContentLength"])
        except ClientError as error:
            if _is_missing(error):
                return None
            raise

    def chunks_of(self, name: str, chunk_bytes: int) -> Iterator[bytes]:
        """Read a file once, from its beginning to its end."""
        with self._client.get_object(**self._of(name))["Body"] as body:
            while chunk := body.read(chunk_bytes):
                yield chunk

    def look_into(self, name: str) -> IO[bytes]:
        """Open a file to read here and there in it, of which only what is read travels."""
        size = self.bytes_of(name)
        if size is None:
            raise FileNotFoundError(name)
        return io.BufferedReader(_Ranges(self._client, self._of(name), size), LOOK_BYTES)

    def copy_within(self, source: str, target: str) -> None:
        """Copy a file; its bytes stay with the service."""
        at_once = TransferConfig(multipart_threshold=COPIED_AT_ONCE_BYTES, multipart_chunksize=512 << 20)
        as_written = self.get_object_parameters(target)
        self._patient.copy(self._of(source), **self._of(target), ExtraArgs=as_written, Config=at_once)

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        self._client.delete_object(**self._of(name))

    @cached_property
    def _client(self) -> Any:
        return self._make_client(self.client_config)

    @cached_property
    def _patient(self) -> Any:
        """For what the service works on in silence, for as long as a large file takes."""
        return self._make_client(self.client_config.merge(Config(read_timeout=WHOLE_FILE_SECONDS)))

    def _make_client(self, config: Config) -> Any:
        with _making:
            return self._create_session().client(
                "s3",
                region_name=self.region_name,
                use_ssl=self.use_ssl,
                endpoint_url=self.endpoint_url,
                config=config,
                verify=self.verify,
            )

    def _of(self, name: str) -> dict[str, Any]:
        return {"Bucket": self.bucket_name, "Key": name}


class _Ranges(io.RawIOBase):
    """A file at the service; each reading asks for a range of it."""

    def __init__(self, client: Any, where: Mapping[str, Any], size_bytes: int) -> None:
        self._client, self._where, self._size, self._place = client, where, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning of the file")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        end = min(self._place + len(buffer), self._size)
        if end <= self._place:
            return 0
        asked = f"bytes={self._place}-{end - 1}"
        with self._client.get_object(**self._where, Range=asked)["Body"] as body:
            content = body.read()
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in MISSING
