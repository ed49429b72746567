"""What the studio has written to somebody."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import urlsplit

from tests.studio import RealStudio


def link_for(studio: RealStudio, address: str) -> str:
    """The path of the link in the newest mail to an address, as the studio has written it."""
    for path in sorted(studio.mails.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True):
        message = message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default)
        if message["To"] == address:
            found = re.search(r"https?://\S+", message.get_content())
            assert found is not None
            return urlsplit(found[0]).path
    raise AssertionError(f"There is no mail to {address}.")
