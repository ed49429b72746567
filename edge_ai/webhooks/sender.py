"""One POST, with an end to everything: time, bytes, and where it may go.

Not an ordinary HTTP client, because each of their conveniences is a hole here: they look names up again after they were
checked, follow redirects, use proxies from the environment, and count their time limit anew with each byte that arrives.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_ai.webhooks.addresses import Address, Network, SendError, Target, parse, resolve

MAX_ANSWER_BYTES = 64 * 1024
#: Of one address, so that a dead one leaves time for the next.
CONNECT_SECONDS = 5.0
_PIECE = 8192


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the receiver said. Of the body at most 64 KB are read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Only 2xx is a success; a redirect is not followed, and so is a failure."""
        return 200 <= self.status < 300


class _Deadline:
    """A moment at which everything is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left.

        Raises
        ------
        TimeoutError
            When none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Reader(io.RawIOBase):
    """Reads a socket with less and less patience: a drop now and then does not make the deadline later."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._connected = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(self._deadline.left())
        return self._connected.recv_into(buffer)


class _Socket:
    """What :mod:`http.client` needs of a socket."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._connected = connected
        self._deadline = deadline

    def sendall(self, data: Any) -> None:
        self._connected.settimeout(self._deadline.left())
        self._connected.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._connected, self._deadline))

    def close(self) -> None:
        """Leave it to whoever connected: the answer is still to be read when ``http.client`` says this."""


class _Connection(http.client.HTTPConnection):
    """Talks over the connection that it is given, and never makes one of its own."""

    def __init__(self, target: Target, connected: _Socket) -> None:
        super().__init__(target.host, target.port)
        self.sock = connected  # as much of a socket as is used
        self.auto_open = 0


def send(
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    seconds: float,
    networks: Sequence[Network] = (),
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Post ``body`` to ``url``.

    Parameters
    ----------
    seconds
        For everything together: looking the name up, connecting, sending, and reading the whole answer.
    networks
        Private networks that are allowed, on any port.
    tls
        How certificates are verified; unset: by the machine's authorities.

    Raises
    ------
    SendError
        ``address_refused``, ``name_unknown``, ``connection_failed``, ``tls_failed``, ``timed_out``, ``bad_answer``.
    UserInputError
        ``address_refused``, when the address itself is none for webhooks.
    """
    target = parse(url)
    deadline = _Deadline(seconds)
    try:
        addresses = resolve(target, networks=networks, seconds=deadline.left())
        with _connect(target, addresses, deadline) as plain, _secure(target, plain, deadline, tls) as connected:
            return _exchange(target, connected, deadline, body, headers)
    except TimeoutError:
        raise SendError("timed_out", f"No complete answer came within {seconds:g} s.") from None
    except ssl.SSLCertVerificationError as error:
        raise SendError("tls_failed", f"The certificate is not valid: {error.verify_message}.") from None
    except ssl.SSLError as error:
        raise SendError("tls_failed", f"No encrypted connection came about ({error.reason or 'TLS'}).") from None
    except http.client.HTTPException as error:
        raise SendError("bad_answer", f"The answer is no proper HTTP ({type(error).__name__}).") from None
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise SendError("connection_failed", f"The connection failed: {said}.") from None


def _connect(target: Target, addresses: Sequence[Address], deadline: _Deadline) -> socket.socket:
    """Connect to the first of the checked addresses that answers. The name is not looked up again."""
    for place, address in enumerate(addresses):
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(min(CONNECT_SECONDS, deadline.left()))
            connected.connect((str(address), target.port))
        except OSError:
            connected.close()
            if place == len(addresses) - 1:
                raise
        else:
            return connected
    raise SendError("name_unknown", f"“{target.host}” has no address.")


def _secure(target: Target, plain: socket.socket, deadline: _Deadline, tls: ssl.SSLContext | None) -> socket.socket:
    if target.scheme == "http":
        return plain
    context = tls or ssl.create_default_context()
    plain.settimeout(deadline.left())
    # Certificate and SNI are of the name, whatever address it has.
    return context.wrap_socket(plain, server_hostname=target.host)


def _exchange(
    target: Target, connected: socket.socket, deadline: _Deadline, body: bytes, headers: Mapping[str, str]
) -> Answer:
    connection = _Connection(target, _Socket(connected, deadline))
    connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
    sent = {"Host": target.host_header, "Content-Length": str(len(body)), "Connection": "close", **headers}
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    return Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=_read(response),
    )


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read the body up to the limit; what lies beyond is left unread, and the connection closed."""
    pieces: list[bytes] = []
    room = MAX_ANSWER_BYTES
    while room > 0:
        piece = response.read1(min(_PIECE, room))
        if not piece:
            break
        pieces.append(piece)
        room -= len(piece)
    return b"".join(pieces)
