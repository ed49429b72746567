"""A receiver of webhooks: a real HTTP server on the loopback interface, well behaved or not."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(kw_only=True)
class Receiver:
    """Where it listens, what it got, and how it answers; ``behave`` may be changed at any time."""

    url: str
    port: int
    behave: Callable[[Any], None]
    received: list[Received] = field(default_factory=list)
    #: How many requests are being answered just now, and at most were at once.
    open_now: int = 0
    open_at_most: int = 0

    def await_count(self, count: int, *, seconds: float = 30) -> None:
        """Wait until so many requests came."""
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} requests came"
            time.sleep(0.02)


def answering(status: int, body: bytes = b"ok", **headers: str) -> Callable[[Any], None]:
    """Answer at once with a status."""

    def behave(handler: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def silent(seconds: float) -> Callable[[Any], None]:
    """Take the request and say nothing for a while."""

    def behave(handler: Any) -> None:
        time.sleep(seconds)
        answering(200)(handler)

    return behave


def dripping(first: bytes, *, seconds: float, pause: float = 0.05) -> Callable[[Any], None]:
    """Begin to answer, and then send a byte now and then."""

    def behave(handler: Any) -> None:
        handler.wfile.write(first)
        end = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(pause)

    return behave


@contextlib.contextmanager
def receiver(
    behave: Callable[[Any], None] | None = None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """Run one until the block ends."""
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                found.received.append(Received(path=self.path, headers=headers, body=body, at=time.monotonic()))
                found.open_now += 1
                found.open_at_most = max(found.open_at_most, found.open_now)
            try:
                found.behave(self)
            finally:
                with lock:
                    found.open_now -= 1

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def handle_error(self, *args: Any) -> None:
            """A client that hangs up is what some tests are about."""

    server = Server((host, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    port = int(server.server_address[1])
    shown = f"[{host}]" if ":" in host else host
    found = Receiver(
        url=f"{'https' if tls else 'http'}://{shown}:{port}/hook", port=port, behave=behave or answering(200)
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
