"""Where requests may go that people ask for. The decision is about the address that is connected to, never about a name.

Whoever registers a webhook or imports from a link makes this machine send a request. Without these rules that would be a way
to reach what only this machine can reach: other services of its network, the cloud's metadata, itself.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from edge_ai.engine.errors import UserInputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_URL = 2000
PORTS = {"http": 80, "https": 443}
FIX = "Give an address that the internet reaches, by https:// or http://."
# Not from Python's `is_private` and `is_global`, whose answers differ between versions and leave some of these out.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host on this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared address space of carriers; some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, reachable from every machine there
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Of IPv6 only what is handed out as global unicast is public. That leaves out ::, ::1, addresses that hold an IPv4 one
# (::ffff:0:0/96, ::/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique local, link-local, site-local and multicast.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # documentation
    )
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class SendError(Exception):
    """Why no answer came: a stable code and a sentence for whoever gave the address."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Target:
    """An address taken apart. ``host`` is what is resolved and what a certificate must be for."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def literal(self) -> Address | None:
        """The host as an IP address, when it is one."""
        return _as_literal(self.host)

    @property
    def shown(self) -> str:
        """The address without its query, which may be a secret: what is kept in logs and shown to people."""
        return f"{self.scheme}://{self.host_header}{self.path.partition('?')[0]}"

    @property
    def host_header(self) -> str:
        """The host as HTTP names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def is_allowed(address: Address, port: int, *, networks: Iterable[Network] = ()) -> bool:
    """Tell whether a request may go to an address and port; ``networks`` are open whatever they are."""
    if any(address in network for network in networks if network.version == address.version):
        return True
    return port in PORTS.values() and is_public(address)


def parse(url: str) -> Target:
    """Take an address apart.

    Raises
    ------
    UserInputError
        ``address_refused`` for one that is never called: another scheme, a user name, an odd spelling of a number.
    """
    if len(url) > MAX_URL or any(letter <= " " or letter == "\x7f" for letter in url) or "\\" in url:
        raise _refuse(f"The address has blanks, control characters or backslashes, or more than {MAX_URL} characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
        name = parts.hostname or ""
    except ValueError:
        raise _refuse("The address cannot be read.") from None
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise _refuse("The address must begin with https:// or http://.")
    if "@" in parts.netloc:
        raise _refuse("The address holds a user name or password, which would stand in logs.")
    if parts.fragment:
        raise _refuse("The address has a part after #, which is never sent.")
    host = _host(name)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Target(scheme=scheme, host=host, port=PORTS[scheme] if port is None else port, path=path)


def check(url: str, *, networks: Sequence[Network] = ()) -> Target:
    """Refuse an address that can be seen to be none to call. Names are looked at when something is sent.

    Raises
    ------
    UserInputError
        ``address_refused``.
    """
    target = parse(url)
    literal = target.literal
    if literal is not None and not is_allowed(literal, target.port, networks=networks):
        raise _refuse(f"{literal} port {target.port} is not public, or not one of the ports 80 and 443.")
    if literal is None and target.port not in PORTS.values() and not networks:
        raise _refuse("Only the ports 80 and 443 are called.")
    if literal is None and not networks and (target.host == "localhost" or target.host.endswith(".localhost")):
        raise _refuse(f"“{target.host}” is this machine itself.")
    return target


def resolve(target: Target, *, networks: Sequence[Network] = (), seconds: float) -> list[Address]:
    """Look a host's addresses up, once, and return them when every one of them is allowed.

    Raises
    ------
    SendError
        ``name_unknown``, ``address_refused``, ``timed_out``.
    """
    literal = target.literal
    found = [literal] if literal is not None else _look_up(target.host, seconds)
    if not all(is_allowed(address, target.port, networks=networks) for address in found):
        # Without the address: what names mean inside this network is not told to the outside.
        raise SendError("address_refused", f"“{target.host}” is not, or not only, a public address on port 80 or 443.")
    return found


def _look_up(host: str, seconds: float) -> list[Address]:
    """Ask the resolver, in a thread that is left behind when it takes too long: nothing else can interrupt it."""
    answers: list[str] = []
    failures: list[OSError] = []

    def ask() -> None:
        try:
            answers.extend(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=ask, name="outbound-dns", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if thread.is_alive():
        raise SendError("timed_out", f"The name “{host}” could not be looked up in time.")
    if failures or not answers:
        raise SendError("name_unknown", f"The name “{host}” has no address.")
    # A scope, as in fe80::1%eth0, makes an address no less link-local.
    return [ipaddress.ip_address(text.partition("%")[0]) for text in dict.fromkeys(answers)]


def _host(name: str) -> str:
    """Return a host as it is looked up: lower case, international names in their ASCII form, without the final dot."""
    if not name or "%" in name:
        raise _refuse("The address names no host.")
    if ":" in name:
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            raise _refuse("The address holds no valid IPv6 address.") from None
    try:
        ascii_name = name.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise _refuse("The host's name is not valid.") from None
    labels = ascii_name.split(".")
    if len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refuse("The host's name is not valid.")
    # 127.1, 0x7f000001, 2130706433 and 0177.0.0.1 are all spellings of 127.0.0.1 to a resolver.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(ascii_name))
        except ValueError:
            raise _refuse("Write an IPv4 address as four decimal numbers without leading zeros.") from None
    return ascii_name


def _as_literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refuse(reason: str) -> UserInputError:
    return UserInputError(reason, code="address_refused", fix=FIX, field="url")
