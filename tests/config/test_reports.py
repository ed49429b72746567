"""What Sentry is told: caught at the end of its own transport, by a server that keeps every envelope."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conftest import ROOT

MODEL = "Zanzibar face detector"
FILE = "zanzibar-v3.onnx"
PASSWORD = "hunter22-hunter22"
FAILS = f"""
import logging, os
import django; django.setup()
from django.core.wsgi import get_wsgi_application
from django.views.decorators.csrf import csrf_exempt
from werkzeug.test import Client
from django.urls import path
from django.db import connection
import config.urls
log = logging.getLogger("studio")
@csrf_exempt
def page(request, **parts):
    secret_local = {PASSWORD!r}
    logging.getLogger("studio").info("Reading %s", {MODEL!r})
    log.warning("Model “{MODEL}” of {FILE} is odd")
    with connection.cursor() as cursor:
        cursor.execute("SELECT '{MODEL}' WHERE 'a' = %s", ["{MODEL}"])
    if request.GET.get("log"):
        log.error("Could not read %s for password=%s", {MODEL!r}, {PASSWORD!r}, extra={{"model": {MODEL!r}}})
        from django.http import HttpResponse
        return HttpResponse("ok")
    raise ValueError("Model {MODEL} ({FILE}) has key " + request.headers["Authorization"] + " password={PASSWORD}")
config.urls.urlpatterns[:0] = [path("files/<str:token>/<str:name>", page), path("breaks/", page)]
client = Client(get_wsgi_application())
client.set_cookie("sessionid", {PASSWORD!r})
headers = {{"Authorization": "Bearer " + os.environ["KEY"]}}
told = {{"name": {MODEL!r}, "password": {PASSWORD!r}}}
link = "/files/tokentokentoken/{FILE}?password={PASSWORD}"
ids = [
    client.get("/breaks/?search={MODEL}", headers=headers).headers["X-Request-ID"],
    client.post(link, headers=headers, data=told).headers["X-Request-ID"],
    client.get("/breaks/?log=1", headers=headers).headers["X-Request-ID"],
]
import sentry_sdk
sentry_sdk.flush(20)
print(" ".join(ids))
"""


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes what Sentry's transport sends; yields its DSN and what has come."""
    envelopes: list[bytes] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            match self.headers.get("Content-Encoding"):
                case "gzip":
                    raw = gzip.decompress(raw)
                case "deflate":
                    raw = zlib.decompress(raw)
                case "br":
                    raise AssertionError("a compression that this test cannot read")
            envelopes.append(raw)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://public@127.0.0.1:{server.server_port}/1", envelopes
    server.shutdown()
    thread.join()
    server.server_close()


def items(envelope: bytes) -> Iterator[dict[str, Any]]:
    """What an envelope holds, by its own headers."""
    lines = envelope.split(b"\n")
    for head, body in zip(lines[1::2], lines[2::2], strict=False):
        if head:
            yield {"kind": json.loads(head)["type"], "body": json.loads(body)}


def test_reports_lead_to_the_log_and_tell_nothing_else(db: None, sentry: tuple[str, list[bytes]]) -> None:
    dsn, envelopes = sentry
    key = "eas_abcdefgh_" + "Zz9-" * 10 + "abc"
    done = subprocess.run(
        [sys.executable, "-c", FAILS],
        env=os.environ
        | {
            "SENTRY_DSN": dsn,
            "SENTRY_TRACES_PERCENT": "100",
            "KEY": key,
            "DJANGO_SETTINGS_MODULE": "config.settings",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ids = done.stdout.split()
    found = [item for envelope in envelopes for item in items(envelope)]
    events = [item["body"] for item in found if item["kind"] == "event"]
    transactions = [item["body"] for item in found if item["kind"] == "transaction"]
    assert len(events) == 3
    assert len(transactions) == 3
    assert [event["tags"]["request_id"] for event in events] == ids
    for event in events[:2]:
        [wrong] = event["exception"]["values"]
        assert wrong["type"] == "ValueError"
        assert ids[events.index(event)] in wrong["value"]
        assert wrong["stacktrace"]["frames"][-1]["function"] == "page", "where it was is told"
        assert event["breadcrumbs"]["values"], "and what was before"
    assert events[2]["logentry"]["message"].startswith("Could not read %s")
    assert events[0]["request"]["url"].endswith("/breaks/")
    said = b"\n".join(envelopes).decode()
    for secret in (
        MODEL,
        "Zanzibar",
        FILE,
        "zanzibar",
        PASSWORD,
        key,
        "Zz9-Zz9",
        "sessionid",
        "tokentokentoken",
        "secret_local",
    ):
        assert secret not in said, secret
    assert "Zz9-Zz9" not in done.stderr
