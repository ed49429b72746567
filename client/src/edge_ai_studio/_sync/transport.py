"""Requests: with the key, asked again when the network or a full studio was at fault, refusals as exceptions."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from edge_ai_studio import __version__
from edge_ai_studio.config import Access
from edge_ai_studio.errors import Unreachable, refusal

API = "/api/edge/v1/"
#: Nothing was done: asked again, whatever it was.
NOT_DONE = frozenset({429, 503})
#: It may have been done: asked again where that does no harm.
MAYBE_DONE = frozenset({500, 502, 504})
TRIES = 5
LONGEST_PAUSE = 30.0
#: Questions change nothing; what is posted is done once for each Idempotency-Key, and answered again.
HARMLESS = frozenset({"GET", "HEAD", "POST"})
CONFLICT = 409


class Transport:
    """An HTTP connection to one studio."""

    def __init__(self, access: Access, *, workspace: str | None, timeout: float) -> None:
        self.access = access
        headers = {
            "Authorization": f"Bearer {access.key}",
            "Accept": "application/json",
            "User-Agent": f"edge-ai-studio/{__version__}",
        }
        if workspace:
            headers["X-Tenant-ID"] = workspace
        self._http = httpx.Client(base_url=access.url, headers=headers, timeout=timeout)
        # Signed links need no key, and what answers them may be another host, which the key is none of the business of.
        self._plain = httpx.Client(timeout=timeout, headers={"User-Agent": headers["User-Agent"]})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._plain.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
    ) -> httpx.Response:
        """Send a request and return its answer.

        ``path`` is relative to the API, or begins with a slash, or is a whole address of this studio. After a failure of the
        network or of the studio it is asked again, at most :data:`TRIES` times in all, later each time and not before
        ``Retry-After`` says. What is posted has a key of its own, by which the studio does it once; what else changes
        something is sent again only where it certainly was not done.

        Raises
        ------
        Refused
            When the studio answers with a problem.
        Unreachable
            When it does not answer.
        """
        sent = dict(headers or {})
        if method == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        harmless, broke_off = method in HARMLESS, False
        query = {name: value for name, value in (params or {}).items() if value is not None}
        for left in reversed(range(TRIES)):
            try:
                answer = self._http.request(
                    method, self.own(path), json=json, params=query or None, headers=sent, content=content
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if not left:
                    raise Unreachable(f"There is no studio at {self.access.url}: {error}.") from error
            except httpx.TransportError as error:
                if not left or not harmless:
                    raise Unreachable(f"The studio at {self.access.url} broke off: {error!r}.") from error
                broke_off = True
            else:
                status = answer.status_code
                again = status in NOT_DONE or (harmless and status in MAYBE_DONE)
                # The first try may still be at work on what the second asks for.
                again = again or (broke_off and method == "POST" and status == CONFLICT)
                if not again or not left:
                    return self._studios(answer, leads_on=path.endswith("/download/"))
                time.sleep(_asked_pause(answer) or _pause(left))
                continue
            time.sleep(_pause(left))
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def stream(self, address: str, *, start: int = 0) -> Iterator[httpx.Response]:
        """Open what a signed link leads to, from the byte ``start`` on."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            with self._plain.stream("GET", self.locate(address), headers=headers) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    self.judge(answer, "storage")
                yield answer
        except httpx.TransportError as error:
            raise Unreachable(f"The download broke off: {error!r}.") from error

    def put(self, address: str, content: bytes, *, headers: Mapping[str, str]) -> None:
        """Send bytes to a signed address, once.

        Raises
        ------
        Refused
            When they are not taken.
        Unreachable
            When nothing answers.
        """
        try:
            answer = self._plain.put(address, content=content, headers=dict(headers))
        except httpx.TransportError as error:
            raise Unreachable(f"The storage broke off: {error!r}.") from error
        self.judge(answer, "storage")

    def locate(self, path: str) -> str:
        """Return the whole address of a path."""
        if path.startswith(("http://", "https://")):
            return path
        return self.access.url + (path if path.startswith("/") else API + path)

    def own(self, path: str) -> str:
        """Return the address of a path at this studio, whichever host it names: the key goes nowhere else."""
        if path.startswith(("http://", "https://")):
            named, studio = httpx.URL(path), httpx.URL(self.access.url)
            return str(named.copy_with(scheme=studio.scheme, host=studio.host, port=studio.port))
        return self.locate(path)

    def _studios(self, answer: httpx.Response, *, leads_on: bool) -> httpx.Response:
        """Return a good answer of the studio; raise what a bad one says, or that something else answers at the address."""
        if answer.is_redirect and not leads_on:
            there = answer.headers["Location"].partition(API)[0]
            raise Unreachable(f"{self.access.url} leads on to {there}. If that is the studio, give that address.")
        if answer.is_success and answer.content and answer.headers.get("Content-Type", "").startswith("text/html"):
            raise Unreachable(f"What answers at {self.access.url} is no studio: it sent a page. Is the address right?")
        return self.judge(answer, "studio")

    def judge(self, answer: httpx.Response, who: str) -> httpx.Response:
        """Return a good answer; raise what a bad one of ``who``, the studio or its storage, says."""
        if answer.status_code < 400:
            return answer
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        if not isinstance(problem, dict) or "code" not in problem:
            # Not in the studio's words: by a storage service, a proxy, or whatever else has that address.
            words = f"The storage answered {answer.status_code}."
            if who == "studio":
                words = (
                    f"{self.access.url} answered {answer.status_code}, and not as a studio does. Is the address right?"
                )
            problem = {"detail": words}
        raise refusal(answer.status_code, problem)


def _pause(left: int) -> float:
    """Return the seconds until the next try: longer each time, never the same for all clients."""
    return min(LONGEST_PAUSE, 0.25 * 2.0 ** (TRIES - 1 - left)) * (0.5 + random.random())  # noqa: S311  # no secret


def _asked_pause(answer: httpx.Response) -> float | None:
    """Return the seconds that the studio asks to wait."""
    try:
        return min(LONGEST_PAUSE, max(0.0, float(answer.headers.get("Retry-After", ""))))
    except ValueError:
        return None
