"""Killing everything, and what must hold after it. ``python -m tests.chaos --minutes 10`` for longer than CI has time."""
