"""Hosts and clusters, in the shared schema: who is alive, and who may measure."""
