"""The fuzzer's command: ``python -m benchmarks.fuzz --count 10000 --jobs 2``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz.campaign import Campaign, Tally, campaign
from benchmarks.fuzz.seeds import SEEDS

STEP = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Try mutants of every format; returns 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"Which, of {', '.join(SEEDS)}; all by default.")
    parser.add_argument("--count", type=int, default=200, help="Mutants of each format.")
    parser.add_argument("--first", type=int, default=0, help="The number of the first, to try some again.")
    parser.add_argument("--seed", type=int, default=0, help="Of all randomness: the same seed makes the same mutants.")
    parser.add_argument("--jobs", type=int, default=1, help="How many are tried at once.")
    parser.add_argument("--seconds", type=float, default=30.0, help="How long a child may run.")
    parser.add_argument(
        "--deep", action="store_true", help="Run accepted Keras files and SavedModels in TensorFlow, too."
    )
    parser.add_argument("--keep", type=Path, help="A folder for mutants with violations or crashes.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object for each format, and nothing else.")
    parser.add_argument("--nice", type=int, default=10, help="How much to give way to others on this machine.")
    options = parser.parse_args(argv)
    unknown = [name for name in options.formats if name not in SEEDS]
    if unknown:
        parser.error(f"no format is called {', '.join(unknown)}")
    os.nice(options.nice)
    if not options.json:
        print(f"{'format':12} {'mutants':>8} {'per s':>7} {'slowest':>8}  endings", flush=True)
    violations = 0
    with campaign(seed=options.seed, wall_seconds=options.seconds, deep=options.deep, keep=options.keep) as everything:
        for name in options.formats or SEEDS:
            tally = _tried(everything, name, options)
            violations += len(tally.violations)
            print(json.dumps(tally.to_json()) if options.json else _line(tally), flush=True)
    if not options.json:
        print(f"{violations} violations" if violations else "No violations.")
    return 1 if violations else 0


def _tried(everything: Campaign, name: str, options: argparse.Namespace) -> Tally:
    whole = Tally(format=name)
    for first in range(options.first, options.first + options.count, STEP):
        count = min(STEP, options.first + options.count - first)
        part = everything.run(name, first=first, count=count, jobs=options.jobs)
        whole.mutants += part.mutants
        whole.seconds += part.seconds
        whole.endings += part.endings
        whole.signals += part.signals
        whole.slowest = max(whole.slowest, part.slowest)
        whole.violations += part.violations
    return whole


def _line(tally: Tally) -> str:
    facts = tally.to_json()
    endings = ", ".join(f"{count} {what}" for what, count in (facts["endings"] | facts["signals"]).items())
    text = f"{tally.format:12} {tally.mutants:8} {facts['per_second']:7} {facts['slowest_seconds']:7}s  {endings}"
    for item in tally.violations[:20]:
        text += f"\n    VIOLATION number {item.number}: {', '.join(item.faults)}: {item.detail.splitlines()[-1][:200]}"
    return text


if __name__ == "__main__":
    sys.exit(main())
