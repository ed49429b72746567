"""Pages go out compressed; everything else as it is."""

from __future__ import annotations

import gzip

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_page_is_compressed_for_whoever_takes_it(client: Client) -> None:
    plain = client.get("/docs/errors/")
    packed = client.get("/docs/errors/", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert int(packed.headers["Content-Length"]) == len(packed.content) < len(plain.content) / 3
    assert gzip.decompress(packed.content).decode() == plain.content.decode()


def test_the_length_of_a_page_tells_nothing_of_what_is_in_it(client: Client) -> None:
    lengths = {len(client.get("/docs/errors/", headers={"Accept-Encoding": "gzip"}).content) for _ in range(12)}
    assert len(lengths) > 1


@pytest.mark.parametrize("path", ["/manifest.webmanifest", "/robots.txt", "/api/schema/"])
def test_whatever_is_no_page_keeps_its_bytes(client: Client, path: str) -> None:
    answer = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
