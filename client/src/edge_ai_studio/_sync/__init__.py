"""The client that blocks, made from `_async` by `generate_sync.py`."""
