"""Simplifying a graph: constants folded, nodes that do nothing removed, equal ones joined. The outcome is checked."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxslim

from edge_ai.engine.compress.base import Applied, ready
from edge_ai.engine.convert.onnx_prepare import GROWTH_BYTES, MAX_GROWTH, drop_unused_domains, fold
from edge_ai.engine.errors import EngineError
from edge_ai.engine.evaluate.representative import make_up_feeds
from edge_ai.engine.formats.onnx import read_model, subgraphs, write_model
from edge_ai.engine.measure.session import explained
from edge_ai.engine.runtime.base import Array, Feed
from edge_ai.engine.runtime.onnx import OnnxSession, open_session
from edge_ai.engine.spec import Format

LARGEST_FOLDED: Final = 1 << 20
"""Bytes of a table that a graph computes from a few numbers, above which it stays computed; lower when the file grows."""

SMALL_FOLDED: Final = 1024

TOLERANCE: Final = 1e-4
"""By how much an output may differ, as a share of its largest number: simplifying changes the order of sums."""

ABSOLUTE: Final = 1e-6

Make = Callable[[onnx.ModelProto], onnx.ModelProto | None]


def apply(model: onnx.ModelProto, *, workdir: Path, sample: Feed | None = None, seed: int = 0) -> Applied:
    """Simplify a graph with onnxslim; with onnxruntime where that fails; not at all where neither computes the same.

    An outcome is taken when it has the inputs and outputs of the model, loads in onnxruntime, answers one feed as the model
    does, and is not larger than it by more than what folded constants are worth.

    Parameters
    ----------
    model
        It is not changed, but for weights that become initializers.
    workdir
        For temporary files.
    sample
        What to compare answers on; made up where there is none.
    """
    ready(model)
    nodes = _count_nodes(model)
    size = model.ByteSize()
    compared = _Comparison(model, workdir, sample, seed)
    refused: list[str] = []
    for tool, make in _ways(workdir):
        made = make(model)
        if made is None:
            refused.append(f"{tool} failed on this graph")
            continue
        _restore(model, made)
        fault = _too_large(made, size) or compared.fault(made)
        if fault is None:
            done = {"tool": tool, "nodes_before": nodes, "nodes_after": _count_nodes(made), "checked": compared.checked}
            return Applied(step="simplify", model=made, settings={}, done=done, note=_note(compared, refused))
        refused.append(f"what {tool} made {fault}")
    done = {"tool": None, "nodes_before": nodes, "nodes_after": nodes, "checked": compared.checked}
    note = f"The graph was left as it was: {'; '.join(refused)}."
    return Applied(step="simplify", model=model, settings={}, done=done, note=note)


def slim(model: onnx.ModelProto, largest: int = LARGEST_FOLDED) -> onnx.ModelProto | None:
    """Return what onnxslim makes of a model, which is not changed; ``None`` where it fails.

    Parameters
    ----------
    largest
        Constants of more bytes than this are not computed.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    logger = logging.getLogger("onnxslim")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            made: onnx.ModelProto = onnxslim.slim(copy, size_threshold=largest)
        except Exception:
            # It raises whatever its patterns run into; there is another way.
            return None
    return made


def _ways(workdir: Path) -> Iterator[tuple[str, Make]]:
    yield "onnxslim", slim
    yield "onnxslim without folding tables", lambda model: slim(model, SMALL_FOLDED)
    yield "onnxruntime", lambda model: _fold(model, workdir)


def _fold(model: onnx.ModelProto, workdir: Path) -> onnx.ModelProto | None:
    source, target = workdir / "unfolded.onnx", workdir / "folded.onnx"
    try:
        write_model(model, source)
        return read_model(target) if fold(source, target) else None
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def _restore(model: onnx.ModelProto, made: onnx.ModelProto) -> None:
    """Give a model what the tools drop (descriptions, inputs that nothing reads), and take the shapes that they add."""
    drop_unused_domains(made)
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    known = {value.name for value in model.graph.value_info}
    told = [value for value in made.graph.value_info if value.name in known]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in told]
    del made.graph.value_info[:]
    made.graph.value_info.extend(copies)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    made.domain, made.model_version, made.doc_string = model.domain, model.model_version, model.doc_string
    made.ir_version = max(made.ir_version, model.ir_version)
    made.graph.name = model.graph.name
    if {value.name for value in made.graph.input} <= {value.name for value in model.graph.input}:
        del made.graph.input[:]
        made.graph.input.extend(model.graph.input)


def _count_nodes(model: onnx.ModelProto) -> int:
    return sum(len(graph.node) for graph in subgraphs(model.graph))


def _too_large(made: onnx.ModelProto, size: int) -> str | None:
    return "is larger" if made.ByteSize() > size * MAX_GROWTH + GROWTH_BYTES else None


def _note(compared: _Comparison, refused: Sequence[str]) -> str:
    words = [f"Not used: {'; '.join(refused)}."] if refused else []
    if not compared.checked:
        words.append("The outcome loads, but its answers were not compared: the model did not run on made-up input.")
    return " ".join(words)


class _Comparison:
    """Holds what the tools make against what the model answers."""

    def __init__(self, model: onnx.ModelProto, workdir: Path, sample: Feed | None, seed: int) -> None:
        self._path = workdir / "simplified.onnx"
        self._signature = _signature(model)
        self._feed: Feed = {}
        self._expected: list[Any] | None = None
        with contextlib.suppress(EngineError):
            session = self._open(model)
            self._feed = sample or make_up_feeds(session.inputs, count=1, seed=seed).feeds[0]
            self._expected = _answers(session, self._feed)

    @property
    def checked(self) -> bool:
        """Answers are compared."""
        return self._expected is not None

    def fault(self, made: onnx.ModelProto) -> str | None:
        """Say what is wrong with an outcome, or ``None``."""
        if _signature(made) != self._signature:
            return "has other inputs or outputs"
        try:
            session = self._open(made)
            if self._expected is None:
                return None
            answers = _answers(session, self._feed)
        except EngineError:
            return "does not run"
        same = all(_alike(x, y) for x, y in zip(self._expected, answers, strict=True))
        return None if same else "computes something else"

    def _open(self, model: onnx.ModelProto) -> OnnxSession:
        try:
            write_model(model, self._path)
            return open_session(self._path, Format.ONNX, threads=1)
        finally:
            self._path.unlink(missing_ok=True)


def _answers(session: OnnxSession, feed: Feed) -> list[Array]:
    with explained("run", {"model_path": ""}):
        return session.run(feed)


def _signature(model: onnx.ModelProto) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    inputs = tuple((value.name, value.type.tensor_type.elem_type) for value in model.graph.input)
    return inputs, tuple(value.name for value in model.graph.output)


def _alike(expected: Any, answer: Any) -> bool:
    if not isinstance(expected, np.ndarray):
        return bool(repr(expected) == repr(answer))
    x: Array = expected
    y: Array = np.asarray(answer)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.dtype.kind != "f":
        return bool(np.array_equal(x, y))
    usable = x[np.isfinite(x)]
    largest = float(np.abs(usable).max()) if usable.size else 0.0
    return bool(np.allclose(x, y, rtol=TOLERANCE, atol=ABSOLUTE + TOLERANCE * largest, equal_nan=True))
