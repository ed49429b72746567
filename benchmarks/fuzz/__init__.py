"""Damaged files by the thousand: honest ones, changed at random, given to the engine as a worker gives them."""
