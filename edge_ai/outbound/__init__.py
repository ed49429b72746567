"""Reaching other machines at addresses that people give, without being turned against the network that the studio stands in."""
