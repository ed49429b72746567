"""Fetching the file of an import into the attempt's folder: from a link, or from the operator's bucket."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from edge_ai.engine.errors import EngineError, ResourceError, UserInputError
from edge_ai.engine.sniff import sniff_model
from edge_ai.models import ImportJob, ImportSource, UploadPurpose
from edge_ai.outbound.addresses import FIX, SendError
from edge_ai.outbound.fetching import Fetched, Hashed, Limits, StatusError, fetch, too_large
from edge_ai.services import quotas
from edge_ai.services.imports import s3_prefix, url_of
from edge_ai.services.standings import standing
from edge_ai.services.uploads import clean_file_name

FILE_NAME = "import.part"
#: Of the progress; the rest is for looking at what came.
FETCHED_PERCENT = 95
_PIECE = 1 << 18
#: What may pass by itself: the server is busy, or the network was away.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class StoppedError(Exception):
    """The job is not ours any more, or was cancelled."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an import is."""

    stage: str
    percent: int
    message: str


def import_file(job: ImportJob, folder: Path, *, told: Callable[[Progress], None]) -> dict[str, Any]:
    """Fetch the file, and return an answer as an engine's: a result, and the file with what it is.

    Its bytes are claimed from the workspace's quota as soon as they are known, and once more when all are here.

    Raises
    ------
    EngineError
        ``address_refused``, ``fetch_failed``, ``file_too_large``, ``checksum_mismatch``, ``model_unreadable``,
        ``model_unsafe``, ``quota_exceeded``, ``storage_full``, ``import_s3_off``.
    StoppedError
        What ``told`` raises.
    """
    path = folder / FILE_NAME
    limit = standing().largest(UploadPurpose.MODEL)
    began = time.monotonic()

    def come(received: int, total: int | None) -> None:
        if received == 0 and total is not None:
            quotas.claim_import(job, size_bytes=total, sha256=job.sha256)
            _require_room(folder, total)
        if time.monotonic() - began > settings.IMPORT_SECONDS:
            raise _failed(f"The file did not arrive within {settings.IMPORT_SECONDS} s.", {"reason": "timed_out"})
        told(_progress(received, total))

    told(Progress(stage="fetch", percent=0, message="Asking for the file."))
    with path.open("wb") as sink:
        if job.source == ImportSource.S3:
            fetched = _from_bucket(job, sink, limit_bytes=limit, told=come)
        else:
            fetched = _from_link(job, sink, limit_bytes=limit, told=come)
    told(Progress(stage="check", percent=FETCHED_PERCENT, message=f"{_megabytes(fetched.size_bytes)} have arrived."))
    if fetched.size_bytes == 0:
        raise _failed("The file is empty.", {"reason": "empty"})
    if job.sha256 and fetched.sha256 != job.sha256:
        raise UserInputError(
            f"The file has the SHA-256 {fetched.sha256}, not the one that was expected.",
            code="checksum_mismatch",
            fix="Compare the checksum with its source: the file may be another version, or not the one that was meant.",
            details={"expected": job.sha256, "found": fetched.sha256},
        )
    quotas.claim_import(job, size_bytes=fetched.size_bytes, sha256=fetched.sha256)
    sniffed = sniff_model(path)
    result = {"size_bytes": fetched.size_bytes, "sha256": fetched.sha256, "format": sniffed.format.value}
    file = {
        "role": "import",
        "path": FILE_NAME,
        "name": clean_file_name(fetched.file_name),
        "format": sniffed.format.value,
    }
    return {"result": result, "files": [file]}


def _from_link(
    job: ImportJob, sink: IO[bytes], *, limit_bytes: int, told: Callable[[int, int | None], None]
) -> Fetched:
    limits = Limits(size_bytes=limit_bytes, seconds=settings.IMPORT_SECONDS, networks=settings.IMPORT_ALLOW_NETWORKS)
    try:
        return fetch(url_of(job), sink, limits=limits, told=told)
    except SendError as error:
        if error.code == "address_refused":
            raise UserInputError(str(error), code="address_refused", fix=FIX) from None
        if isinstance(error, StatusError):
            raise _failed(str(error), {"http_status": error.status}, retryable=error.status in _PASSING) from None
        raise _failed(str(error), {"reason": error.code}, retryable=error.code != "too_many_redirects") from None


def _from_bucket(
    job: ImportJob, sink: IO[bytes], *, limit_bytes: int, told: Callable[[int, int | None], None]
) -> Fetched:
    if not settings.IMPORT_S3_BUCKET:
        raise UserInputError(
            "The operator has taken the bucket away since.", code="import_s3_off", fix="Import by a link, or upload it."
        )
    key = s3_prefix() + job.address
    with _reaching_bucket(key):
        answer = _client().get_object(Bucket=settings.IMPORT_S3_BUCKET, Key=key)
        body, total = answer["Body"], int(answer["ContentLength"])
        if total > limit_bytes:
            body.close()
            raise too_large(total, limit_bytes)
        told(0, total)
        hashed = Hashed(sink, limit_bytes)
        while piece := body.read(_PIECE):
            hashed.write(piece)
            told(hashed.size_bytes, total)
    return Fetched(sha256=hashed.sha256, size_bytes=hashed.size_bytes, file_name=job.address.rpartition("/")[2])


def _client() -> Any:
    import boto3  # type: ignore[import-untyped]  # takes most of a second, and most workers never need it

    from config.s3 import bounded_patience

    return boto3.client(
        "s3",
        endpoint_url=settings.IMPORT_S3_ENDPOINT_URL or None,
        region_name=settings.IMPORT_S3_REGION or None,
        aws_access_key_id=settings.IMPORT_S3_ACCESS_KEY_ID or None,
        aws_secret_access_key=settings.IMPORT_S3_SECRET_ACCESS_KEY or None,
        config=bounded_patience(),
    )


@contextmanager
def _reaching_bucket(key: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        yield
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"The bucket has no {key}" if status == 404 else f"The bucket refuses {key}"
        if status in _PASSING:
            said = "The bucket does not answer as it should"
        raise _failed(f"{said} (HTTP {status}).", {"http_status": status}, retryable=status in _PASSING) from None
    except (BotoCoreError, OSError) as error:
        raise _failed(
            f"The bucket could not be read ({type(error).__name__}).", {"reason": "connection_failed"}, retryable=True
        ) from None


def _failed(message: str, details: dict[str, Any], *, retryable: bool = False) -> EngineError:
    return UserInputError(
        message,
        code="fetch_failed",
        fix="See whether the address works, and is not over, and import again.",
        details=details,
        retryable=retryable,
    )


def _progress(received: int, total: int | None) -> Progress:
    if total is None:
        return Progress(stage="fetch", percent=0, message=f"{_megabytes(received)} have arrived.")
    percent = FETCHED_PERCENT * received // total if total else 0
    return Progress(
        stage="fetch", percent=percent, message=f"{_megabytes(received)} of {_megabytes(total)} have arrived."
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def _require_room(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed + settings.DISK_RESERVE_BYTES:
        raise ResourceError(
            f"There is no room for {_megabytes(needed)}.", code="storage_full", fix="Tell the operator.", retryable=True
        )
