"""What is said of the studio before anybody has signed in: pictures, titles, icons, and the way to the sample."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from django.contrib.staticfiles import finders
from django.test import Client, override_settings
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.web.views.public import PICTURES, _sample_hash
from tests.conftest import inside
from tests.edge_ai import factories

Browser = Callable[[User], Client]
HOST = "http://testserver"


def text_of(path: str) -> str:
    response = Client().get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def size_of(name: str) -> tuple[int, int]:
    """Width and height of a picture."""
    found = finders.find(name)
    assert isinstance(found, str), name
    picture = cv2.imread(found)
    assert picture is not None, name
    return picture.shape[1], picture.shape[0]


def meta(text: str, name: str) -> str:
    found = re.search(rf'<meta (?:name|property)="{name}" content="([^"]*)">', text)
    assert found, name
    return found[1]


def public_paths() -> list[str]:
    return [each.removeprefix(HOST) for each in re.findall(r"<loc>([^<]+)</loc>", text_of("/sitemap.xml"))]


def test_the_landing_page_shows_pictures_of_their_true_size(db: None) -> None:
    text = text_of("/")
    for picture in PICTURES:
        for tag, name in (("img src", picture.wide), ("srcset", picture.phone)):
            width, height = size_of(name)
            assert re.search(rf'{tag}="/static/{name}" width="{width}" height="{height}"', text), name
            found = finders.find(name)
            assert isinstance(found, str)
            assert Path(found).stat().st_size < 150_000
    assert text.count("<picture") == len(PICTURES) == 2
    # Only what is shown is fetched: the other theme's picture waits until it is.
    assert text.count('loading="lazy"') == 1


def test_titles_and_descriptions_of_public_pages_are_their_own(db: None) -> None:
    seen: dict[str, str] = {}
    for path in public_paths():
        text = text_of(path)
        title = re.search(r"<title>([^<]+)</title>", text)
        assert title
        for words in (title[1], meta(text, "description")):
            assert 5 < len(words) <= 200, f"{path}: {words}"
            assert words not in seen, f"{path} says the same as {seen[words]}: {words}"
            seen[words] = path
        assert meta(text, "og:title") == title[1]
        assert meta(text, "og:description") == meta(text, "description")


@override_settings(PUBLIC_URL="https://studio.example.com")
def test_a_link_to_a_public_page_is_shown_with_a_picture(db: None) -> None:
    for path in ("/", "/docs/measuring/"):
        text = text_of(path)
        assert meta(text, "og:image") == "https://studio.example.com/static/img/card.png"
        assert (meta(text, "og:image:width"), meta(text, "og:image:height")) == ("1200", "630")
        assert meta(text, "twitter:card") == "summary_large_image"
        assert meta(text, "og:url") == f"https://studio.example.com{path}"
    assert size_of("img/card.png") == (1200, 630)
    assert "og:image" not in text_of("/accounts/sign-in/")


def test_the_manifest_names_icons_that_there_are(db: None) -> None:
    response = Client().get("/manifest.webmanifest")
    assert response["Content-Type"] == "application/manifest+json"
    found = response.json()
    assert found["start_url"] == reverse("edge_ai:overview")
    for icon in found["icons"]:
        name = icon["src"].removeprefix("/static/")
        if icon["type"] == "image/png":
            assert "x".join(map(str, size_of(name))) == icon["sizes"]
        else:
            assert finders.find(name)
    assert {icon.get("purpose") for icon in found["icons"]} >= {"maskable"}
    text = text_of("/")
    assert '<link rel="manifest" href="/manifest.webmanifest">' in text
    assert size_of("img/apple-touch-icon.png") == (180, 180)
    assert len(re.findall(r'name="theme-color" media="\(prefers-color-scheme: (?:light|dark)\)"', text)) == 2


def test_strangers_are_told_how_to_try_the_sample(db: None) -> None:
    assert f'href="{reverse("edge_ai:sample")}"' in text_of("/")
    text = text_of("/sample/")
    assert "make run" in text
    assert "make test" in text
    assert "no copy of the sample" not in text


@pytest.mark.parametrize("visibility", ["private", "workspace"])
def test_members_are_led_to_the_sample_that_they_see(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser, visibility: str
) -> None:
    with inside(alpha, owner):
        factories.make_model(owner)
    response = browser_of(owner).get("/sample/")
    assert response.status_code == 200
    assert "no copy of the sample" in response.content.decode()
    with inside(alpha, owner):
        sample = factories.make_model(owner, sha256=_sample_hash(), visibility=visibility)
    address = reverse("edge_ai:model-detail", args=[sample.pk])
    assert browser_of(owner).get("/sample/")["Location"] == address
    seen = browser_of(colleague).get("/sample/")
    assert (seen.status_code, seen.headers.get("Location")) == (
        (302, address) if visibility == "workspace" else (200, None)
    )
