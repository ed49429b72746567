"""Where the studio is and what opens it: arguments, then environment, then the file that ``edgeai login`` writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from edge_ai_studio.errors import NotConfigured

URL = "EDGEAI_URL"
KEY = "EDGEAI_API_KEY"
FILE = "EDGEAI_CONFIG"
API = "/api/edge/v1"


@dataclass(frozen=True, kw_only=True)
class Access:
    """The address of a studio, without a slash at the end, and an API key (``eas_…``)."""

    url: str
    key: str


def config_file() -> Path:
    """Return where the address and the key are kept."""
    given = os.environ.get(FILE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgeai" / "config.json"


def cache_folder() -> Path:
    """Return where unfinished uploads are noted."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeai"


def find_access(url: str | None = None, key: str | None = None) -> Access:
    """Return the access that is meant.

    Raises
    ------
    NotConfigured
        When one of the two is found nowhere.
    """
    kept = _read(config_file())
    url = url or os.environ.get(URL) or kept.get("url")
    if not url:
        raise NotConfigured(f"Where is the studio? Give its address, set {URL}, or run `edgeai login`.")
    url = clean_url(url)
    key = key or os.environ.get(KEY) or (kept.get("key") if url == kept.get("url") else None)
    if not key:
        raise NotConfigured(f"There is no API key for {url}. Give one, set {KEY}, or run `edgeai login`.")
    return Access(url=url, key=clean_key(key))


def clean_url(url: str) -> str:
    """Return an address with a scheme and without what follows the host and path of the studio, such as the API's path.

    Raises
    ------
    NotConfigured
        When it is no address of a web server.
    """
    given = url.strip()
    if not given.startswith(("http://", "https://")):
        raise NotConfigured(f"“{given}” is no address of a studio: it begins with https:// or http://.")
    try:
        known = bool(httpx.URL(given).host)
    except httpx.InvalidURL:
        known = False
    if not known:
        raise NotConfigured(f"“{given}” is no address of a studio: it is like https://studio.example.com.")
    return given.rstrip("/").removesuffix(API).rstrip("/")


def clean_key(key: str) -> str:
    """Return a key without what was copied around it.

    Raises
    ------
    NotConfigured
        When it cannot be a key.
    """
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NotConfigured("That is no API key: keys begin with eas_ and have letters, digits, - and _ alone.")
    return key


def save_access(access: Access) -> Path:
    """Keep an access for later commands, readable by this user alone; returns the file."""
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        json.dump({"url": access.url, "key": access.key}, sink)
    fresh.replace(path)
    return path


def forget_access() -> bool:
    """Remove what :func:`save_access` kept; returns whether there was anything."""
    path = config_file()
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in kept.items() if isinstance(value, str)} if isinstance(kept, dict) else {}
