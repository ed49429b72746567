"""What the options of an optimization ask for to make a network smaller, done in a sensible order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import onnx

from edge_ai.engine.compress import cluster, deduplicate, prune, simplify
from edge_ai.engine.compress.base import Applied
from edge_ai.engine.compress.sizes import measure_sizes
from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.formats.onnx import read_model, write_model
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Precision

_LIBRARY_FAILURES: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_FLOAT: Final = frozenset({Precision.FP32, Precision.FP16})

Step = Callable[[onnx.ModelProto], Applied]


def compress(
    source: Path,
    target: Path,
    options: OptimizeOptions,
    workdir: Path,
    *,
    precision: Precision | None = None,
    sample: Feed | None = None,
) -> list[dict[str, Any]]:
    """Write a smaller ONNX model: its equal weights joined, pruned, simplified, clustered, in this order.

    Pruning comes before simplification, which folds normalizations into weights: what is small then says less about what a
    weight is worth. Clustering comes last, since it hides weights from quantizers; after the other steps a model can be
    quantized like any other. Zeros that pruning made stay zero.

    Parameters
    ----------
    source
        An ONNX file; it is not changed.
    target
        Where the outcome is written, which may be what ``source`` is when there was nothing to do.
    workdir
        For temporary files.
    precision
        What the model becomes afterwards; weights that are transposes of each other are joined only where it stays in float.
    sample
        A feed to compare the simplified graph on; made up where there is none.

    Returns
    -------
    list of dict
        For each step, ready for JSON: ``step``, ``settings``, what was done, ``bytes_before``, ``bytes_after``,
        ``gzip_before``, ``gzip_after`` and ``note``.

    Raises
    ------
    EngineError
        What reading the model raises; ``unsupported_operator`` for a graph that a step cannot take; ``resource_limit``.
    """
    model = read_model(source)
    write_model(model, target)
    before = measure_sizes(target)
    reports = []
    for name, step in _steps(options, workdir, precision, sample):
        applied = _run(name, step, model)
        model = applied.model
        write_model(model, target)
        after = measure_sizes(target)
        reports.append(
            {
                "step": applied.step,
                "settings": dict(applied.settings),
                **applied.done,
                "bytes_before": before.raw,
                "bytes_after": after.raw,
                "gzip_before": before.gzip,
                "gzip_after": after.gzip,
                "note": applied.note,
            }
        )
        before = after
    return reports


def _steps(
    options: OptimizeOptions, workdir: Path, precision: Precision | None, sample: Feed | None
) -> Iterator[tuple[str, Step]]:
    if options.deduplicate:
        yield "deduplicate", lambda model: deduplicate.apply(model, transposed=precision in _FLOAT)
    if options.prune != "none":
        yield "prune", lambda model: prune.apply(model, method=options.prune, sparsity=options.sparsity)
    if options.simplify:
        yield "simplify", lambda model: simplify.apply(model, workdir=workdir, sample=sample, seed=options.seed)
    if options.cluster:
        yield "cluster", lambda model: cluster.apply(model, size=options.cluster)


def _run(name: str, step: Step, model: onnx.ModelProto) -> Applied:
    try:
        return step(model)
    except EngineError:
        raise
    except _LIBRARY_FAILURES as error:
        raise UnsupportedError(
            f"The graph is damaged or unusual, so it cannot be compressed ({name}: {type(error).__name__}).",
            code="unsupported_operator",
            fix=f"Leave out the option {name}.",
            field=f"options.{name}",
            details={"nearest": {"options": {name: False if name in {"simplify", "deduplicate"} else None}}},
        ) from error
