"""Search engines find the public pages and keep no others."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from edge_ai.web import documentation
from edge_ai.web.public_pages import INDEXED, NOT_INDEXED
from tests.web.support import parameters, routes

HOST = "http://testserver"
KEY = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize("path", ["/", "/sample/", "/docs/", "/docs/errors/", "/docs/measuring/"])
def test_public_pages_say_where_they_are(db: None, path: str) -> None:
    response = Client().get(path + "?utm_source=x")
    assert "X-Robots-Tag" not in response
    text = response.content.decode()
    assert f'<link rel="canonical" href="{HOST}{path}">' in text
    assert 'name="robots"' not in text
    with override_settings(PUBLIC_URL="https://studio.example.com"):
        assert f'rel="canonical" href="https://studio.example.com{path}"' in Client().get(path).content.decode()


@pytest.mark.parametrize(
    "route", [r for r in routes() if f"edge_ai:{r.name}" not in INDEXED], ids=lambda r: str(r.name)
)
def test_no_page_of_a_workspace_is_kept(db: None, route: object) -> None:
    given = {name: 1 if name == "place" else KEY for name in parameters(route)}  # type: ignore[arg-type]
    response = Client().get(reverse(f"edge_ai:{route.name}", kwargs=given))  # type: ignore[attr-defined]
    assert response["X-Robots-Tag"] == NOT_INDEXED


@pytest.mark.parametrize(
    "path",
    ["/accounts/sign-in/", "/docs/search/?q=a", "/docs/nothing/", "/nothing/", "/api/docs/", "/admin/", "/health/"],
)
def test_nothing_else_is_kept_either(db: None, path: str) -> None:
    assert Client().get(path)["X-Robots-Tag"] == NOT_INDEXED


def test_sitemap_and_robots_lead_to_the_public_pages_alone(db: None) -> None:
    tree = ElementTree.fromstring(Client().get("/sitemap.xml").content)  # noqa: S314 - our own answer
    found = {
        str(each.text).removeprefix(HOST) for each in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")
    }
    assert found == {"/", "/sample/", "/docs/", *(f"/docs/{name}/" for name in documentation.pages())}
    for path in found:
        assert "X-Robots-Tag" not in Client().get(path)
    robots = Client().get("/robots.txt").content.decode()
    assert f"Sitemap: {HOST}/sitemap.xml" in robots
    with override_settings(PUBLIC_URL="https://studio.example.com"):
        assert "<loc>https://studio.example.com/docs/</loc>" in Client().get("/sitemap.xml").content.decode()
