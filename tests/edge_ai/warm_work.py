"""What a warm process imports in tests: it runs the Python code that lies in its folder."""

from __future__ import annotations

from pathlib import Path

CODE = "work_to_do.txt"


def serve() -> int:
    """Do it."""
    exec(Path(CODE).read_text(), {"__name__": "__main__"})  # noqa: S102 - the tests' own code
    return 0
