"""No page is heavy, and the library of charts is loaded by pages that have charts alone. The pages are the URL table's."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

from django.contrib.staticfiles import finders
from django.test import Client

from accounts.models import User, Workspace
from tests.web.support import POST_ONLY, address, make_rows, routes

Browser = Callable[[User], Client]
#: Style sheets and scripts of a page together, as they are sent; the library of charts comes on top of it.
MOST_BYTES = 150_000
CHARTS = "vendor/echarts@"
NAMED = re.compile(r'<(?:script src|link rel="stylesheet" href)="/static/([^"]+)"')


def sent_bytes(name: str) -> int:
    """How large a static file is on its way."""
    found = finders.find(name)
    assert isinstance(found, str), name
    return len(gzip.compress(Path(found).read_bytes()))


def test_no_page_is_heavy(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    rows = make_rows(alpha, owner)
    faults, weighed, with_charts = [], 0, set()
    for route in routes():
        if route.name in POST_ONLY:
            continue
        browser = Client() if route.name in {"landing", "sample"} else browser_of(owner)
        response = browser.get(address(route, rows))
        if response.status_code != 200 or not response["Content-Type"].startswith("text/html"):
            continue
        text = response.content.decode()
        names = NAMED.findall(text)
        assert "css/app.css" in names, route.name
        weight = sum(sent_bytes(name) for name in names if CHARTS not in name)
        weighed += 1
        if weight > MOST_BYTES:
            faults.append(f"{route.name}: {weight} bytes of {names}")
        if any(CHARTS in name for name in names):
            with_charts.add(route.name)
            if 'class="chart' not in text:
                faults.append(f"{route.name} loads the library of charts and has none")
    assert not faults, "\n".join(faults)
    assert weighed > 30
    assert {"benchmark-detail", "comparison-detail"} <= with_charts
