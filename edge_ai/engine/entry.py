"""From the original to what the target's lane starts from: compressed, and converted from format to format."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.compress.rules import IN_FLOAT
from edge_ai.engine.convert.base import Conversion, Converted, convert
from edge_ai.engine.evaluate.kept import tensors_from_json, tensors_to_json
from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.making import Making
from edge_ai.engine.original import Asked, Original
from edge_ai.engine.routes import Edge, Route
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Feed, Tensor
from edge_ai.engine.spec import Format
from edge_ai.engine.stages import move

COMPRESSION: Final = ("simplify", "deduplicate", "prune", "sparsity", "cluster", "seed")
"""The options that decide what compression makes."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the lane starts from, and the key of all that made it so."""

    context: LaneContext
    key: str


@dataclass(frozen=True, kw_only=True)
class _Network:
    """The model on its way, with what it takes and answers, and the key of how it came about."""

    path: Path
    format: Format
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    key: str


def enter(making: Making, route: Route, original: Original, asked: Asked) -> Entry:
    """Convert the original to what the lane starts from.

    Raises
    ------
    EngineError
        What conversions and compression raise.
    """
    calibration: Sequence[Feed] = asked.calibration
    sample: Feed | None = asked.reference.feeds[0]
    network = _Network(
        path=original.path,
        format=original.format,
        inputs=asked.reference.inputs,
        outputs=asked.reference.outputs,
        key=making.stages.key("source"),
    )
    network = _compressed(making, network, sample)
    for number, edge in enumerate(route.edges):
        making.progress.stage("convert", 8 + 4 * number, f"Converting from {edge.source} to {edge.target}")
        before = network
        network = _converted(making, edge, before, sample, making.scratch / f"converted-{number}")
        names = pair(before.inputs, network.inputs)
        calibration = [translate(feed, names, before.inputs, network.inputs) for feed in calibration]
        sample = None if sample is None else translate(sample, names, before.inputs, network.inputs)
        network = _compressed(making, network, sample)
    context = LaneContext(
        model=network.path,
        format=network.format,
        inputs=network.inputs,
        outputs=network.outputs,
        precision=making.precision,
        level=making.spec.optimization_level,
        options=making.options,
        calibration=calibration,
        sample=sample,
        workdir=making.scratch,
        progress=making.progress,
        passes=making.passes,
        steps=making.steps,
        cautions=making.cautions,
    )
    return Entry(context=context, key=network.key)


def _converted(making: Making, edge: Edge, source: _Network, sample: Feed | None, folder: Path) -> _Network:
    """Go over one edge, or take what an earlier attempt made of it."""
    title = f"convert {edge.source} to {edge.target}"
    # Of the sample, conversions see no more than the sizes.
    sizes = None if sample is None else {name: [str(value.dtype), *value.shape] for name, value in sample.items()}
    key = making.stages.key("convert", source=source.key, edge=[edge.source, edge.target, edge.tool], sample=sizes)
    target = folder / f"model{_suffix(edge.target)}"
    folder.mkdir()
    kept = making.stages.take(key, title)
    if kept is not None:
        move(kept.files / target.name, target)
        value = kept.value
        making.note_reused(value["passes"])
        inputs, outputs = tensors_from_json(value["inputs"]), tensors_from_json(value["outputs"])
        done = Converted(settings=value["settings"], warnings=value["warnings"])
    else:
        began = time.monotonic()
        done = convert(
            edge,
            Conversion(
                source=source.path,
                target=target,
                workdir=folder,
                inputs=source.inputs,
                sample=sample,
                progress=making.progress,
            ),
        )
        seconds = making.note_pass(title, began, target)
        session = open_model(target, edge.target, threads=0, optimize=False)
        inputs, outputs = tuple(session.inputs), tuple(session.outputs)
        value = {
            "settings": dict(done.settings),
            "warnings": [dict(warning) for warning in done.warnings],
            "passes": making.passes[-1:],
            "inputs": tensors_to_json(inputs),
            "outputs": tensors_to_json(outputs),
        }
        making.stages.keep(key, value=value, seconds=seconds, files={target.name: target}, scope=edge.target)
    making.steps.append(
        {"step": "convert", "from": edge.source.value, "to": edge.target.value, "tool": edge.tool, **done.settings}
    )
    making.notices += [dict(warning) for warning in done.warnings]
    return _Network(path=target, format=edge.target, inputs=inputs, outputs=outputs, key=key)


def _compressed(making: Making, network: _Network, sample: Feed | None) -> _Network:
    """Make the network smaller where it passes as ONNX, once, before its precision is reduced."""
    target = making.scratch / "compressed" / "model.onnx"
    options = making.options
    if not options.compresses or network.format is not Format.ONNX or target.exists():
        return network
    making.progress.stage("compress", 12, "Compressing the network")
    key = making.stages.key(
        "compress",
        source=network.key,
        options={name: getattr(options, name) for name in COMPRESSION},
        in_float=making.precision in IN_FLOAT,
        # Simplifying compares on the sample.
        sample=_digest(sample) if options.simplify and sample is not None else None,
    )
    target.parent.mkdir()
    kept = making.stages.take(key, "compress")
    if kept is not None:
        move(kept.files / target.name, target)
        making.note_reused(kept.value["passes"])
        making.steps += kept.value["steps"]
    else:
        # Loads onnx, which most other routes do without.
        from edge_ai.engine.compress.steps import compress

        began = time.monotonic()
        steps = compress(network.path, target, options, target.parent, precision=making.precision, sample=sample)
        making.steps += steps
        seconds = making.note_pass("compress", began, target)
        value: dict[str, Any] = {"steps": steps, "passes": making.passes[-1:]}
        making.stages.keep(key, value=value, seconds=seconds, files={target.name: target}, scope=Format.ONNX)
    return _Network(path=target, format=network.format, inputs=network.inputs, outputs=network.outputs, key=key)


def _digest(feed: Feed) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(feed.items()):
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _suffix(format: Format) -> str:
    """Return what a converted model's name ends with; SavedModels are folders."""
    return {Format.SAVED_MODEL: "", Format.OPENVINO: ""}.get(format, f".{format.value}")
