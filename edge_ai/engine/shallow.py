"""JSON of strangers, refused before it is read where it nests too deeply. Standard library only.

Python's own reader goes down as deep as the recursion limit allows, which libraries raise so far that the process dies.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 200
# A text that is never ended goes to the end of the document, so that each letter is looked at once.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class TooDeepError(ValueError):
    """It nests too deeply."""


def loads(text: str | bytes, *, most: int = MAX_DEPTH, **options: Any) -> Any:
    """Read a JSON document of at most ``most`` levels of lists and objects; ``options`` are those of :func:`json.loads`.

    Raises
    ------
    ValueError
        When it is none; as :class:`TooDeepError` when it nests more deeply.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    depth = 0
    for token in _TOKENS.finditer(text):
        sign = token.group()
        if sign in {"[", "{"}:
            depth += 1
            if depth > most:
                raise TooDeepError(f"it is nested more than {most} levels deep")
        elif sign in {"]", "}"}:
            depth -= 1
    return json.loads(text, **options)
