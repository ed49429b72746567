"""Make the blocking client from the awaited one: `python client/generate_sync.py`, or `--check` to compare only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "src" / "edge_ai_studio"
REPLACED = {
    "_async": "_sync",
    "asyncio": "time",
    "AsyncClient": "Client",
    "AsyncIterator": "Iterator",
    "AsyncIterable": "Iterable",
    "async_each": "each",
    "AsyncAhead": "Ahead",
    "aclose": "close",
    "aread": "read",
    "aiter_bytes": "iter_bytes",
    "AsyncTransport": "Transport",
    "AsyncStudio": "Studio",
} | {
    f"Async{name}": name
    for name in (
        *("Resource", "Model", "Device", "Dataset", "Artifact", "Webhook"),
        *("Work", "Job", "OptimizationJob", "BenchmarkJob", "ComparisonJob", "ImportJob", "DiagnosisJob", "PackageJob"),
        "Batch",
    )
}


def made(folder: Path) -> dict[str, str]:
    """Return the text of each module of the blocking client by its name."""
    taken = folder / "_async"
    taken.mkdir()
    for module in (SOURCE / "_async").glob("*.py"):
        text = module.read_text()
        # A thread of its own is what the awaited client hashes in; the blocking one just does it.
        text = text.replace("await asyncio.to_thread(sha256_of, path)", "sha256_of(path)")
        text = text.replace("await asyncio.to_thread(sha256_of, part)", "sha256_of(part)")
        (taken / module.name).write_text(text)
    rule = unasync.Rule(str(taken), str(folder / "_sync"), additional_replacements=REPLACED)
    unasync.unasync_files([str(module) for module in taken.glob("*.py")], [rule])
    out = folder / "_sync"
    for module in out.glob("*.py"):
        text = module.read_text().replace(":meth:`Async", ":meth:`").replace(":class:`Async", ":class:`")
        module.write_text(text.replace("import time\nimport sys\nimport time\n", "import sys\nimport time\n"))
    (out / "__init__.py").write_text('"""The client that blocks, made from `_async` by `generate_sync.py`."""\n')
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(HERE.parent / "pyproject.toml")]
    for task in (["check", "--fix", "--unsafe-fixes", "--quiet"], ["format", "--quiet"]):
        subprocess.run([*ruff, *task, *config, str(out)], check=True)
    return {module.name: module.read_text() for module in out.glob("*.py")}


def main() -> int:
    """Write or compare."""
    target = SOURCE / "_sync"
    with tempfile.TemporaryDirectory() as folder:
        texts = made(Path(folder))
    kept = {module.name: module.read_text() for module in target.glob("*.py")}
    if "--check" in sys.argv:
        stale = sorted(name for name in {*texts, *kept} if texts.get(name) != kept.get(name))
        print(f"stale: {', '.join(stale)}" if stale else "up to date")
        return 1 if stale else 0
    target.mkdir(exist_ok=True)
    for name, text in texts.items():
        (target / name).write_text(text)
    for name in kept.keys() - texts.keys():
        (target / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
