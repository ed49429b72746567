"""Text that would be a statement, a header or a path where somebody took it for one."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from config.addresses import addresses
from config.permissions import TABLE
from edge_ai import storage
from edge_ai.engine.errors import EngineError
from edge_ai.engine.formats.archive import unpack_archive
from edge_ai.services.uploads import clean_file_name
from tests.api.support import SAMPLE
from tests.conftest import inside
from tests.test_permissions import of_api
from tests.web.support import POST_ONLY, address, make_rows, routes

Browser = Callable[[User], Client]
#: A text within a statement, as PostgreSQL reads it.
TEXT = re.compile(r"E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'")
#: Ends whatever it stands in, and would wait, tell or destroy.
SQL = "x' OR '1'='1'; DROP TABLE edge_ai_model; SELECT pg_sleep(9) --\") UNION SELECT secret_sha256 %"
WORDS = (
    *("q", "search", "page", "page_size", "sort", "order", "ordering", "cursor", "status", "kind", "tag", "format"),
    *(
        "precision",
        "owner",
        "action",
        "actor",
        "object",
        "object_id",
        "from",
        "to",
        "model",
        "device_profile",
        "dataset",
    ),
    *("created_after", "created_before", "at_after", "how", "name", "columns", "view", "older_than", "newer_than"),
)
CRLF = (
    "a\r\nSet-Cookie: evil=1\r\n\r\n<p>.onnx",
    "a\nX-Evil: 1.onnx",
    'a"; filename="b.exe',
    "a\x00.onnx",
    "a\u2028b\u0085.onnx",
)
PATHS = (
    "../../evil.onnx",
    "/etc/evil.onnx",
    "..\\..\\evil.onnx",
    "C:\\evil.onnx",
    "....//evil.onnx",
    "%2e%2e%2fevil.onnx",
    "~/evil.onnx",
    "evil.onnx/..",
    ".",
    "..",
    "\x00",
    "a/" * 300 + "evil.onnx",
)


def words_of(answer: Any) -> set[str]:
    """The words that an address of the API knows: those that it does not, it names."""
    return set(WORDS) - {error["field"] for error in answer.json()["errors"] if error["code"] == "unknown_field"}


def test_no_word_of_a_query_becomes_a_statement(
    alpha: Workspace, owner: User, browser_of: Browser, script_of: Callable[..., Client]
) -> None:
    rows = make_rows(alpha, owner)
    ids, browser, script = of_api(alpha, owner, rows, "private"), browser_of(owner), script_of(owner)
    places = [(browser, address(route, rows)) for route in routes() if route.name not in POST_ONLY]
    for each in addresses():
        if each.name.startswith("api:") and "GET" in TABLE.get(each.name, {}):
            takes = {"id": ids.get(each.name.removeprefix("api:").rsplit("-", 1)[0]), "delivery_id": rows.delivery.pk}
            where = reverse(each.name, kwargs={name: takes[name] for name in each.pattern.pattern.converters})
            places.append((script, where))
    for client, place in places:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(place, dict.fromkeys(WORDS, SQL))
            # One at a time where all of them together are refused at the first.
            if answer.status_code == 422:
                for word in words_of(answer):
                    assert client.get(place, {word: SQL}).status_code < 500, (place, word)
        assert answer.status_code < 500, place
        for query in queries:
            told = TEXT.sub("''", query["sql"])
            assert not any(word in told for word in ("DROP", "UNION SELECT secret", "pg_sleep", "'1'")), told[:500]
    with inside(alpha, owner):
        assert type(rows.model)._default_manager.filter(pk=rows.model.pk).exists()


@pytest.mark.parametrize("name", CRLF, ids=range(len(CRLF)))
def test_a_file_name_stays_within_its_header(
    alpha: Workspace, owner: User, browser_of: Browser, tmp_path: Path, name: str
) -> None:
    browser = browser_of(owner)
    browser.post(
        "/models/upload/", {"file": SimpleUploadedFile("digits.tflite", (SAMPLE / "digits.tflite").read_bytes())}
    )
    with inside(alpha, owner):
        path = tmp_path / "file"
        path.write_bytes(b"bytes")
        with transaction.atomic():
            blob = storage.put(path, storage.fingerprint(path))
        # Also where a row has such a name by another way than an upload.
        url = storage.signed_url(sha256=blob.sha256, file_name=name, mime_type="application/octet-stream")
        token = url.split("/")[2]
    answer = Client().get(f"/files/{token}/x")
    assert answer.status_code == 200
    head = answer["Content-Disposition"]
    assert head.startswith("attachment") and head.isascii() and head.isprintable(), head
    assert "Set-Cookie" not in answer.headers and "X-Evil" not in answer.headers
    read = Message()
    read["Content-Disposition"] = head
    assert read.get_params(header="Content-Disposition", unquote=False) is not None
    # The name, and where it is told twice the plain one, which holds nothing that could end it.
    kinds = [key for key, _ in read.get_params(header="Content-Disposition") or []]
    assert kinds in (["attachment", "filename"], ["attachment", "filename", "filename"]), head
    assert head.replace('\\"', "").count('"') in {0, 2}, head
    assert read.get_filename() != "b.exe"
    kept = clean_file_name(name)
    assert kept.isprintable() and not set(kept) & set('\r\n"\x00')


@pytest.mark.parametrize("name", PATHS, ids=range(len(PATHS)))
def test_a_name_leads_out_of_nothing(
    alpha: Workspace, owner: User, script_of: Callable[..., Client], tmp_path: Path, name: str
) -> None:
    kept = clean_file_name(name)
    assert "/" not in kept and "\\" not in kept and kept not in {"", ".", ".."} and len(kept) <= 200
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(zipfile.ZipInfo(name), b"evil")
    target = tmp_path / "deep" / "target"
    target.parent.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    try:
        unpack_archive(archive, target)
    except EngineError as error:
        assert error.code in {"model_unsafe", "model_unreadable", "dataset_unreadable"}
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(target in path.parents for path in new), new


def test_no_file_of_the_studio_is_had_by_a_path(db: None) -> None:
    for where in ("/static/", "/files/x/", "/graph/model/x/", "/docs/", "/graph/9/"):
        for way in (
            "../../config/settings.py",
            "..%2f..%2fconfig%2fsettings.py",
            "%2e%2e/%2e%2e/etc/passwd",
            "....//....//etc/passwd",
            "..\\..\\etc\\passwd",
            "%00",
            "/etc/passwd",
        ):
            answer: Any = Client().get(where + way)
            assert answer.status_code in {301, 302, 400, 404}, where + way
            assert b"SECRET_KEY" not in answer.content and b"root:" not in answer.content
