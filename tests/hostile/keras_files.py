"""Hostile Keras files."""

from __future__ import annotations

import base64
import io
import marshal
import pickle
import struct
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from benchmarks.fuzz.seeds import floats, hdf5, keras_archive, keras_config, keras_weights, legacy_h5, zipped
from tests.hostile.kinds import Bait, hostile


def layer(
    kind: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": registered}


def with_layer(added: dict[str, Any]) -> bytes:
    config = keras_config()
    config["config"]["layers"].append(added)
    return keras_archive(config)


def code_of(bait: Bait) -> str:
    """Return what Keras writes of a lambda: the code of a function that leaves the mark."""
    namespace: dict[str, Any] = {}
    exec(f"def f(x):\n open({str(bait.marker)!r}, 'w').close()\n return x", namespace)  # noqa: S102 - of this test's own
    return base64.b64encode(marshal.dumps(namespace["f"].__code__)).decode()


@hostile("keras-lambda", "runs code of a Lambda layer", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    function = {"class_name": "__lambda__", "config": {"code": code_of(bait), "defaults": None, "closure": None}}
    return with_layer(layer("Lambda", name="l", function=function))


@hostile("h5-lambda", "runs code of a Lambda layer of Keras 2", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    config = {"name": "l", "function": [code_of(bait), None, None], "function_type": "lambda", "module": "builtins"}
    layers = [{"class_name": "Lambda", "config": config | {"batch_input_shape": [None, 4]}}]
    return legacy_h5({"class_name": "Sequential", "config": {"name": "s", "layers": layers}})


@hostile("keras-foreign-module", "names a class of any module", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_layer(layer("Popen", "subprocess", args=["touch", str(bait.marker)]))


@hostile("keras-foreign-function", "names a function of any module", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    activation = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    return with_layer(layer("Activation", name="a", activation=activation))


@hostile("keras-builtin-function", "has Python's own exec for an activation", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    activation = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"}
    return with_layer(layer("Activation", name="a", activation=activation))


@hostile("keras-registered-class", "names a class that somebody registered", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_layer(layer("Dense", None, "evil>Dense", name="d", units=2))


@hostile("keras-loads-model", "has a function that loads another model", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    activation = {
        "module": "keras.models",
        "class_name": "function",
        "config": "load_model",
        "registered_name": "function",
    }
    return with_layer(layer("Activation", name="a", activation=activation))


@hostile("keras-saved-model-layer", "loads a SavedModel from anywhere as a layer", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_layer(layer("TFSMLayer", name="t", filepath=str(bait.secret_file.parent)))


@hostile("keras-vocabulary", "reads a file as the words of a table", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_layer(layer("StringLookup", name="s", vocabulary=str(bait.secret_file)))


@hostile("keras-pickled-weights", "keeps its weights as a pickle", "analysis", "model_unreadable", "model_unsafe")
def _(bait: Bait) -> bytes:
    held = io.BytesIO()
    np.savez(held, weights=np.array([Payload(str(bait.marker))], object), allow_pickle=True)
    archive = {"metadata.json": b"{}", "config.json": b'{"class_name": "Sequential", "config": {"layers": []}}'}
    return zipped(archive | {"model.weights.npz": held.getvalue()})


class Payload:
    """Leaves the mark when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.marker, "w")


def pickled(bait: Bait, protocol: int) -> bytes:
    return pickle.dumps(Payload(str(bait.marker)), protocol=protocol)


def weights_with(fill: Callable[[h5py.File], None]) -> bytes:
    def write(file: Any) -> None:
        keras_weights(file)
        fill(file)

    return keras_archive(weights=hdf5(write))


@hostile("hdf5-external-storage", "has HDF5 read a file as weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(file: h5py.File) -> None:
        file.create_dataset("layers/dense/vars/2", (8,), "f4", external=[(str(bait.secret_file), 0, 32)])

    return weights_with(fill)


@hostile("hdf5-external-link", "links to another HDF5 file", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(file: h5py.File) -> None:
        file["layers/dense/vars/2"] = h5py.ExternalLink(str(bait.secret_file), "/")

    return weights_with(fill)


@hostile("hdf5-soft-link", "links to elsewhere in itself", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(file: h5py.File) -> None:
        file["layers/dense/vars/2"] = h5py.SoftLink("/layers")

    return weights_with(fill)


@hostile("hdf5-virtual", "puts a data set together from other files", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((8,), "f4")
        layout[:] = h5py.VirtualSource(str(bait.secret_file), "secret", (8,))
        file.create_virtual_dataset("layers/dense/vars/2", layout)

    return weights_with(fill)


@hostile("h5-linked-weights", "has all of its weights in another file", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    with h5py.File(bait.secret_file.with_name("secret.h5"), "w") as other:
        other.create_dataset("weights/dense/kernel:0", data=floats(4, 3))

    def link(file: Any) -> None:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(str(bait.secret_file.with_name("secret.h5")), "/weights")

    return legacy_h5(more=link)


@hostile("hdf5-bomb", "unpacks 100 KB to 2.6 GB of weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(file: h5py.File) -> None:
        chunk = 16 << 20
        made = file.create_dataset("layers/dense/vars/2", (40 * chunk,), "f4", chunks=(chunk,), compression="gzip")
        packed = zlib.compress(bytes(4 * chunk), 9)
        made.id.write_direct_chunk((0,), packed)

    return weights_with(fill)


@hostile("keras-deep-description", "nests lists until a walk's stack is full", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    nested: list[Any] = []
    for _ in range(400):
        nested = [nested]
    return with_layer(layer("Dense", name="d", units=2, kernel_initializer=nested))


@hostile("keras-endless-description", "nests lists until a parser's stack is full", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    text = b'{"class_name": "Sequential", "config": {"layers": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    return zipped({"metadata.json": b"{}", "config.json": text, "model.weights.h5": hdf5(keras_weights)})


@hostile("keras-far-address", "says that its weights go on beyond any file", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    weights = bytearray(hdf5(keras_weights))
    # Of the block that describes the driver.
    struct.pack_into("<Q", weights, 48, 1 << 63)
    return keras_archive(weights=bytes(weights))


@hostile("keras-giant-numbers", "has sizes of 4,000 digits", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return with_layer(layer("Dense", name="d", units=10**4000))


@hostile("keras-no-numbers", "has sizes that are no numbers", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return with_layer(layer("Dense", name="d", units=float("nan")))


@hostile("keras-self-call", "has a description whose parts lack each other", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    config = keras_config()
    config["config"]["layers"][1] = {"config": {"name": "dense"}, "inbound_nodes": [["dense", 0]]}
    return keras_archive(config)
