"""Keras to SavedModel: the inference of the network, with its batch left free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from edge_ai.engine.convert.base import Conversion, Converted
from edge_ai.engine.convert.tensorflow_freeze import argument_names
from edge_ai.engine.formats.saved_model_graph import GRAPH_FILE
from edge_ai.engine.runtime.tensorflow import explained, keras_function, keras_inputs, load_keras


def convert(conversion: Conversion) -> Converted:
    """Write the SavedModel folder of a Keras file; see :func:`edge_ai.engine.convert.base.convert`."""
    model = load_keras(conversion.source)
    with explained("convert"):
        inputs = keras_inputs(model)
        names = argument_names([item.name for item in inputs])
        specs = [
            tf.TensorSpec(item.shape, tf.as_dtype(item.dtype), name=name)
            for item, name in zip(inputs, names, strict=True)
        ]
        write_saved_model(keras_function(model, specs), conversion.target)
    return Converted(settings={"converter": "tensorflow", "version": tf.__version__, "signature": "serving_default"})


def write_saved_model(function: Any, target: Path) -> None:
    """Save a concrete function, with the variables that it uses, as a SavedModel's only signature."""
    holder = tf.Module()
    holder.held = function.graph.variables
    options = tf.saved_model.SaveOptions(experimental_debug_stripper=True)
    tf.saved_model.save(holder, str(target), signatures=function, options=options)
    # Maps are written in any order otherwise.
    graph = saved_model_pb2.SavedModel.FromString((target / GRAPH_FILE).read_bytes())
    (target / GRAPH_FILE).write_bytes(graph.SerializeToString(deterministic=True))
    # It holds a random number, and nobody needs it.
    (target / "fingerprint.pb").unlink(missing_ok=True)
