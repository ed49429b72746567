"""An OpenID provider for the tests: a real HTTP server with discovery, keys, code flow with PKCE, and signed id tokens."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "the-studio", "a secret between the two"


@dataclass(kw_only=True)
class Provider:
    """Whom it signs in, and what is wrong with it; both may be changed at any time."""

    issuer: str
    person: dict[str, Any]
    #: Claims of the id token that are not as they should be; ``None`` leaves one out.
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: Any = None
    token: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    provider: Provider
    published: Any

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if place.path == "/.well-known/openid-configuration":
            issuer = self.provider.issuer
            told = {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "jwks_uri": f"{issuer}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            }
            self._say(told | self.provider.config)
        elif place.path == "/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.published.public_key()))
            self._say({"keys": [key | {"kid": "first", "alg": "RS256", "use": "sig"}]})
        elif place.path == "/authorize":
            asked = dict(parse_qsl(place.query))
            self.provider.asked.append(asked)
            code = secrets.token_urlsafe(16)
            self.provider.codes[code] = asked
            self.send_response(302)
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        elif place.path == "/userinfo" and self.headers["Authorization"] == "Bearer access":
            self._say(self.provider.person | self.provider.userinfo)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        given = {name: values[0] for name, values in body.items()}
        asked = self.provider.codes.pop(given.get("code", ""), None)
        challenge = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        wrong = {
            "code": asked is None,
            "client": (given.get("client_id"), given.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET),
            "redirect": given.get("redirect_uri") != (asked or {}).get("redirect_uri"),
            "pkce": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != (asked or {}).get("code_challenge"),
        }
        self.provider.refused += [name for name, is_so in wrong.items() if is_so]
        if any(wrong.values()):
            self._say({"error": "invalid_grant"}, status=400)
            return
        self._say({"access_token": "access", "token_type": "Bearer", "id_token": self._id_token(asked or {})})

    def _id_token(self, asked: dict[str, str]) -> str:
        provider, now = self.provider, int(time.time())
        if provider.token is not None:
            return provider.token
        claims = provider.person | {"iss": provider.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        claims |= {"nonce": asked.get("nonce")} | provider.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        key = provider.key or self.published
        if provider.algorithm == "none":
            key = None
        return jwt.encode(claims, key, algorithm=provider.algorithm, headers={"kid": "first"})

    def _say(self, told: Any, *, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def openid_provider(**person: Any) -> Iterator[Provider]:
    """Run one until the block ends."""

    class Handler(_Handler):
        """With a provider of its own."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Provider(issuer=f"http://127.0.0.1:{server.server_address[1]}", person=person)
    Handler.provider = found
    Handler.published = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
