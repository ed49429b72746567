"""Latency of a device that is not here, from shapes and the device's published peaks: estimated, never measured."""
