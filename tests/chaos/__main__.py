"""``python -m tests.chaos --minutes 10``: for longer than CI has time. The exit status tells whether all held."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.chaos.harness import run
from tests.studio import reachable_folder


def main() -> int:
    """Run, and print what happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="How long things are killed.")
    parser.add_argument("--seed", type=int, default=None, help="Repeat the choices of an earlier run.")
    parser.add_argument("--no-tensorflow", action="store_true", help="Leave out the jobs that need a warm process.")
    parser.add_argument("--log", action="store_true", help="Print every kill and every cancellation as well.")
    given = parser.parse_args()
    seed = secrets.randbelow(10_000) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    with reachable_folder() as folder:
        report = run(folder, seed=seed, seconds=given.minutes * 60, tensorflow=not given.no_tensorflow)
    if given.log or report.problems:
        print("\n".join(report.log))
    print("\n".join(report.problems))
    print(report.summary())
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
