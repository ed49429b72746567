"""Where webhooks may go, and that nothing holds a sender up: real sockets, hostile names, receivers that misbehave."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.test import override_settings
from standardwebhooks import Webhook, WebhookVerificationError

from edge_ai.engine.errors import UserInputError
from edge_ai.outbound.addresses import SendError, check, is_public, parse, resolve
from edge_ai.webhooks import signing, vault
from edge_ai.webhooks.schedule import LONGEST_WAIT, WAITS, retry_after, wait_after
from edge_ai.webhooks.sender import MAX_ANSWER_BYTES, Answer, send
from tests.receiver import answering, dripping, receiver, silent

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def post(url: str, **options: Any) -> Answer:
    """Send something to a receiver on this machine."""
    given: dict[str, Any] = {"body": b"{}", "headers": {"X-Test": "1"}, "seconds": 5.0, "networks": LOOPBACK}
    return send(url, **(given | options))


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Answer each look-up with the next list of addresses; returns the names that were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


# -- which addresses ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1"),  # noqa: S104 - not bound
        *("127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1"),
        *("192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808"),
        *("64:ff9b:1::a00:1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1"),
        *("2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1"),
        *("fec0::1", "ff02::1", "ff0e::1", "4000::1"),
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(UserInputError) as refused:
        check(f"http://{host}/")
    assert refused.value.code == "address_refused"
    with pytest.raises(SendError, match="is not, or not only, a public address"):
        send(f"http://{host}/", body=b"", headers={}, seconds=2)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111"]
)
def test_what_is_public_is_not(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    check(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize(
    "url",
    [
        # Other spellings of 127.0.0.1, which resolvers understand.
        *("http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/"),
        *("http://127.0.0.01/", "http://0x7f.0.0.1./", "http://1/", "http://0/", "http://127.0.0.1./"),
        *("http://１２７.０.０.１/", "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://[::ffff:7f00:1]/"),
        *("http://[::1%25lo]/", "http://[fe80::1%eth0]/", "http://[::1/", "http://::1/"),
        # Not what it seems to be.
        *("http://example.com@127.0.0.1/", "http://user:word@example.com/", "http://@example.com/"),
        *("http://example.com\\@127.0.0.1/", "http://example.com:80@127.0.0.1:80/", "http:///nowhere", "http://"),
        *("ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/", "example.com", ""),
        *(
            "https://example.com/#part",
            "https://exa mple.com/",
            "https://example.com/\r\nX: 1",
            "https://example.com/\x00",
        ),
        *("http://example.com:22/", "http://example.com:8080/", "http://example.com:0/", "http://example.com:99999/"),
        *("http://localhost/", "http://LOCALHOST./", "http://db.localhost/", "http://a..b/", "http://-a.example/"),
        *("http://" + "a" * 64 + ".example/", "https://example.com/" + "a" * 2000, "http://example.com\u2100.example/"),
    ],
)
def test_an_address_that_can_be_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(UserInputError) as refused:
        check(url)
    assert (refused.value.code, refused.value.field) == ("address_refused", "url")


def test_an_address_is_taken_apart_as_it_is_sent() -> None:
    target = parse("HTTPS://Bücher.Example.:443/ä b".replace(" ", "%20") + "?q=ü&r=%41")
    assert (target.host, target.port, target.host_header) == ("xn--bcher-kva.example", 443, "xn--bcher-kva.example")
    assert target.path == "/%C3%A4%20b?q=%C3%BC&r=%41"
    assert parse("http://[2606:4700:0:0::1111]:80/").host_header == "[2606:4700::1111]"
    assert parse("http://example.com:8443/").host_header == "example.com:8443"


def test_a_private_network_can_be_allowed_with_its_ports() -> None:
    network = (ipaddress.ip_network("10.20.0.0/16"),)
    assert check("http://10.20.1.2:9000/x", networks=network).port == 9000
    for url in ("http://10.21.1.2:9000/", "http://10.21.1.2/", "http://8.8.8.8:9000/"):
        with pytest.raises(UserInputError):
            check(url, networks=network)


# -- names -------------------------------------------------------------------------------------------------------------
def test_a_name_with_one_bad_address_is_refused_without_telling_which(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["8.8.8.8", "10.9.8.7"])
    with pytest.raises(SendError) as refused:
        send("https://mixed.example/", body=b"", headers={}, seconds=2)
    assert refused.value.code == "address_refused"
    assert "10.9.8.7" not in str(refused.value)


@pytest.mark.parametrize("answer", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1%2"])
def test_a_name_is_judged_by_what_it_means(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    resolver(monkeypatch, [answer])
    with pytest.raises(SendError) as refused:
        send("http://innocent.example/", body=b"", headers={}, seconds=2)
    assert refused.value.code == "address_refused"


def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first answer is allowed, every later one is not."""
    with receiver() as allowed, receiver(host="127.0.0.2") as inner:
        asked = resolver(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        networks = (ipaddress.ip_network("127.0.0.1/32"),)
        answer = post(f"http://rebind.example:{allowed.port}/x", networks=networks)
    assert answer.ok
    assert asked == ["rebind.example"], "the name is looked up once"
    assert allowed.received[0].headers["host"] == f"rebind.example:{allowed.port}"
    assert not inner.received


def test_the_next_address_is_tried_when_one_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as alive:
        resolver(monkeypatch, ["127.0.0.3", "127.0.0.1"])
        assert post(f"http://two.example:{alive.port}/").ok


def test_a_slow_resolver_does_not_hold_a_worker_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: Any, **kwargs: Any) -> list[Any]:
        time.sleep(2)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(SendError) as late:
        resolve(parse("http://slow.example/"), seconds=0.2)
    assert late.value.code == "timed_out"
    assert time.monotonic() - began < 1.8


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SendError) as failed:
        post("http://nowhere.example/")
    assert failed.value.code == "name_unknown"


# -- receivers ---------------------------------------------------------------------------------------------------------
def test_a_request_arrives_as_it_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiver(answering(202, b"thanks", X_Said="hello")) as there:
        answer = post(there.url + "/in?a=b", body=b'{"a":1}', headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body, answer.headers["x-said"], answer.ok) == (202, b"thanks", "hello", True)
    (request,) = there.received
    assert (request.path, request.body) == ("/hook/in?a=b", b'{"a":1}')
    assert request.headers["host"] == f"127.0.0.1:{there.port}"
    assert request.headers["connection"] == "close"
    assert "accept-encoding" not in request.headers


def test_ipv6_works_where_it_is_allowed() -> None:
    with receiver(host="::1") as there:
        assert post(there.url).ok


def test_a_redirect_is_not_followed() -> None:
    with receiver() as inner, receiver(answering(302, Location=inner.url)) as there:
        answer = post(there.url)
    assert (answer.status, answer.ok) == (302, False)
    assert not inner.received


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (silent(3), "timed_out"),
        (dripping(b"HTTP/1.1 200 OK\r\nX-A: ", seconds=3), "timed_out"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", seconds=3), "timed_out"),
        (dripping(b"", seconds=3), "timed_out"),
        (lambda handler: handler.wfile.write(b"hello, this is not HTTP\r\n\r\n"), "bad_answer"),
        (lambda handler: handler.connection.close(), "bad_answer"),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 2000), "bad_answer"),
    ],
    ids=["silent", "dripping head", "dripping body", "dripping line", "no http", "hangs up", "many headers"],
)
def test_a_receiver_that_misbehaves_costs_no_more_than_the_deadline(behave: Callable[[Any], None], code: str) -> None:
    with receiver(behave) as there:
        began = time.monotonic()
        with pytest.raises(SendError) as failed:
            post(there.url, seconds=0.5)
        took = time.monotonic() - began
    assert failed.value.code == code
    assert took < 2, "the deadline is for everything together"


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    with pytest.raises(SendError) as failed:
        post(url)
    assert failed.value.code == "connection_failed"


def test_of_a_huge_answer_only_the_beginning_is_read() -> None:
    with receiver(answering(200, b"a" * 5_000_000)) as there:
        answer = post(there.url)
    assert answer.ok
    assert len(answer.body) == MAX_ANSWER_BYTES


# -- TLS ---------------------------------------------------------------------------------------------------------------
def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for a name; returns a server's context with it, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = folder / f"{name}.pem"
    public.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public)
    client = ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())
    return server, client


def test_the_certificate_is_the_names_though_the_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, client = certificate(tmp_path, "hooks.example")
    asked_for: list[str | None] = []
    server.sni_callback = lambda connection, name, context: asked_for.append(name)
    with receiver(tls=server) as there:
        resolver(monkeypatch, ["127.0.0.1"])
        assert post(f"https://hooks.example.:{there.port}/", tls=client).ok
        assert asked_for == ["hooks.example"]
        with pytest.raises(SendError, match="certificate") as wrong_name:
            post(f"https://other.example:{there.port}/", tls=client)
        with pytest.raises(SendError, match="certificate") as unknown_authority:
            post(f"https://hooks.example:{there.port}/")
    assert wrong_name.value.code == unknown_authority.value.code == "tls_failed"
    assert len(there.received) == 1, "nothing is sent to whom nobody vouches for"


def test_no_tls_where_https_is_said() -> None:
    with receiver() as there, pytest.raises(SendError) as failed:
        post(there.url.replace("http:", "https:"), seconds=2)
    assert failed.value.code in {"tls_failed", "timed_out"}


# -- signatures --------------------------------------------------------------------------------------------------------
def test_an_independent_library_accepts_the_signature() -> None:
    key, other = signing.new_secret(), signing.new_secret()
    body = json.dumps({"type": "model.ready", "data": {"name": "Maß"}}, ensure_ascii=False).encode()
    headers = signing.headers("msg_1", int(time.time()), body, keys=[key, other])
    assert Webhook(key).verify(body, headers) == Webhook(other).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body, headers | {"webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body, signing.headers("msg_1", int(time.time()) - 3600, body, keys=[key]))


def test_the_specifications_own_example() -> None:
    body = b'{"test": 2432232314}'
    signed = signing.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, key="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_long_random_and_recognisable() -> None:
    first, second = signing.new_secret(), signing.new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32


def test_secrets_are_encrypted_and_survive_a_change_of_the_key() -> None:
    with override_settings(SECRET_KEY="old key", SECRET_KEY_FALLBACKS=[]):
        closed = vault.close("whsec_abc")
        assert "whsec" not in closed
        assert closed != vault.close("whsec_abc"), "equal secrets do not look equal"
        assert vault.open_(closed) == "whsec_abc"
    with override_settings(SECRET_KEY="new key", SECRET_KEY_FALLBACKS=["other", "old key"]):
        assert vault.open_(closed) == "whsec_abc"
    with override_settings(SECRET_KEY="new key", SECRET_KEY_FALLBACKS=[]), pytest.raises(vault.SecretLostError):
        vault.open_(closed)


# -- the schedule ------------------------------------------------------------------------------------------------------
def test_the_schedule_takes_about_three_days_and_ends() -> None:
    waits = [wait_after(attempts) for attempts in range(1, 10)]
    for wait, nominal in zip(waits, WAITS[1:], strict=True):
        assert wait is not None
        assert 0.9 * nominal <= wait <= 1.1 * nominal
    assert wait_after(10) is None
    assert len({wait_after(3) for _ in range(10)}) > 1, "what failed together is not tried again together"


def test_a_receiver_may_ask_for_patience_within_bounds() -> None:
    now = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
    minute = datetime.timedelta(minutes=1)
    assert retry_after("60", now=now) == minute
    assert retry_after("Sun, 01 Mar 2026 12:01:00 GMT", now=now) == minute
    assert retry_after("99999999999999", now=now) == LONGEST_WAIT
    assert retry_after("Sun, 01 Mar 2099 12:01:00 GMT", now=now) == LONGEST_WAIT
    for nothing in (None, "", "soon", "-5", "1.5", "Sun, 01 Mar 2020 12:01:00 GMT", "²"):
        assert retry_after(nothing, now=now) is None
    assert wait_after(1, asked=minute) == minute
    assert (wait_after(9, asked=minute) or minute) > datetime.timedelta(hours=20), "it does not make a wait shorter"
