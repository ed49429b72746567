"""Reducing precision, one module a recipe."""
