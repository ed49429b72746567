"""What a file that is no model seems to be, by its first bytes. Standard library only."""

from __future__ import annotations

HEAD_BYTES = 512
#: What people upload by mistake, by its first bytes.
STRANGERS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a Linux program"),
    (b"MZ", "a Windows program"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
)


def stranger(head: bytes) -> str:
    """Say in words what a file that begins with ``head`` seems to be."""
    for mark, name in STRANGERS:
        if head[: len(mark)].lower() == mark.lower():
            return name
    if not head:
        return "an empty file"
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        text = ""
    if text and sum(c.isprintable() or c.isspace() for c in text) > 0.97 * len(text):
        return "a JSON document" if text.lstrip()[:1] in {"{", "["} else "a plain text file"
    return "a file of no kind that is known here"
