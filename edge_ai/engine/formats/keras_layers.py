"""Walking the layers of a Keras model by its description: shapes, work and names, without Keras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge_ai.engine.formats.keras_cost import Shape, UnknownShapeError, layer_answer
from edge_ai.engine.runtime.base import Tensor

NETWORKS: Final = frozenset({"Functional", "Model", "Sequential"})
#: A tensor of a network: the layer that makes it, at which of its calls, and which of its answers.
Place = tuple[str, int, int]


@dataclass(kw_only=True)
class Walk:
    """What was found out about a network.

    Parameters
    ----------
    layers
        The class of each layer by its name, inputs left out; of inner networks the layers.
    shapes
        Of each tensor, for a batch of one, where it is known.
    work
        Multiply-accumulates by class.
    unknown
        Classes whose work is not known.
    operators
        How often layers of each class are called.
    inputs, outputs
        What the network takes and answers.
    """

    layers: dict[str, str] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    shapes: dict[Place, Shape] = field(default_factory=dict)
    work: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


def walk(model: Mapping[str, Any]) -> Walk:
    """Walk a network from its inputs to its outputs.

    Parameters
    ----------
    model
        ``{"class_name": …, "config": …}``.
    """
    found = Walk()
    layers = _layers(model)
    _walk_layers(model, None, found)
    produced = {_name(layer): layer for layer in layers}
    inputs = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    order = [place[0] for place in _places(model["config"], "input_layers")]
    inputs = [produced[name] for name in order if name in produced] or inputs
    found.inputs = [_input(layer) for layer in inputs] or _first_input(model, layers)
    outputs = _places(model["config"], "output_layers") or ([(_name(layers[-1]), 0, 0)] if layers else [])
    names = [place[0] for place in outputs]
    found.outputs = [
        Tensor(
            name=name if names.count(name) == 1 else f"{name}_{number}",
            dtype=_dtype(produced.get(name, {})),
            shape=None if place not in found.shapes else (None, *found.shapes[place][1:]),
        )
        for number, (name, place) in enumerate(zip(names, outputs, strict=True))
    ]
    return found


def _walk_layers(model: Mapping[str, Any], given: Sequence[Shape] | None, found: Walk) -> list[Shape]:
    """Walk a network that is given shapes, or its own; returns the shapes of its outputs."""
    shapes: dict[Place, Shape] = {}
    waiting = list(given) if given is not None else None
    layers = _layers(model)
    previous: Shape | None = waiting[0] if waiting and model["class_name"] == "Sequential" else None
    for layer in layers:
        name, kind, config = _name(layer), layer["class_name"], layer["config"]
        if kind == "InputLayer":
            own = _batch_of_one(_batch_shape(config))
            known = waiting.pop(0) if waiting else own
            if known is not None:
                shapes[name, 0, 0] = previous = known
            continue
        found.layers.setdefault(name, kind)
        if previous is None and not layer.get("inbound_nodes"):
            previous = _batch_of_one(_batch_shape(config))
        calls = list(_calls(layer, shapes)) or [[previous] if previous is not None else []]
        for number, inputs in enumerate(calls):
            if kind not in NETWORKS:
                found.operators[kind] += 1
            previous = _answer(layer, number, inputs, shapes, found)
    if given is None:
        found.shapes.update(shapes)
    wanted = _places(model["config"], "output_layers")
    if not wanted:
        return [previous] if previous is not None else []
    return [shapes[place] for place in wanted if place in shapes]


def _answer(
    layer: Mapping[str, Any], number: int, inputs: list[Shape | None], shapes: dict[Place, Shape], found: Walk
) -> Shape | None:
    name, kind = _name(layer), layer["class_name"]
    known = [shape for shape in inputs if shape is not None]
    try:
        if len(known) != len(inputs):
            raise UnknownShapeError(kind)
        if kind in NETWORKS:
            answers = _walk_layers(layer, known, found)
        else:
            answer, work = layer_answer(kind, layer["config"], known)
            answers = [answer]
            if work:
                found.work[kind] += work
    except UnknownShapeError:
        found.unknown.add(kind)
        if kind in NETWORKS:
            _walk_layers(layer, None, found)
        return None
    for place, answer in enumerate(answers):
        shapes[name, number, place] = answer
    return answers[0] if answers else None


def _calls(layer: Mapping[str, Any], shapes: Mapping[Place, Shape]) -> Iterator[list[Shape | None]]:
    """Yield for each call of a layer the shapes of its inputs: Keras 2 has lists, Keras 3 has arguments."""
    for node in layer.get("inbound_nodes") or ():
        if isinstance(node, Mapping):
            tensors = list(_tensors([node.get("args"), node.get("kwargs")]))
            yield [
                shapes.get((item["keras_history"][0], item["keras_history"][1], item["keras_history"][2]))
                or _batch_of_one(item.get("shape"))
                for item in tensors
            ]
        elif isinstance(node, list):
            inputs = [node] if node and isinstance(node[0], str) else node
            yield [shapes.get((item[0], item[1], item[2])) for item in inputs if isinstance(item, list)]


def _tensors(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _tensors(item)


def _layers(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    config = model["config"]
    layers = config if isinstance(config, list) else config.get("layers", [])
    return [layer for layer in layers if isinstance(layer, Mapping) and isinstance(layer.get("config"), Mapping)]


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer.get("name") or layer["config"].get("name") or "")


def _places(config: Any, key: str) -> list[Place]:
    """Return the tensors that a description lists, which may be one, or several in lists or objects."""
    found: list[Place] = []

    def collect(value: Any) -> None:
        if isinstance(value, Mapping):
            value = [value[name] for name in sorted(value)]
        if isinstance(value, list):
            if len(value) == 3 and isinstance(value[0], str) and isinstance(value[1], int):
                found.append((value[0], value[1], value[2]))
            else:
                for item in value:
                    collect(item)

    collect(config.get(key) if isinstance(config, Mapping) else None)
    return found


def _batch_shape(config: Mapping[str, Any]) -> Any:
    return config.get("batch_shape") or config.get("batch_input_shape")


def _batch_of_one(shape: Any) -> Shape | None:
    if not isinstance(shape, list) or not all(axis is None or isinstance(axis, int) for axis in shape):
        return None
    return tuple(1 if place == 0 and axis is None else axis for place, axis in enumerate(shape))


def _input(layer: Mapping[str, Any]) -> Tensor:
    shape = _batch_shape(layer["config"])
    return Tensor(name=_name(layer), dtype=_dtype(layer), shape=tuple(shape) if isinstance(shape, list) else None)


def _first_input(model: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    """Return the input of a sequence whose description does not list it."""
    config = model["config"]
    shape = config.get("build_input_shape") if isinstance(config, Mapping) else None
    shape = shape or (_batch_shape(layers[0]["config"]) if layers else None)
    if not layers or not isinstance(shape, list):
        return []
    return [Tensor(name=f"{_name(layers[0])}_input", dtype=_dtype(layers[0]), shape=tuple(shape))]


def _dtype(layer: Mapping[str, Any]) -> str:
    config = layer.get("config", {})
    policy = config.get("dtype", "float32")
    if isinstance(policy, Mapping):
        policy = policy.get("config", {}).get("name", "float32")
    name = str(policy)
    return name.removeprefix("mixed_") if name.startswith("mixed_") else name
