"""One GET into a file, bounded in bytes and time. Each redirect is an address of its own, and checked like the first."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import IO
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from edge_ai.engine.errors import ResourceError, UserInputError
from edge_ai.outbound.addresses import Network, SendError, Target, parse
from edge_ai.outbound.connecting import Deadline, connected

MAX_REDIRECTS = 3
#: A silence as long as this ends it.
PATIENCE_SECONDS = 30.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE = 1 << 18
_HEADERS = {
    "User-Agent": "EdgeAIStudio-Import/1",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class StatusError(SendError):
    """The server answered, but not with the file."""

    def __init__(self, status: int) -> None:
        super().__init__("http_status", f"The server answered with HTTP {status} instead of the file.")
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a download may take: bytes, seconds in all, and private networks that are allowed, on any port."""

    size_bytes: int
    seconds: float
    networks: Sequence[Network] = ()
    patience_s: float = PATIENCE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What came: its hash, its length, and what the server, or else the address, calls it."""

    sha256: str
    size_bytes: int
    file_name: str


def fetch(
    url: str,
    sink: IO[bytes],
    *,
    limits: Limits,
    told: Callable[[int, int | None], None],
    tls: ssl.SSLContext | None = None,
) -> Fetched:
    """Write what ``url`` answers into ``sink``.

    Parameters
    ----------
    told
        Called with the bytes that have come and those that are expected, ``None`` where the server does not say: once
        before the first byte, and after each piece. What it raises ends the download.
    tls
        How certificates are verified; unset: by the machine's authorities.

    Raises
    ------
    SendError
        ``address_refused``, ``name_unknown``, ``connection_failed``, ``tls_failed``, ``timed_out``, ``bad_answer``,
        ``too_many_redirects``; as :class:`StatusError` ``http_status``.
    EngineError
        ``address_refused``, when an address itself is none to call; ``file_too_large``; ``storage_full``.
    """
    deadline = Deadline(limits.seconds, patience=limits.patience_s)
    for _ in range(MAX_REDIRECTS + 1):
        target = parse(url)
        with _answer(target, deadline, limits, tls) as response:
            if response.status not in REDIRECTS:
                return _receive(response, target, sink, limits.size_bytes, told)
            url = _next(url, target, response.getheader("Location"))
    raise SendError("too_many_redirects", f"The address leads on more than {MAX_REDIRECTS} times.")


def too_large(size_bytes: int, limit_bytes: int) -> UserInputError:
    """Return the refusal of a file that is larger than is accepted. ``size_bytes``: as far as is known."""
    return UserInputError(
        f"The file has {size_bytes:,} bytes or more; at most {limit_bytes:,} are accepted.",
        code="file_too_large",
        fix="Import a smaller file.",
        details={"limit": "upload_bytes", "allowed": limit_bytes, "asked": size_bytes},
    )


class Hashed:
    """Writes pieces to a file that may not grow beyond a limit, and hashes them on the way."""

    def __init__(self, sink: IO[bytes], limit_bytes: int) -> None:
        self._sink = sink
        self._limit = limit_bytes
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, piece: bytes) -> None:
        """Add a piece.

        Raises
        ------
        EngineError
            ``file_too_large``, ``storage_full``.
        """
        self.size_bytes += len(piece)
        if self.size_bytes > self._limit:
            raise too_large(self.size_bytes, self._limit)
        self._digest.update(piece)
        try:
            self._sink.write(piece)
        except OSError as error:
            raise ResourceError(
                "There is no room for the file.", code="storage_full", fix="Tell the operator.", retryable=True
            ) from error

    @property
    def sha256(self) -> str:
        """The hash of what was written."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def _answer(
    target: Target, deadline: Deadline, limits: Limits, tls: ssl.SSLContext | None
) -> Iterator[http.client.HTTPResponse]:
    with connected(target, deadline, networks=limits.networks, tls=tls) as connection:
        connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": target.host_header, **_HEADERS}.items():
            connection.putheader(name, value)
        connection.endheaders()
        yield connection.getresponse()


def _next(url: str, target: Target, location: str | None) -> str:
    """Return where a redirect leads."""
    if not location:
        raise SendError("bad_answer", "The server leads on to another address without naming it.")
    following = urldefrag(urljoin(url, location.strip())).url
    if target.scheme == "https" and urlsplit(following).scheme.lower() == "http":
        raise SendError(
            "address_refused", "The address leads from https:// on to http://, where anybody may change the file."
        )
    return following


def _receive(
    response: http.client.HTTPResponse,
    target: Target,
    sink: IO[bytes],
    limit_bytes: int,
    told: Callable[[int, int | None], None],
) -> Fetched:
    if response.status != 200:
        raise StatusError(response.status)
    total = response.length
    if total is not None and total > limit_bytes:
        raise too_large(total, limit_bytes)
    told(0, total)
    hashed = Hashed(sink, limit_bytes)
    while piece := response.read1(_PIECE):
        hashed.write(piece)
        told(hashed.size_bytes, total)
    if total is not None and hashed.size_bytes != total:
        raise SendError("bad_answer", f"The connection ended after {hashed.size_bytes:,} of {total:,} bytes.")
    return Fetched(sha256=hashed.sha256, size_bytes=hashed.size_bytes, file_name=_file_name(response, target))


def _file_name(response: http.client.HTTPResponse, target: Target) -> str:
    told = Message()
    told["Content-Disposition"] = response.getheader("Content-Disposition", "").encode("ascii", "replace").decode()
    return told.get_filename() or unquote(target.path.partition("?")[0].rpartition("/")[2])
