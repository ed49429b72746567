"""Everything that CI runs, in order of how soon it fails: `make test` calls this, and so does CI.

Each step is shown with its time. All steps are run even when one fails, and what failed is named at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHROMIUM = Path("/usr/bin/chromium")


def tool(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(BIN / name)


def run(title: str, *command: str, **environment: str) -> bool:
    """Run one step and tell how it went."""
    print(f"\n── {title}\n   {' '.join(command)}", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False)
    print(f"   {'passed' if done.returncode == 0 else 'FAILED'} in {time.monotonic() - began:.1f} s", flush=True)
    return done.returncode == 0


def package(name: str, program: Path) -> bool:
    """Install one of Debian's packages where its program is missing and that can be done; tell whether it is there."""
    if not program.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        run(f"Install {name} (lists)", "apt-get", "update", "-qq")
        run(f"Install {name}", "apt-get", "install", "-y", "-qq", "--no-install-recommends", name)
    return program.exists()


def sandbox() -> bool:
    """Make sure that there is bubblewrap for the stronger sandboxes; where it cannot be had, say so and go on."""
    if not package("bubblewrap", Path("/usr/bin/bwrap")):
        print("!! NO BUBBLEWRAP: install Debian's package `bubblewrap`. Tests of the stronger sandboxes are SKIPPED.")
    return True


def browser() -> bool:
    """Make sure that there is a browser for the browser tests; where none can be had, say so and leave them out."""
    if not os.environ.get("STUDIO_SKIP_BROWSER") and not package("chromium", CHROMIUM):
        print("!! NO BROWSER: install Debian's package `chromium`. The browser tests are SKIPPED.", flush=True)
        os.environ["STUDIO_SKIP_BROWSER"] = "Chromium is absent and could not be installed"
    return True


def css(scratch: Path) -> bool:
    """Build the style sheet again and compare it with the one that is committed."""
    if shutil.which("npm") is None:
        print("\n!! NO NODE.JS: whether static/css/app.css is up to date is NOT CHECKED.", flush=True)
        return True
    built = scratch / "app.css"
    return (
        # Not `npm ci`: it insists on the lock's entries for other platforms, which some registries do not carry.
        run("Install the style sheet's tools", "npm", "install", "--no-save", "--loglevel=error")
        and run(
            "Build the style sheet",
            *("npx", "@tailwindcss/cli", "--input", "static/src/app.css", "--output", str(built), "--minify"),
        )
        and run("Style sheet is up to date", "cmp", "static/css/app.css", str(built))
    )


def main() -> int:
    """Run every step."""
    python = sys.executable
    with tempfile.TemporaryDirectory(prefix="studio-checks-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o711)
        data = {"STUDIO_DATA_DIR": str(scratch / "data"), "STUDIO_EMBEDDED_FAST": "yes"}
        production = {
            "STUDIO_DATA_DIR": str(scratch / "production"),
            "DATABASE_URL": "postgresql://studio_web:a-password-of-the-tests@db.example.com/studio",
            "DATABASE_OWNER_URL": "postgresql://studio_owner:another-one-of-the-tests@db.example.com/studio",
            "SECRET_KEY": "not-a-real-key-but-long-enough-to-pass-the-check-0123456789",
            "ALLOWED_HOSTS": "studio.example.com",
            "STUDIO_PUBLIC_URL": "https://studio.example.com",
            "STUDIO_ALLOW_ROOT": "yes",
        }
        results = {
            "ruff": run("Lint", tool("ruff"), "check", "."),
            "format": run("Format", tool("ruff"), "format", "--check", "."),
            "imports": run("Who may import whom", tool("lint-imports")),
            "mypy": run("Types", tool("mypy"), ".", **data),
            "deploy": run(
                "Production settings", python, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **production
            ),
            "bootstrap": run("Set up a database", python, "manage.py", "bootstrap", **data),
            "migrations": run(
                "No migration is missing", python, "manage.py", "makemigrations", "--check", "--dry-run", **data
            ),
            "docs": run("Documentation is up to date", python, "manage.py", "document", "--check", **data),
            "css": css(scratch),
            # Alone: it kills processes, and takes stock of all that are left.
            "chaos": run("Tests of chaos", python, "-m", "pytest", "tests/chaos"),
            "tests": sandbox()
            and browser()
            and run(
                *("Tests", python, "-m", "pytest", "--ignore=tests/chaos", "--durations=30"),
                # Three are a little quicker on two processors, and leave too little to tests that measure time.
                *("--numprocesses=2", "--dist=loadgroup", "--no-loadscope-reorder"),
            ),
        }
    failed = [name for name, passed in results.items() if not passed]
    print(f"\n{len(results) - len(failed)} passed, {len(failed)} failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
