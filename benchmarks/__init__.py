"""Comparisons that people run by hand; no part of the product, and not run by CI."""
