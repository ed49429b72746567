"""A file from elsewhere: real servers, well behaved or not, and every way into this machine's own network."""

from __future__ import annotations

import hashlib
import io
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest

from edge_ai.engine.errors import EngineError
from edge_ai.outbound.addresses import SendError, parse
from edge_ai.outbound.fetching import Fetched, Limits, StatusError, fetch
from tests.receiver import answering, dripping, receiver, silent

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)


def get(url: str, sink: io.BytesIO | None = None, told: list[Any] | None = None, **limits: Any) -> Fetched:
    """Fetch from this machine."""
    given: dict[str, Any] = {"size_bytes": 1_000_000, "seconds": 5.0, "networks": LOOPBACK}
    reports: list[Any] = [] if told is None else told
    return fetch(url, sink or io.BytesIO(), limits=Limits(**(given | limits)), told=lambda *now: reports.append(now))


def refusal(url: str, **limits: Any) -> str:
    """Return the code that a fetch is refused with."""
    with pytest.raises((SendError, EngineError)) as refused:
        get(url, **limits)
    return str(refused.value.code)  # type: ignore[attr-defined]  # both have one


def leading(*places: str) -> Callable[[Any], None]:
    """Lead from one place to the next; at the last is the file."""

    def behave(handler: Any) -> None:
        step = int(handler.path.rpartition("/")[2] or 0) if handler.path.rpartition("/")[2].isdigit() else 0
        if step < len(places):
            answering(302, b"", Location=places[step])(handler)
        else:
            answering(200, b"file")(handler)

    return behave


def test_a_file_arrives_with_its_hash_its_name_and_the_bytes_on_the_way() -> None:
    content = bytes(range(256)) * 3000
    with receiver(answering(200, content, Content_Disposition='attachment; filename="net.onnx"')) as there:
        sink, told = io.BytesIO(), list[Any]()
        fetched = get(f"http://127.0.0.1:{there.port}/a/b%20c.onnx?token=s", sink, told)
        there.behave = answering(200, content)
        unnamed = get(f"http://127.0.0.1:{there.port}/a/b%20c.onnx?token=s")
    assert sink.getvalue() == content
    assert fetched == Fetched(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), file_name="net.onnx")
    assert unnamed.file_name == "b c.onnx"
    assert told[0] == (0, len(content)) and told[-1] == (len(content), len(content))
    sent = there.received[0]
    assert (sent.path, sent.headers["accept-encoding"]) == ("/a/b%20c.onnx?token=s", "identity")


def test_what_is_shown_of_an_address_has_no_query() -> None:
    assert parse("https://Example.com:443/a/b?X-Amz-Signature=secret").shown == "https://example.com/a/b"


def test_redirects_are_followed_and_each_is_checked_anew() -> None:
    with receiver() as there, receiver(host="127.0.0.2") as inner:
        base = f"http://127.0.0.1:{there.port}"
        there.behave = leading("/1", f"{base}/2", "3")
        assert get(f"{base}/0").size_bytes == 4
        there.behave = leading("/1", "/2", "/3", "/4")
        assert refusal(f"{base}/0") == "too_many_redirects"
        for bad in (
            inner.url,
            "http://169.254.169.254/latest/meta-data/",
            "http://user:word@example.com/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
        ):
            there.behave = leading(bad)
            assert refusal(f"{base}/0") == "address_refused", bad
    assert not inner.received


def test_names_that_mean_this_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.2", "10.1.2.3", "169.254.169.254", "::1", "fd00::1"):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, found=found, **kwargs: found)
        assert refusal("http://innocent.example/net.onnx") == "address_refused"


def test_a_file_is_bounded_whether_its_size_is_told_or_not() -> None:
    with receiver(answering(200, b"x" * 5000)) as there:
        url = f"http://127.0.0.1:{there.port}/"
        assert refusal(url, size_bytes=4999) == "file_too_large"
        assert get(url, size_bytes=5000).size_bytes == 5000

        def untold(handler: Any) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5000)
            handler.close_connection = True

        there.behave = untold
        assert refusal(url, size_bytes=4999) == "file_too_large"
        assert get(url).size_bytes == 5000


def test_whatever_goes_wrong_has_a_code_and_an_end() -> None:
    with receiver() as there:
        url = f"http://127.0.0.1:{there.port}/"
        there.behave = answering(403, b"no")
        with pytest.raises(StatusError) as refused:
            get(url)
        assert refused.value.status == 403
        there.behave = answering(206, b"part")
        assert refusal(url) == "http_status"
        there.behave = answering(302, b"")
        assert refusal(url) == "bad_answer"

        def cut(handler: Any) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxxx")
            handler.close_connection = True

        there.behave = cut
        assert refusal(url) == "bad_answer"
        there.behave = silent(2)
        assert refusal(url, patience_s=0.2) == "timed_out"
        there.behave = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", seconds=3)
        assert refusal(url, seconds=0.5) == "timed_out"
    assert refusal(url) == "connection_failed"


def test_what_is_told_may_end_it() -> None:
    class Enough(Exception):  # noqa: N818 - not an error
        pass

    def told(come: int, total: int | None) -> None:
        raise Enough

    with receiver(answering(200, b"x" * 5000)) as there, pytest.raises(Enough):
        limits = Limits(size_bytes=10_000, seconds=5, networks=LOOPBACK)
        fetch(f"http://127.0.0.1:{there.port}/", io.BytesIO(), limits=limits, told=told)
