"""A browser by the name that people know it by. Programs call themselves what they like: this is to recognise, not to trust."""

from __future__ import annotations

import re

# The first that fits counts: most browsers also say that they are Chrome, and all that they are Mozilla.
BROWSERS = (
    *(("Edg", "Edge"), ("OPR", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox", "Firefox")),
    *(("HeadlessChrome", "Chrome without a window"), ("Chrome", "Chrome"), ("CriOS", "Chrome"), ("Version", "Safari")),
)
SYSTEMS = (
    *(("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows")),
    *(("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


def browser_name(user_agent: str) -> str:
    """Return such as ``Firefox 140 on Linux``; what is no known browser keeps the name it gave itself."""
    if not user_agent.startswith("Mozilla/5.0 ("):
        return user_agent or "An unnamed program"
    for mark, name in BROWSERS:
        found = re.search(rf"\b{mark}[A-Za-z]*/(\d+)", user_agent)
        if found:
            system = next((each for sign, each in SYSTEMS if sign in user_agent), "")
            return f"{name} {found[1]}" + (f" on {system}" if system else "")
    return user_agent
