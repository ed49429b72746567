"""What a download is called, told so that every program understands it."""

from __future__ import annotations

import unicodedata

from django.utils.http import content_disposition_header


def attachment(file_name: str) -> str:
    """Return the header ``Content-Disposition`` of a file to be saved.

    A name with letters beyond ASCII is told twice: whole, as RFC 8187 says, and in ASCII for programs that know nothing of
    that, such as ``curl -OJ``.
    """
    header = content_disposition_header(True, file_name) or "attachment"
    if "filename*=" not in header:
        return header
    letters = [each for each in unicodedata.normalize("NFKD", file_name) if not unicodedata.combining(each)]
    plain = "".join(each if " " <= each <= "~" and each not in '"\\%' else "_" for each in letters)
    return header.replace("attachment; ", f'attachment; filename="{plain}"; ', 1)
