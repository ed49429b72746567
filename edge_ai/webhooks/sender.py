"""One POST, with an end to everything: time, bytes, and where it may go."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_ai.outbound.addresses import Network, parse
from edge_ai.outbound.connecting import Deadline, connected

MAX_ANSWER_BYTES = 64 * 1024
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
    deadline = Deadline(seconds)
    with connected(target, deadline, networks=networks, tls=tls) as connection:
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
