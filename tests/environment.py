"""Environment of the test process, set before Django reads its settings. Loaded by pytest as an early plugin.

Tests have a data folder of their own, with an embedded PostgreSQL that does not wait for the disk, and talk to it as the
role that production talks as.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

DATA_DIR = Path(tempfile.mkdtemp(prefix="studio-tests-"))
DATA_DIR.chmod(0o711)
(DATA_DIR / "staticfiles").mkdir()
for name in list(os.environ):
    ours = name.startswith(
        ("STUDIO_", "DATABASE_", "S3_", "GCS_", "AZURE_", "STORAGE_", "WEBHOOK_", "EMAIL_")
    ) or name in {
        "SECRET_KEY",
        "DEBUG",
    }
    if ours and name != "STUDIO_SKIP_BROWSER":
        del os.environ[name]
os.environ["STUDIO_DATA_DIR"] = str(DATA_DIR)
os.environ["STUDIO_EMBEDDED_FAST"] = "yes"
os.environ["JOB_LEASE_SECONDS"] = "6"
# Pages are counted their queries: what a process remembers must not run out in between.
os.environ["STUDIO_MEMORY_SECONDS"] = "86400"


@atexit.register
def _forget() -> None:
    shutil.rmtree(DATA_DIR, ignore_errors=True)
