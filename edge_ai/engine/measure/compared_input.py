"""What models are fed when they are compared: the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.evaluate.dataset import Dataset, load_dataset
from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.evaluate.task import required_batch
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.measure.inputs import Feed, dataset_feeds, made_up_feeds
from edge_ai.engine.measure.interleave import Candidate
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Tensor
from edge_ai.engine.spec import Format


def candidates_of(
    models: Sequence[tuple[Path, Format]], dataset: Path | None, workdir: Path, names: Sequence[str]
) -> tuple[list[Candidate], str]:
    """Unpack the models and prepare what each is fed; also returns where that comes from."""
    samples = None if dataset is None else load_dataset(dataset)
    called = list(names) or [path.name for path, _ in models]
    opened: list[tuple[Path, Format, Sequence[Tensor]]] = []
    for place, (path, format) in enumerate(models):
        if format not in RUNS_HERE:
            raise UnsupportedError(
                f"“{called[place]}” is a model in the format {format}, which cannot be run on this machine.",
                code="unsupported_conversion",
                fix="Compare models in ONNX, TensorFlow Lite, Keras, SavedModel or OpenVINO.",
                details={"candidate": place, "nearest": {"format": str(Format.ONNX)}},
            )
        folder = workdir / f"compared-{place}"
        folder.mkdir(exist_ok=True)
        unpacked = handler_of(format).unpack(path, folder)
        opened.append((unpacked, format, open_model(unpacked, format, threads=1, optimize=False).inputs))
    all_inputs = [inputs for _, _, inputs in opened]
    feeds = _of_samples(all_inputs, samples) if samples is not None else _made_up(all_inputs, called)
    candidates = [
        Candidate(path=path, format=format, feeds=fed, name=name)
        for (path, format, _), fed, name in zip(opened, feeds, called, strict=True)
    ]
    return candidates, "random" if samples is None else "dataset"


def _of_samples(models: Sequence[Sequence[Tensor]], samples: Dataset) -> list[Sequence[Feed]]:
    found: list[Sequence[Feed]] = []
    for inputs in models:
        matched = samples.matched(inputs)
        found.append(dataset_feeds(inputs, matched, required_batch(inputs, matched.inputs)))
    return found


def _made_up(models: Sequence[Sequence[Tensor]], names: Sequence[str]) -> list[Sequence[Feed]]:
    """Make input up for one of the models that all of them take: what one leaves open, another may fix."""
    strange = 1
    for source in models:
        feeds: list[Sequence[Feed]] = []
        ours = made_up_feeds(source, 1)
        for inputs in models:
            try:
                paired = pair(source, inputs)
            except EngineError:
                break
            theirs = [translate(feed, paired, source, inputs) for feed in ours]
            if not all(_takes(item, theirs[0]) for item in inputs):
                break
            feeds.append(theirs)
        if len(feeds) == len(models):
            return feeds
        if source is models[0]:
            strange = max(1, len(feeds))
    raise UserInputError(
        f"“{names[strange]}” does not take the same input as “{names[0]}”.",
        code="not_comparable",
        fix="Compare models whose inputs have the same number, types and shapes, such as the variants of one model.",
        details={"candidate": strange, "name": names[strange]},
        field="models",
    )


def _takes(item: Tensor, feed: Feed) -> bool:
    array = feed.get(item.name)
    if array is None or item.shape is None:
        return array is not None
    return array.ndim == len(item.shape) and all(
        not isinstance(axis, int) or axis == size for axis, size in zip(item.shape, array.shape, strict=True)
    )
