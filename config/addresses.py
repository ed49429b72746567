"""Every address of the studio with the name that ``reverse()`` takes, for the table of permissions and its test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver


@dataclass(frozen=True, kw_only=True)
class Address:
    """One pattern: its full name, the path as it is written, and what it leads to."""

    name: str
    path: str
    pattern: URLPattern


def addresses() -> Iterator[Address]:
    """Walk the URL table."""
    yield from _below(get_resolver(), "", "")


def _below(resolver: URLResolver, namespace: str, path: str) -> Iterator[Address]:
    each: Any
    for each in resolver.url_patterns:
        here = path + str(each.pattern)
        if isinstance(each, URLResolver):
            inner = f"{namespace}{each.namespace}:" if each.namespace else namespace
            yield from _below(each, inner, here)
        else:
            yield Address(name=f"{namespace}{each.name or ''}", path=f"/{here}", pattern=each)
