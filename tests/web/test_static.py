"""Static files: what the policy of pages forbids is nowhere, and what is vendored is what its list says."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders

from edge_ai.web.templatetags.studio import NAVIGATION, STATUSES

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_carry_no_inline_code_or_style(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=", text), "style attribute"
    assert not re.search(r"\son[a-z]+\s*=", text), "event handler"
    assert not re.search(r"<style|javascript:", text), "inline style sheet or address"
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "inline script"
    assert "hx-on" not in text, "code in an attribute"


def test_every_static_file_that_a_template_names_exists() -> None:
    named = {
        name for path in TEMPLATES for name in re.findall(r"""\{% static ['"]([^'"]+)['"] %\}""", path.read_text())
    }
    assert named, "the templates name static files"
    # Those of installed applications, such as the admin's, count as well.
    assert [name for name in sorted(named) if finders.find(name) is None] == []


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static" / "img" / "icons.svg").read_text()))
    used = set()
    for path in TEMPLATES:
        used |= set(re.findall(r"""\{% icon ["']([a-z-]+)["']""", path.read_text()))
        used |= set(re.findall(r"""icons\.svg' %\}#([a-z-]+)""", path.read_text()))
    used |= {symbol for symbol, _, _ in STATUSES.values()} | {entry[2] for entry in NAVIGATION}
    assert used - sprite == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_and_say_which_page_uses_them(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) < 150
    assert "eval(" not in path.read_text()
    assert "innerHTML" not in path.read_text()


def test_vendored_files_are_what_their_list_says() -> None:
    listing = (ROOT / "static" / "vendor" / "README.md").read_text()
    rows = re.findall(r"^\| (\S+) (\S+) \|.*\| `([^`]+)` \| `([0-9a-f]{64})` \|$", listing, re.M)
    assert len(rows) >= 4
    listed = {ROOT / "static" / "vendor" / f"{name}@{version}" / file: digest for name, version, file, digest in rows}
    there = {path for path in (ROOT / "static" / "vendor").rglob("*") if path.is_file() and path.name != "README.md"}
    assert set(listed) == there
    for path, digest in listed.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, path


def test_package_lock_names_no_download_address() -> None:
    assert "resolved" not in (ROOT / "package-lock.json").read_text()
    versions = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values()), "exact versions"


def test_the_policy_forbids_inline_code() -> None:
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    assert directives["default-src"] == ["'none'"]
    for name in ("script-src", "style-src"):
        assert directives[name] == ["'self'"]
