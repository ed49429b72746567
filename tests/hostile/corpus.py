"""All kinds of hostile files, and the table of them."""

from __future__ import annotations

from tests.hostile import archive_files, files_in_zips, keras_files, onnx_files, other_files, tensorflow_files
from tests.hostile.kinds import KINDS as KINDS

#: Importing them enters their kinds into the list.
MODULES = (onnx_files, keras_files, tensorflow_files, other_files, archive_files, files_in_zips)
HEAD = ("| Kind | What it tries | Ends at | In |", "| --- | --- | --- | --- |")


def table() -> str:
    """Return the table of ``docs/security.md``."""
    rows = [
        f"| `{kind.name}` | {kind.tries} | {kind.step} | {' or '.join(f'`{code}`' for code in kind.codes)} |"
        for kind in sorted(KINDS.values(), key=lambda kind: kind.name)
    ]
    return "\n".join((*HEAD, *rows)) + "\n"


if __name__ == "__main__":
    print(table(), end="")
