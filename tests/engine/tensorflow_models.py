"""Small TensorFlow models for tests, written once for each session of tests."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_ai.engine.convert import keras_to_saved_model
from edge_ai.engine.convert.base import Conversion
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Array, Feed, Tensor
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision


class Quiet:
    """Progress that nobody listens to."""

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Ignore a stage."""

    def log(self, level: str, message: str) -> None:
        """Ignore a message."""


def cnn() -> Any:
    """Return a network with ordinary, depthwise and dense layers; its work is counted by hand in the tests."""
    import keras

    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="first")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="valid")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(4, activation="softmax", name="classes")(x))


def recurrent() -> Any:
    """Return a network with an LSTM that has dropout, over a free number of steps."""
    import keras

    steps = keras.Input((None, 4), name="steps")
    x = keras.layers.LSTM(8, dropout=0.2)(steps)
    return keras.Model(steps, keras.layers.Dense(3, name="answer")(x))


def two_sided() -> Any:
    """Return a network with two inputs and two outputs, and an exact GELU."""
    import keras

    left, right = keras.Input((4,), name="left"), keras.Input((6,), name="right")
    joined = keras.layers.Dense(8, activation="gelu")(keras.layers.Concatenate()([left, right]))
    return keras.Model([left, right], [keras.layers.Dense(3, name="p")(joined), keras.layers.Dense(2, name="q")(left)])


def saved(make: Callable[[], Any], path: Path) -> Path:
    """Write a Keras network with weights from a fixed seed."""
    import keras

    keras.utils.set_random_seed(0)
    make().save(path)
    return path


def to_saved_model(source: Path, folder: Path) -> Path:
    """Convert a Keras file, once."""
    if not folder.exists():
        keras_to_saved_model.convert(conversion(source, folder, ()))
    return folder


def conversion(source: Path, target: Path, inputs: Sequence[Tensor], sample: Feed | None = None) -> Conversion:
    """Return a conversion to be done."""
    return Conversion(
        source=source, target=target, workdir=target.parent, inputs=inputs, sample=sample, progress=Quiet()
    )


def context(folder: Path, workdir: Path, precision: Precision, feeds: Sequence[Feed], **options: object) -> LaneContext:
    """Return what a lane is given for a SavedModel."""
    session = open_model(folder, Format.SAVED_MODEL, threads=1)
    return LaneContext(
        model=folder,
        format=Format.SAVED_MODEL,
        inputs=session.inputs,
        outputs=session.outputs,
        precision=precision,
        level=OptimizationLevel.BALANCED,
        options=OptimizeOptions.read(options),
        calibration=feeds,
        sample=feeds[0] if feeds else None,
        workdir=workdir,
        progress=Quiet(),
    )


def feeds_for(inputs: Sequence[Tensor], count: int, *, steps: int = 12, seed: int = 0) -> list[dict[str, Array]]:
    """Return feeds of normal numbers with a batch of one."""
    random = np.random.default_rng(seed)
    return [
        {
            item.name: random.normal(
                size=[1 if place == 0 else int(axis or steps) for place, axis in enumerate(item.shape or ())]
            ).astype(item.dtype)
            for item in inputs
        }
        for _ in range(count)
    ]


def sqnr_db(reference: Array, variant: Array) -> float:
    """Return the signal-to-noise ratio of a variant's answer in dB."""
    noise = np.sum((reference.astype(float) - variant) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(float) ** 2) / max(noise, 1e-30)))


def zipped(folder: Path, path: Path) -> Path:
    """Pack a folder as people do."""
    return Path(shutil.make_archive(str(path.with_suffix("")), "zip", folder))


def with_config(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write a copy of an archive of Keras 3 whose description was changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return target
