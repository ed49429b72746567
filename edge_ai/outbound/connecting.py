"""One connection to an address that was checked, with an end to everything.

Not an ordinary HTTP client, because each of their conveniences is a hole here: they look names up again after they were
checked, follow redirects, use proxies from the environment, and count their time limit anew with each byte that arrives.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from edge_ai.outbound.addresses import Address, Network, SendError, Target, resolve

#: Of one address, so that a dead one leaves time for the next.
CONNECT_SECONDS = 5.0


class Deadline:
    """A moment at which everything is over.

    Parameters
    ----------
    patience
        Seconds that a single wait may take at most; unset: all that are left.
    """

    def __init__(self, seconds: float, *, patience: float | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._patience = patience

    @property
    def is_over(self) -> bool:
        """Tell whether no time is left."""
        return time.monotonic() >= self._end

    @property
    def told(self) -> str:
        """What to say where time ran out."""
        if self._patience is not None and not self.is_over:
            return f"Nothing came for {self._patience:g} s."
        return f"No complete answer came within {self._seconds:g} s."

    def left(self) -> float:
        """Seconds that may be waited now.

        Raises
        ------
        TimeoutError
            When none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if self._patience is None else min(left, self._patience)


class _Reader(io.RawIOBase):
    """Reads a socket with less and less patience: a drop now and then does not make the deadline later."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._connected = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(self._deadline.left())
        return self._connected.recv_into(buffer)


class _Socket:
    """What :mod:`http.client` needs of a socket."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
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


@contextlib.contextmanager
def connected(
    target: Target, deadline: Deadline, *, networks: Sequence[Network], tls: ssl.SSLContext | None = None
) -> Iterator[http.client.HTTPConnection]:
    """Look a host up once, check every address, and talk to one of those; the name is not looked up again.

    Parameters
    ----------
    tls
        How certificates are verified; unset: by the machine's authorities.

    Raises
    ------
    SendError
        ``address_refused``, ``name_unknown``, and with what is done inside ``connection_failed``, ``tls_failed``,
        ``timed_out``, ``bad_answer``.
    """
    try:
        addresses = resolve(target, networks=networks, seconds=deadline.left())
        with _connect(target, addresses, deadline) as plain, _secure(target, plain, deadline, tls) as open_:
            yield _Connection(target, _Socket(open_, deadline))
    except TimeoutError:
        raise SendError("timed_out", deadline.told) from None
    except ssl.SSLCertVerificationError as error:
        raise SendError("tls_failed", f"The certificate is not valid: {error.verify_message}.") from None
    except ssl.SSLError as error:
        raise SendError("tls_failed", f"No encrypted connection came about ({error.reason or 'TLS'}).") from None
    except http.client.HTTPException as error:
        raise SendError("bad_answer", f"The answer is no proper HTTP ({type(error).__name__}).") from None
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise SendError("connection_failed", f"The connection failed: {said}.") from None


def _connect(target: Target, addresses: Sequence[Address], deadline: Deadline) -> socket.socket:
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


def _secure(target: Target, plain: socket.socket, deadline: Deadline, tls: ssl.SSLContext | None) -> socket.socket:
    if target.scheme == "http":
        return plain
    context = tls or ssl.create_default_context()
    plain.settimeout(deadline.left())
    # Certificate and SNI are of the name, whatever address it has.
    return context.wrap_socket(plain, server_hostname=target.host)
