"""A script that uses the studio over HTTP and does not give up while parts of it are dead."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

API = "/api/edge/v1/"
FINAL = frozenset({"completed", "failed", "cancelled"})
RETRY_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the studio said."""

    status: int
    body: Any


@dataclass(frozen=True, kw_only=True)
class Client:
    """One person's way in.

    Parameters
    ----------
    patience_s
        How long an answer is waited for while the connection is refused or broken, or the answer is a server's error.
    """

    base: str
    api_key: str
    patience_s: float = 60

    def ask(self, verb: str, path: str, body: Any = None) -> Answer:
        """Send JSON. What was cut off is sent again, so the studio may have done it twice."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(verb, path, data, "application/json")

    def get(self, path: str) -> Any:
        """Read a resource."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def post(self, path: str, **request: Any) -> dict[str, Any]:
        """Make something."""
        answer = self.ask("POST", path, request)
        assert answer.status == 201, answer
        made: dict[str, Any] = answer.body
        return made

    def upload(self, path: str, file_name: str, content: bytes, **fields: str) -> dict[str, Any]:
        """Send a file as a form."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n',
        )
        body = "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()
        answer = self._send("POST", path, body, f"multipart/form-data; boundary={boundary}")
        assert answer.status == 201, answer
        made: dict[str, Any] = answer.body
        return made

    def wait(self, path: str, *, until: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """Read a row until it is as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            row: dict[str, Any] = self.get(path)
            if until(row):
                return row
            assert time.monotonic() < deadline, f"{path} is still {row['status']} ({row.get('stage')})"
            time.sleep(0.05)

    def _send(self, verb: str, path: str, data: bytes | None, content_type: str) -> Answer:
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                answer = self._send_once(verb, path, data, content_type)
                if answer.status < 500:
                    return answer
                trouble = f"{answer.status}: {answer.body}"
            except (OSError, http.client.HTTPException) as error:
                trouble = repr(error)
            assert time.monotonic() < deadline, f"{verb} {path}: {trouble}"
            time.sleep(RETRY_SECONDS)

    def _send_once(self, verb: str, path: str, data: bytes | None, content_type: str) -> Answer:
        request = urllib.request.Request(self.base + API + path, data, method=verb)
        request.add_unredirected_header("Authorization", f"Bearer {self.api_key}")
        if data is not None:
            request.add_header("Content-Type", content_type)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(status=response.status, body=_parsed(response.read()))
        except urllib.error.HTTPError as refused:
            return Answer(status=refused.code, body=_parsed(refused.read()))


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


def ended(row: dict[str, Any]) -> bool:
    """It is over."""
    return row["status"] in FINAL
