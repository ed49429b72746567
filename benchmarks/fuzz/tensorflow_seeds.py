"""Honest Keras files and SavedModels, small, made by code."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.fuzz.parts import floats, zipped


def keras_config() -> dict[str, Any]:
    """Return what Keras 3 writes of a small sequence of layers."""
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}

    def layer(kind: str, **config: Any) -> dict[str, Any]:
        name = config["name"]
        given = {"trainable": True, "dtype": policy} | config
        return {"module": "keras.layers", "class_name": kind, "config": {"name": name} | given, "registered_name": None}

    layers = [
        layer("InputLayer", name="x", batch_shape=[None, 4], dtype="float32", sparse=False),
        layer("Dense", name="dense", units=3, activation="relu", use_bias=True),
        layer("Dense", name="answer", units=2, activation="softmax", use_bias=True),
    ]
    config = {"name": "seed", "trainable": True, "dtype": policy, "layers": layers, "build_input_shape": [None, 4]}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": config,
        "registered_name": None,
        "build_config": {"input_shape": [None, 4]},
    }


def hdf5(fill: Callable[[Any], None]) -> bytes:
    """Return an HDF5 file that ``fill`` was given to write to."""
    import h5py

    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        fill(file)
    return held.getvalue()


def keras_weights(file: Any) -> None:
    """Write the weights of :func:`keras_config` as Keras 3 does."""
    for name, shapes in (("dense", [(4, 3), (3,)]), ("dense_1", [(3, 2), (2,)])):
        variables = file.create_group(f"layers/{name}/vars")
        for number, shape in enumerate(shapes):
            variables.create_dataset(str(number), data=floats(*shape))


def keras_archive(config: Mapping[str, Any] | None = None, weights: bytes | None = None) -> bytes:
    """Return an archive of Keras 3."""
    metadata = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}
    files = {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": json.dumps(keras_config() if config is None else config).encode(),
        "model.weights.h5": hdf5(keras_weights) if weights is None else weights,
    }
    return zipped(files)


def legacy_h5(config: Mapping[str, Any] | None = None, more: Callable[[Any], None] | None = None) -> bytes:
    """Return a file as Keras 2 wrote it."""
    given = config or {
        "class_name": "Sequential",
        "config": {
            "name": "seed",
            "layers": [
                {
                    "class_name": "Dense",
                    "config": {"name": "dense", "units": 3, "batch_input_shape": [None, 4], "activation": "relu"},
                }
            ],
        },
    }

    def fill(file: Any) -> None:
        file.attrs["model_config"] = json.dumps(given)
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"dense"])
        group = weights.create_group("dense")
        group.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        group.create_dataset("dense/kernel:0", data=floats(4, 3))
        group.create_dataset("dense/bias:0", data=floats(3))
        if more is not None:
            more(file)

    return hdf5(fill)


def saved_model_graph() -> Any:
    """Return the message of a SavedModel: one dense layer, whose weights are constants, behind a function."""
    from edge_ai.engine.formats.tensorflow_proto import saved_model_message

    message = saved_model_message()
    # The schema version, which this project's subset of the messages leaves out.
    message.MergeFromString(b"\x08\x01")
    meta = message.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.meta_info_def.tensorflow_version = "2.21.0"
    graph = meta.graph_def
    x = add_node(graph.node, "x", "Placeholder", dtype=1)
    x.attr["shape"].shape.dim.add(size=-1)
    x.attr["shape"].shape.dim.add(size=4)
    weight = add_node(graph.node, "w", "Const", dtype=1)
    tensor = weight.attr["value"].tensor
    tensor.dtype, tensor.tensor_content = 1, floats(4, 3).tobytes()
    for size in (4, 3):
        tensor.tensor_shape.dim.add(size=size)
    add_node(graph.node, "h", "MatMul", ["x", "w"], T=1)
    call = add_node(graph.node, "y", "PartitionedCall", ["h"])
    call.attr["f"].func.name = "inner"
    for side in ("Tin", "Tout"):
        call.attr[side].list.type.append(1)
    function = graph.library.function.add()
    function.signature.name = "inner"
    function.signature.input_arg.add(name="a", type=1)
    function.signature.output_arg.add(name="b", type=1)
    add_node(function.node_def, "relu", "Relu", ["a"], T=1)
    function.ret["b"] = "relu:activations:0"
    signature = meta.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for side, name, size in ((signature.inputs, "x", 4), (signature.outputs, "y", 3)):
        side[name].name, side[name].dtype = f"{name}:0", 1
        side[name].tensor_shape.dim.add(size=-1)
        side[name].tensor_shape.dim.add(size=size)
    return message


def add_node(nodes: Any, name: str, op: str, inputs: list[str] | None = None, **types: int) -> Any:
    """Add a node to a graph; ``types`` are attributes that name a type."""
    node = nodes.add(name=name, op=op, input=inputs or [])
    for key, number in types.items():
        node.attr[key].type = number
    return node


def saved_model(message: Any = None, **more: bytes) -> bytes:
    """Return a zipped SavedModel."""
    made = saved_model_graph() if message is None else message
    return zipped({"model/saved_model.pb": made.SerializeToString(), **more})
