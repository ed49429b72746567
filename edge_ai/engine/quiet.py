"""Keeping what libraries print and log out of the engine's own output. Standard library only."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*, level: int = logging.WARNING, errors_too: bool = False) -> Iterator[None]:
    """Silence what Python code prints on standard output, warns of, and logs.

    Parameters
    ----------
    level
        Logs up to this level are silenced.
    errors_too
        Standard error as well, where progress bars go.
    """
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, level))
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            if errors_too:
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def quiet_natively() -> Iterator[None]:
    """Silence what compiled code writes to standard error; what fails is raised all the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
