"""Attempts that must fail. What each threat is answered with, and by which test, docs/security.md tells."""
