"""Small ONNX graphs whose figures can be worked out by hand, and data to feed them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Axes = Sequence[int | str | None]


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, str]] = []
        self.logs: list[tuple[str, str]] = []

    def stage(self, name: str, progress: int, message: str = "") -> None:
        self.stages.append((name, progress, message))

    def log(self, level: str, message: str) -> None:
        self.logs.append((level, message))


def value(name: str, shape: Axes, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name: str, *shape: int, seed: int = 0, scale: float = 1.0) -> onnx.TensorProto:
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(scale)
    return numpy_helper.from_array(array, name)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 9,
    domains: dict[str, int] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(weights))
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(name, number) for name, number in (domains or {}).items()]
    made = helper.make_model(graph, opset_imports=imports, producer_name="tests")
    made.ir_version = ir_version
    return made


def conv_net(*, opset: int = 17, batch: int | str = "batch") -> onnx.ModelProto:
    """Return 3×3 convolution (2 → 4, padded), ReLU, flatten, dense (4·6·6 → 5), softmax over [batch, 2, 6, 6]."""
    nodes = [
        helper.make_node("Conv", ["x", "cw", "cb"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "gw", "gb"], ["g"]),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]
    weights = [
        weight("cw", 4, 2, 3, 3, seed=1, scale=0.3),
        weight("cb", 4, seed=2, scale=0.1),
        weight("gw", 144, 5, seed=3, scale=0.1),
        weight("gb", 5, seed=4, scale=0.1),
    ]
    return model_of(nodes, [value("x", [batch, 2, 6, 6])], [value("y", [batch, 5])], weights, opset=opset)


def dense_net(*, hidden: int = 64) -> onnx.ModelProto:
    """Return two dense layers, 32 → ``hidden`` → 8, with a ReLU between them."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    weights = [weight("w1", 32, hidden, seed=1, scale=0.2), weight("w2", hidden, 8, seed=2, scale=0.2)]
    return model_of(nodes, [value("x", ["batch", 32])], [value("y", ["batch", 8])], weights)


def sharp_net() -> tuple[onnx.ModelProto, npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Return a network whose scores are so sharp that the least error turns its softmax over, inputs, and its answers."""
    model = conv_net()
    for tensor in model.graph.initializer:
        if tensor.name == "gw":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(3000), "gw"))
    x = samples(120, 2, 6, 6)
    x[::7] *= 10_000
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return model, x, np.asarray(session.run(None, {"x": x})[0].argmax(axis=1))


def trees() -> onnx.ModelProto:
    """Return a regressor of one tree with one decision: its numbers are attributes, not weights."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    return model_of([node], [value("x", [None, 4])], [value("y", [None, 1])], domains={"ai.onnx.ml": 3})


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def save_data(path: Path, **arrays: npt.NDArray[Any]) -> Path:
    np.savez(path, allow_pickle=False, **arrays)
    return path


def samples(*shape: int, seed: int = 5) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save_raw(model: onnx.ModelProto, path: Path) -> Path:
    """Write the bytes as they are: onnx.save would look after external data."""
    path.write_bytes(model.SerializeToString())
    return path


def endless_loop() -> onnx.ModelProto:
    """Return a Loop over [1, 4] whose condition is always true, and which counts no turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still_on"]),
            helper.make_node("Cos", ["state"], ["next_state"]),
        ],
        "body",
        [value("turn", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("state", [1, 4])],
        [value("still_on", [], TensorProto.BOOL), value("next_state", [1, 4])],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)
    return model_of([node], [value("x", [1, 4])], [value("y", [1, 4])], [yes])
