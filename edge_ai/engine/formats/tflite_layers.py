"""The layers of a TensorFlow Lite network: what each operator computes with, what it costs, and the weights it is there for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from edge_ai.engine.formats.tflite_cost import macs_of
from edge_ai.engine.formats.tflite_facts import ModelFacts, OperatorFacts, SubgraphFacts, TensorFacts
from edge_ai.engine.layers import Layer, Shape, listed


def layers_of(
    model: ModelFacts,
    *,
    name_of: Callable[[OperatorFacts], str],
    is_parameter: Callable[[TensorFacts], bool],
    passing: Collection[str],
) -> dict[str, Any]:
    """Return the ``layers`` of an analysis: the operators of the network, then those of the parts that it runs.

    Parameters
    ----------
    passing
        Operators that only hand weights on: the reader behind them is what the weights are there for.
    """
    seen: set[int] = set()

    def layers() -> Iterator[Layer]:
        for graph in model.subgraphs:
            handed: dict[int, TensorFacts] = {}
            for operator in graph.operators:
                name = name_of(operator)
                read = _weights_read(graph, operator, seen, handed)
                if name in passing and operator.outputs and read:
                    handed[operator.outputs[0]] = read[0]
                    read = []
                yield _layer(graph, operator, name, [each for each in read if is_parameter(each)])

    return listed(layers(), count=sum(len(graph.operators) for graph in model.subgraphs))


def _weights_read(
    graph: SubgraphFacts, operator: OperatorFacts, seen: set[int], handed: dict[int, TensorFacts]
) -> list[TensorFacts]:
    """Return the constants that an operator is the first to read; several tensors may share the bytes of one."""
    read = []
    for index in operator.inputs:
        tensor = handed.pop(index, None)
        if tensor is None and index >= 0 and graph.tensors[index].data is not None:
            tensor = graph.tensors[index]
            if tensor.buffer in seen:
                continue
            seen.add(tensor.buffer)
        if tensor is not None:
            read.append(tensor)
    return read


def _layer(graph: SubgraphFacts, operator: OperatorFacts, name: str, read: list[TensorFacts]) -> Layer:
    outputs = [graph.tensors[index] for index in operator.outputs if index >= 0]
    fed = [graph.tensors[index] for index in operator.inputs if index >= 0]
    main = max(read, key=lambda each: each.size_bytes, default=None) or next(iter(outputs or fed), None)
    return Layer(
        name=outputs[0].name if outputs else name,
        type=name,
        inputs=[_shape(each) for each in fed if each.data is None],
        outputs=[_shape(each) for each in outputs],
        parameters=sum(each.elements for each in read),
        weight_bytes=sum(len(each.data) if each.data is not None else 0 for each in read),
        macs=macs_of(graph, operator, name),
        precision=main.dtype if main is not None else None,
    )


def _shape(tensor: TensorFacts) -> Shape:
    return [axis if axis >= 0 else None for axis in tensor.signature]
