"""What a SavedModel or a Keras file holds: the analysis of a model, without TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py

from edge_ai.engine.formats.base import analysis_of, free_axes, warning
from edge_ai.engine.formats.keras_config import check_keras_file, unreadable, weights_of
from edge_ai.engine.formats.keras_layers import walk
from edge_ai.engine.formats.saved_model_cost import CONTROL_FLOW, Weight, count
from edge_ai.engine.formats.saved_model_graph import read_graph
from edge_ai.engine.rehearse import survives

FLOATS: Final = ("float64", "float32", "float16", "bfloat16")
#: Wider integers are counters, seeds and tables.
PARAMETERS: Final = frozenset({*FLOATS, "int8", "uint8", "int4", "uint4"})
NAMES: Final = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
#: What is kept beside the weights.
NOT_WEIGHTS: Final = ("optimizer", "optimizer_weights", "_metrics", "_loss_tracker")
MAX_NAMES: Final = 8
#: Of processor time: a tenth of what unpacking takes, and what lists the weights takes milliseconds.
READ_BYTES_PER_SECOND: Final = 100 << 20
#: What following a description raises that lacks a part, or has something else in its place.
DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def describe_saved_model(folder: Path) -> dict[str, Any]:
    """Describe an unpacked SavedModel.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    graph = read_graph(folder)
    found = count(graph)
    inputs = [item.to_json() for item in graph.inputs]
    version = graph.meta.meta_info_def.tensorflow_version
    warnings = [_macs_unknown(found.unknown)] if found.unknown else []
    flow = sorted(CONTROL_FLOW & found.operators.keys())
    if flow:
        warnings.append(
            warning(
                "control_flow",
                f"The model decides while it runs what to compute ({', '.join(flow)}).",
                "Nothing: recurrent layers do. int8 with calibration is not made from them for TensorFlow Lite.",
            )
        )
    signatures = sorted(name for name in graph.meta.signature_def if not name.startswith("__"))
    return analysis_of(
        inputs=inputs,
        outputs=[item.to_json() for item in graph.outputs],
        operators=dict(found.operators.most_common()),
        node_count=sum(found.operators.values()),
        **_weight_facts(list(found.weights.values())),
        **_work_facts(found.work, found.unknown),
        producer=f"tensorflow {version}" if version else "tensorflow",
        dynamic_axes=free_axes(inputs),
        control_flow=flow,
        metadata={"signature": graph.signature, "signatures": ", ".join(signatures[:MAX_NAMES])},
        warnings=warnings,
    )


def describe_keras(path: Path) -> dict[str, Any]:
    """Describe a Keras file.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    # The HDF5 library runs without end on some damaged files, and crashes on others.
    seconds = 2 + path.stat().st_size // READ_BYTES_PER_SECOND
    if not survives(lambda: (check_keras_file(path), _keras_weights(path, {})), cpu_seconds=seconds):
        raise unreadable("It is damaged: reading it leads nowhere.")
    config = check_keras_file(path)
    try:
        found = walk(config.model)
    except DAMAGE as error:
        raise unreadable("What its description says of its layers makes no sense.") from error
    inputs = [item.to_json() for item in found.inputs]
    warnings = [_macs_unknown(found.unknown)] if found.unknown else []
    return analysis_of(
        inputs=inputs,
        outputs=[item.to_json() for item in found.outputs],
        operators=dict(found.operators.most_common()),
        node_count=sum(found.operators.values()),
        **_weight_facts(_keras_weights(path, found.layers)),
        **_work_facts(found.work, found.unknown),
        producer=f"keras {config.version}" if config.version else "keras",
        dynamic_axes=free_axes(inputs),
        metadata={"model": str(config.model.get("class_name", ""))},
        warnings=warnings,
    )


def _work_facts(work: Counter[str], unknown: set[str]) -> dict[str, Any]:
    if unknown:
        return {"macs": None, "macs_by_operator": None}
    return {"macs": sum(work.values()), "macs_by_operator": dict(work.most_common())}


def _macs_unknown(operators: set[str]) -> dict[str, str]:
    names = ", ".join(sorted(operators)[:MAX_NAMES])
    return warning(
        "macs_unknown",
        f"The work of {names} depends on shapes that are only known when the model runs.",
        "Export the model with fixed shapes to see its multiply-accumulates.",
    )


def _weight_facts(weights: list[Weight]) -> dict[str, Any]:
    by_dtype: Counter[str] = Counter()
    by_operator: Counter[str] = Counter()
    for weight in weights:
        by_dtype[weight.dtype] += weight.size_bytes
        if weight.dtype in FLOATS and weight.operator is not None:
            by_operator[weight.operator] += weight.size_bytes
    floats = {name: by_dtype[name] for name in FLOATS if by_dtype[name]}
    return {
        "parameter_count": sum(weight.elements for weight in weights if weight.dtype in PARAMETERS),
        "weight_bytes": sum(by_dtype.values()),
        "weight_bytes_by_dtype": dict(by_dtype.most_common()),
        "weight_bytes_by_operator": dict(by_operator.most_common()),
        "precision": NAMES[max(floats, key=lambda name: floats[name])] if floats else None,
    }


def _keras_weights(path: Path, layers: Mapping[str, str]) -> list[Weight]:
    """Return the weights of a Keras file, each with the class of its layer."""
    found: list[Weight] = []

    def collect(group: Any, operator: str | None) -> None:
        own = group["vars"].attrs.get("name") if isinstance(group.get("vars"), h5py.Group) else None
        operator = layers.get(_text(own), operator)
        for name, item in group.items():
            if isinstance(item, h5py.Group) and name not in NOT_WEIGHTS:
                collect(item, layers.get(name, operator))
            elif isinstance(item, h5py.Dataset) and item.dtype.name in PARAMETERS:
                found.append(Weight(dtype=item.dtype.name, elements=int(item.size), operator=operator))

    with weights_of(path) as weights:
        collect(weights, None)
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
