"""The client that is awaited. `_sync` is made from it by `generate_sync.py`: change this one."""
