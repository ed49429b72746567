"""Telling other machines what happened: signed, retried, and never turned against the network that the studio stands in."""
