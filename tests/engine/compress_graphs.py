"""Graphs to compress, and what the tests of compression ask of them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.engine.graphs import model_of, value, weight

Array = npt.NDArray[Any]


def answers(model: onnx.ModelProto, *feeds: Array) -> list[Array]:
    """Run a model on one array for each of its inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    found: list[Array] = session.run(None, dict(zip(names, feeds, strict=True)))
    return found


def optimized(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return the graph that onnxruntime runs, after its default optimizations."""
    path = folder / "optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def sqnr_db(reference: Array, other: Array) -> float:
    x, error = reference.astype(np.float64), reference.astype(np.float64) - other
    return float(10 * np.log10(np.sum(x**2) / np.sum(error**2)))


def branches(*, equal: bool = True, opset: int = 17) -> onnx.ModelProto:
    """Return an If over [batch, 32] whose branches multiply with matrices of their own, of the same name."""

    def branch(name: str, seed: int) -> onnx.GraphProto:
        node = helper.make_node("MatMul", ["x", "w"], [f"{name}_y"])
        return helper.make_graph(
            [node], name, [], [value(f"{name}_y", ["batch", 64])], [weight("w", 32, 64, seed=seed)]
        )

    node = helper.make_node(
        "If", ["flag"], ["y"], then_branch=branch("one", 1), else_branch=branch("two", 1 if equal else 2)
    )
    inputs = [value("flag", [], TensorProto.BOOL), value("x", ["batch", 32])]
    return model_of([node], inputs, [value("y", ["batch", 64])], opset=opset)


def loop_net(*, opset: int = 17) -> onnx.ModelProto:
    """Return a Loop that multiplies [batch, 32] three times with a matrix of its own."""
    inside = [
        helper.make_node("MatMul", ["before", "w"], ["h"]),
        helper.make_node("Tanh", ["h"], ["after"]),
        helper.make_node("Identity", ["go"], ["go_on"]),
    ]
    inputs = [value("turn", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("before", ["batch", 32])]
    outputs = [value("go_on", [], TensorProto.BOOL), value("after", ["batch", 32])]
    body = helper.make_graph(inside, "body", inputs, outputs, [weight("w", 32, 32, seed=6, scale=0.2)])
    weights = [numpy_helper.from_array(np.array(3), "turns"), numpy_helper.from_array(np.array(True), "yes")]
    node = helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)
    return model_of([node], [value("x", ["batch", 32])], [value("y", ["batch", 32])], weights, opset=opset)


def constant_net() -> onnx.ModelProto:
    """Return a dense layer 64 → 96 whose matrix is the value of a Constant node, and an odd number of weights after it."""
    nodes = [
        helper.make_node("Constant", [], ["w1"], value=weight("value", 64, 96, seed=1)),
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("MatMul", ["h", "w2"], ["y"]),
    ]
    return model_of(
        nodes, [value("x", ["batch", 64])], [value("y", ["batch", 2, 21])], [weight("w2", 2, 96, 21, seed=2)]
    )


def tied_net(*, transposed: bool = False) -> onnx.ModelProto:
    """Return an embedding of 50 words in 32 numbers, and a layer of the same weights, stored once more."""
    table = numpy_helper.to_array(weight("table", 50, 32, seed=3))
    again = np.ascontiguousarray(table.T) if transposed else table
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("MatMul", ["words", "again"], ["y"])
        if transposed
        else helper.make_node("Gather", ["again", "ids"], ["y"]),
    ]
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(again, "again")]
    outputs = [value("y", [None, 50 if transposed else 32])]
    if not transposed:
        outputs.append(value("words", [None, 32]))
    return model_of(nodes, [value("ids", [None], TensorProto.INT64)], outputs, weights)


def weights_of(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
