"""Answers whose time tells nothing of what was done for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase

View = Callable[..., HttpResponseBase]
#: Answers go out at whole multiples of this. What is done for a known address takes some milliseconds more than for an
#: unknown one, or less: rows are written, a token is made.
STEP_SECONDS = 0.5


def steady(view: View) -> View:
    """Let a page's answers to a form go out in steps of time."""

    @wraps(view)
    def held(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        began = time.monotonic()
        response = view(request, *args, **kwargs)
        time.sleep(STEP_SECONDS - (time.monotonic() - began) % STEP_SECONDS)
        return response

    return held
