"""The two sides of :mod:`benchmarks.uploads`, each in a process of its own: prints one JSON object with its seconds.

``bare`` writes and hashes; ``bare-s3`` sends by boto3 and hashes; ``client`` is the Python client; ``plain`` sends everything
in one request of tus, as curl would.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 20
PART_BYTES = 16 << 20


def bare(source: Path, target: Path) -> dict[str, Any]:
    """Write and hash, and wait for the disk."""
    digest = hashlib.sha256()
    began = time.perf_counter()
    with source.open("rb") as stream, target.open("wb") as sink:
        while chunk := stream.read(CHUNK_BYTES):
            sink.write(chunk)
            digest.update(chunk)
        sink.flush()
        os.fsync(sink.fileno())
    return {"seconds": time.perf_counter() - began, "sha256": digest.hexdigest()}


def bare_s3(source: Path, target: Path) -> dict[str, Any]:
    """Send by boto3's managed upload, four parts at a time, and hash."""
    import boto3  # type: ignore[import-untyped]
    from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT_URL"],
        region_name=os.environ["S3_REGION"],
        aws_access_key_id=os.environ["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["S3_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
    )
    parts = TransferConfig(multipart_chunksize=PART_BYTES, max_concurrency=4)
    began = time.perf_counter()
    client.upload_file(str(source), os.environ["S3_BUCKET"], f"bare/{target.name}", Config=parts)
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    seconds = time.perf_counter() - began
    client.delete_object(Bucket=os.environ["S3_BUCKET"], Key=f"bare/{target.name}")
    return {"seconds": seconds, "sha256": digest.hexdigest()}


def client(source: Path, target: Path) -> dict[str, Any]:
    """Send by the Python client, which verifies the whole file's checksum."""
    from edge_ai_studio import Studio
    from edge_ai_studio._sync.uploads import upload_file

    with Studio() as studio:
        began = time.perf_counter()
        upload = upload_file(studio.transport, source, purpose="model")
        return {"seconds": time.perf_counter() - began, "upload": upload}


def plain(source: Path, target: Path) -> dict[str, Any]:
    """Send everything in one request of tus, without a checksum of its own."""
    where = urlsplit(os.environ["EDGEAI_URL"])
    headers = {"Authorization": f"Bearer {os.environ['EDGEAI_API_KEY']}", "Tus-Resumable": "1.0.0"}
    size = source.stat().st_size
    began = time.perf_counter()
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=600, blocksize=CHUNK_BYTES)
    connection.request("POST", "/api/edge/v1/uploads/", headers=headers | {"Upload-Length": str(size)})
    answer = connection.getresponse()
    upload = json.loads(answer.read())["id"]
    octets = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream", "Content-Length": str(size)}
    with source.open("rb") as stream:
        connection.request("PATCH", f"/api/edge/v1/uploads/{upload}/", body=stream, headers=headers | octets)
        answer = connection.getresponse()
        answer.read()
    if answer.status != 204:
        raise SystemExit(f"The studio answered {answer.status}.")
    return {"seconds": time.perf_counter() - began, "upload": upload}


SIDES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "bare": bare,
    "bare-s3": bare_s3,
    "client": client,
    "plain": plain,
}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
