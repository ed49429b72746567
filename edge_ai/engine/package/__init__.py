"""Bundles: a model with everything that it takes to run it somewhere else."""
