"""Is the verdict of a comparison to be trusted? ``python -m benchmarks.ab_study --pairs 200 --padded 100 --out study.json``.

A/A pairs hold a model against itself: every "faster" or "slower" is a false one. Padded pairs hold a chain of layers against
the same chain with 5 % more of them: every "slower" is right. Each pair is what the job does, with `measure_by_turns`. Pairs
are written down one by one, and with the same ``--out`` a study goes on where it was left. Prints the table, and JSON with
``--json``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.measure.compare_models import compare_models
from edge_ai.engine.measure.environment import describe_machine
from edge_ai.engine.measure.statistics import Z_95
from edge_ai.engine.spec import Format
from edge_ai.sample import ONNX_MODEL

PADDING: Final = 0.05
VERDICTS: Final = ("same", "inconclusive", "faster", "slower")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A chain of square dense layers that share their weights, fed some rows; no layers: the bundled sample."""

    name: str
    width: int = 0
    layers: int = 0
    rows: int = 1


NETWORKS: Final = (
    Network(name="sample"),
    Network(name="narrow", width=64, layers=400),
    Network(name="middle", width=128, layers=200, rows=8),
    Network(name="wide", width=256, layers=100, rows=32),
)
"""From some 15 µs to some milliseconds; the chains are long, so that what a call costs beside its layers is little."""


def write_chain(path: Path, network: Network, *, padding: float = 0.0) -> Path:
    """Write a chain, with so much more of its layers."""
    width, layers = network.width, round(network.layers * (1.0 + padding))
    # A rotation: however long the chain is, its numbers neither grow nor vanish.
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))[0].astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", [f"h{place}", "w"], [f"h{place + 1}"]) for place in range(layers)],
        "chain",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, [network.rows, width])],
        [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, [network.rows, width])],
        [numpy_helper.from_array(rotation, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    onnx.save(made, str(path))
    return path


def planned(pairs: int, padded: int) -> Iterator[tuple[str, Network]]:
    """Yield what is to be measured, the kinds and the networks in turn."""
    chains = [network for network in NETWORKS if network.layers]
    for number in range(max(pairs, padded)):
        if number < pairs:
            yield "A/A", NETWORKS[number % len(NETWORKS)]
        if number < padded:
            yield "+5 %", chains[number % len(chains)]


def measure(kind: str, network: Network, folder: Path, *, max_seconds: float, threads: int) -> dict[str, Any]:
    """Compare one pair."""
    first = ONNX_MODEL if not network.layers else write_chain(folder / "first.onnx", network)
    second = first if kind == "A/A" else write_chain(folder / "second.onnx", network, padding=PADDING)
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        result = compare_models(
            [(first, Format.ONNX), (second, Format.ONNX)],
            dataset=None,
            threads=threads,
            max_seconds=max_seconds,
            workdir=Path(workdir),
        )
    (pair,) = result["pairs"]
    return {
        "kind": kind,
        "network": network.name,
        "p50_ms": result["runs"][0]["latency_ms"]["p50"],
        "ratio": pair["ratio_p50"],
        "ci95": pair["ci95"],
        "verdict": pair["verdict"],
        "ratios_of_starts": pair["ratios_of_starts"],
        "starts": result["starts"],
        "stop": result["stop"]["reason"],
        "noise": result["noise"]["verdict"],
        "seconds": round(time.monotonic() - began, 2),
        "load": load,
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count the verdicts, by kind and network, and say how much the two bars were passed by."""
    groups = []
    for kind in ("A/A", "+5 %"):
        of_kind = [row for row in rows if row["kind"] == kind]
        names = [network.name for network in NETWORKS if any(row["network"] == network.name for row in of_kind)]
        groups += [_group(kind, name, [row for row in of_kind if row["network"] == name]) for name in names]
        if of_kind:
            groups.append(_group(kind, "all", of_kind))
    return {"groups": groups}


def _group(kind: str, name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    verdicts = Counter(row["verdict"] for row in rows)
    right = verdicts["slower"] if kind != "A/A" else verdicts["same"] + verdicts["inconclusive"]
    truth = 1.0 if kind == "A/A" else math.exp(float(np.mean([math.log(row["ratio"]) for row in rows])))
    return {
        "kind": kind,
        "network": name,
        "pairs": len(rows),
        **{verdict: verdicts[verdict] for verdict in VERDICTS},
        "right": right / len(rows),
        "right_ci95": list(_wilson(right, len(rows))),
        "mean_ratio": math.exp(float(np.mean([math.log(row["ratio"]) for row in rows]))),
        "covered": sum(row["ci95"][0] <= truth <= row["ci95"][1] for row in rows) / len(rows),
        "half_width": float(np.median([math.log(row["ci95"][1] / row["ci95"][0]) / 2 for row in rows])),
        "p50_ms": float(np.median([row["p50_ms"] for row in rows])),
        "starts": float(np.median([row["starts"] for row in rows])),
        "seconds": float(np.median([row["seconds"] for row in rows])),
        "load": [min(row["load"] for row in rows), max(row["load"] for row in rows)],
        "noisy": sum(row["noise"] == "noisy" for row in rows),
    }


def _wilson(right: int, count: int) -> tuple[float, float]:
    share, z2 = right / count, Z_95 * Z_95
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return middle - half, middle + half


def table(found: dict[str, Any]) -> str:
    """Return the summary as a table of Markdown."""
    columns = ("pairs of", "network", "p50", "pairs", *VERDICTS, "right", "mean ratio", "interval ±", "seconds", "load")
    head = f"| {' | '.join(columns)} |"
    lines = [head, "| --- " * (head.count("|") - 1) + "|"]
    for group in found["groups"]:
        low, high = group["load"]
        lines.append(
            f"| {group['kind']} | {group['network']} | {group['p50_ms']:.3g} ms | {group['pairs']} | {group['same']} |"
            f" {group['inconclusive']} | {group['faster']} | {group['slower']} | {group['right']:.1%} |"
            f" {group['mean_ratio']:.4f} | {group['half_width']:.1%} | {group['seconds']:.1f} | {low:.1f} – {high:.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure what is missing, and print the summary of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="A/A pairs; default: 200.")
    parser.add_argument("--padded", type=int, default=100, help="Pairs with 5 %% more layers; default: 100.")
    parser.add_argument("--max-seconds", type=float, default=10.0, help="The budget of a pair; default: 10.")
    parser.add_argument("--threads", type=int, default=1, help="Of each inference; default: 1.")
    parser.add_argument("--out", type=Path, required=True, help="Where each pair is written down, a line of JSON.")
    parser.add_argument("--json", action="store_true", help="Print the summary as JSON as well.")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = Counter((row["kind"], row["network"]) for row in rows)
    with tempfile.TemporaryDirectory() as folder, given.out.open("a") as out:
        for kind, network in planned(given.pairs, given.padded):
            if done[kind, network.name] > 0:
                done[kind, network.name] -= 1
                continue
            row = measure(kind, network, Path(folder), max_seconds=given.max_seconds, threads=given.threads)
            rows.append(row)
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(
                f"{len(rows)}: {kind} {network.name} {row['ratio']:.4f} {row['verdict']} {row['seconds']} s",
                file=sys.stderr,
            )
    found = summary(rows) | {
        "max_seconds": given.max_seconds,
        "threads": given.threads,
        "machine": describe_machine(tuple(sorted(os.sched_getaffinity(0)))),
    }
    print(table(found))
    if given.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
