"""What every page is held to: accessible, steady while it loads, within a phone, and silent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request

#: How wide the narrowest phone is.
NARROW = 360
#: What the parts of a page may move while it loads, as the share of the window that they move across.
STEADY = 0.005
#: What axe looks at once more where only the theme and the width of the window are others.
OF_THEME_AND_WIDTH = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")
#: Rows, entries and sections far down are like those above them; axe takes a minute for thousands of them.
ALIKE = ("tbody > tr:nth-child(n+9)", "main li:nth-child(n+13)", "[aria-label=Resources] ~ section:nth-of-type(n+3)")
#: What axe would at most call moderate, and looks at every element for.
MODERATE = ("region",)
# How many colours a canvas shows.
COLOURS = """canvas => {
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(pixels).size;
}"""
# What a page that is not there logs in the browser's own name.
NOT_FOUND = "404 (Not Found)"
# Kept in the page, where a breach of the Content-Security-Policy is told even if the console says nothing of it.
TELL_BREACHES = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`Content-Security-Policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));"""
WATCH_SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => list.getEntries().filter((entry) => !entry.hadRecentInput).forEach((entry) =>
  window.shifts.push([entry.value, entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 80) ?? "?").join(" | ")])
)).observe({ type: "layout-shift", buffered: true });"""
#: A slow line: 20 ms, 10 kB a second.
SLOW = {"offline": False, "latency": 20, "downloadThroughput": 10_000, "uploadThroughput": 10_000}
EXCESS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What a colour is inherited from may only begin to change it when its own has come to its end.
SETTLED = """(async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (await frame(); ; await frame()) {
    const changing = document.getAnimations().filter((each) => each instanceof CSSTransition);
    if (!changing.length) return;
    await Promise.allSettled(changing.map((each) => each.finished));
  }
})()"""
# Whatever is to be drawn has been drawn, and the observer has been told of what moved.
PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))"


def go(page: Page, address: str) -> None:
    """Open an address that has to be there, or to be said to be missing."""
    answer = page.goto(address)
    assert answer is not None
    assert answer.status in {200, 404}, f"{address}: {answer.status}"


def serious(page: Page, *, again: bool = False) -> list[str]:
    """Return what axe finds that would keep somebody from using the page; ``again``: only what theme and width change."""
    # Colours on their way from one theme to the other are neither's.
    page.evaluate(SETTLED)
    # Its own look at style sheets would itself be held back by the policy.
    options: dict[str, Any] = {
        "resultTypes": ["violations"],
        "preload": False,
        "rules": {rule: {"enabled": False} for rule in MODERATE},
    }
    if again:
        options["runOnly"] = list(OF_THEME_AND_WIDTH)
    found = Axe().run(page, context={"exclude": [[each] for each in ALIKE]}, options=options).response["violations"]
    return [
        f"{page.url}: {each['id']} ({each['impact']}): {[node['target'] for node in each['nodes']][:5]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


def thin_out(page: Page) -> None:
    """Take away what is like that above it, so that axe need not pass over it; the page is of no more use than that."""
    page.evaluate("alike => document.querySelectorAll(alike).forEach(each => each.remove())", ", ".join(ALIKE))


def too_wide(page: Page) -> list[str]:
    """Tell by how much the page sticks out of its window."""
    excess: int = page.evaluate(EXCESS)
    return [f"{page.url} sticks out by {excess} px at {page.viewport_size}"] if excess > 0 else []


def unsteady(page: Page) -> list[str]:
    """Tell what has moved since the page began to load; the page needs ``WATCH_SHIFTS`` from the start."""
    page.evaluate(PAINTED)
    shifts: list[tuple[float, str]] = page.evaluate("window.shifts")
    moved = sum(value for value, _ in shifts)
    return [f"{page.url} moves by {moved:.3f} while it loads: {shifts}"] if moved > STEADY else []


def slow_down(page: Page) -> None:
    """Let a page's window load over a slow line from now on."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", SLOW)


class Complaints(list[str]):
    """What a browser complains about on the pages that it shows: its console, errors of scripts, requests that fail."""

    def hear(self, page: Page, expected: Iterable[str] = (), *, requests: bool = False) -> None:
        """Listen to a page, and to its ``requests``; texts with one of ``expected`` in them are foreseen."""
        foreseen = tuple(expected)

        def tell(text: str) -> None:
            if not any(each in text for each in foreseen):
                self.append(f"{page.url}: {text}")

        def failed(request: Request) -> None:
            # What a page had not yet got when it was left is given up by the browser itself.
            if request.failure != "net::ERR_ABORTED":
                tell(f"{request.method} {request.url}: {request.failure}")

        page.on("console", lambda message: tell(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: tell(str(error)))
        if requests:
            page.on("requestfailed", failed)
