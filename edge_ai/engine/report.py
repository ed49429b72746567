"""What the result of an optimization says beside its figures: warnings and the recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edge_ai.engine import installed
from edge_ai.engine.plan import Caution
from edge_ai.engine.routes import TOOLS
from edge_ai.engine.spec import OptimizeOptions, OptimizeSpec

LITTLE_GAIN: Final = 1.1


def size_cautions(before: int, after: int, *, smaller_expected: bool) -> list[Caution]:
    """Say so when a variant is hardly smaller than its source, or larger.

    Parameters
    ----------
    before, after
        Sizes of the stored files in bytes.
    smaller_expected
        A conversion that keeps the precision promises nothing.
    """
    if not smaller_expected:
        return []
    if after >= before:
        return [
            Caution(
                code="variant_not_smaller",
                detail=f"The variant has {after:,} bytes, its source {before:,}: what was added outweighs what was saved.",
                fix="Keep the original, or choose fp16.",
            )
        ]
    if before / after < LITTLE_GAIN:
        return [
            Caution(
                code="little_gained",
                detail=f"The variant is only {100 * (1 - after / before):.1f} % smaller: most weights stayed.",
                fix="int8 changes convolutions, int8_dynamic does not; fp16 halves every weight.",
            )
        ]
    return []


def same_samples() -> Caution:
    """Say that the judgement is a kind one."""
    return Caution(
        code="same_samples",
        detail="The data set is small, so the same samples calibrated the variant and judged it.",
        fix="Give 200 samples or more.",
    )


def make_recipe(
    spec: OptimizeSpec,
    options: OptimizeOptions,
    *,
    precision: str,
    steps: Sequence[Mapping[str, object]],
    tools: Sequence[str],
    source: Path,
    dataset: Path | None,
    variant: Path,
    route: Sequence[str],
) -> dict[str, Any]:
    """Return all that it takes to make a variant again."""
    return {
        "recipe_version": 1,
        "route": list(route),
        "steps": [dict(step) for step in steps],
        "request": {
            "source_format": spec.source_format.value,
            "target_format": spec.target_format.value,
            "precision": precision,
            "optimization_level": spec.optimization_level.value,
        },
        "options": asdict(options) | {"exclude_layers": list(options.exclude_layers)},
        "versions": versions_of(tools),
        "hashes": {
            "source_sha256": sha256_of(source),
            "dataset_sha256": None if dataset is None else sha256_of(dataset),
            "variant_sha256": sha256_of(variant),
        },
    }


def versions_of(tools: Sequence[str]) -> dict[str, str]:
    """Return the versions of the distributions that some tools consist of, and NumPy's."""
    names = {name for tool in tools for name in TOOLS[tool].distributions} | {"numpy"}
    return installed.versions_of(sorted(names))


def sha256_of(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
