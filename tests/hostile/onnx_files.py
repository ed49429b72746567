"""Hostile ONNX and ORT files."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.fuzz.seeds import SEEDS, dense_onnx, zipped
from tests.hostile.kinds import ACCEPTED, Bait, hostile

GIANT = 50_000_000_000
ODD_NAME = "\x1b]0;own\x07\x1b[2J<script>alert(1)</script>\u202egnp.exe"


def value(name: str, shape: Any = None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes: list[NodeProto], *weights: TensorProto, functions: list[FunctionProto] | None = None) -> ModelProto:
    """Return a model from x [1, 4] to y."""
    graph = helper.make_graph(nodes, "hostile", [value("x", [1, 4])], [value("y")], list(weights))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made = helper.make_model(graph, opset_imports=imports, functions=functions or [])
    made.ir_version = 9
    return made


def outside(location: str, name: str = "w", offset: int | None = None, length: int | None = None) -> TensorProto:
    """Return a weight of 4 × 3 that is kept in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    for key, number in (("offset", offset), ("length", length)):
        if number is not None:
            tensor.external_data.add(key=key, value=str(number))
    return tensor


def reading(location: str, offset: int | None = None, length: int | None = None) -> ModelProto:
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], outside(location, offset=offset, length=length))


def up(bait: Bait) -> str:
    return os.path.relpath(bait.secret_file, bait.folder)


@hostile("onnx-external-parent", "reads a file by ../ as weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return bytes(reading(up(bait)).SerializeToString())


@hostile("onnx-external-backslash", "reads a file by ..\\ as weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return bytes(reading(up(bait).replace("/", "\\")).SerializeToString())


@hostile("onnx-external-absolute", "reads a file by its whole path as weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return bytes(reading(str(bait.secret_file)).SerializeToString())


@hostile("onnx-external-environment", "reads /proc/self/environ as weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return bytes(reading("/proc/self/environ", length=48).SerializeToString())


@hostile("onnx-external-device", "reads /dev/zero as weights, without end", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return bytes(reading("/dev/zero").SerializeToString())


@hostile("onnx-external-symlink", "reads a file through a symbolic link beside it", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    (bait.folder / "w.bin").symlink_to(bait.secret_file)
    return bytes(reading("w.bin").SerializeToString())


@hostile("onnx-external-folder-link", "reads a file through a link to its folder", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    (bait.folder / "data").symlink_to(bait.secret_file.parent)
    return bytes(reading(f"data/{bait.secret_file.name}").SerializeToString())


@hostile("onnx-external-hard-link", "reads a file through a hard link", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    (bait.folder / "w.bin").hardlink_to(bait.secret_file)
    return bytes(reading("w.bin").SerializeToString())


@hostile("onnx-external-fifo", "waits for ever for a pipe that nobody writes to", "analysis", "external_data_missing")
def _(bait: Bait) -> bytes:
    os.mkfifo(bait.folder / "w.bin")
    return bytes(reading("w.bin").SerializeToString())


@hostile("onnx-external-beyond", "reads behind the end of its weights", "analysis", "external_data_missing")
def _(bait: Bait) -> bytes:
    packed = {"m.onnx": reading("w.bin", offset=1 << 40).SerializeToString(), "w.bin": bytes(48)}
    return zipped(packed)


@hostile("onnx-external-address", "reads the memory of the process as weights", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    tag = "*/_ORT_MEM_ADDR_/*"
    return zipped({"m.onnx": reading(tag, offset=4096, length=48).SerializeToString(), tag: bytes(8192)})


@hostile("onnx-external-in-function", "hides a foreign path in a graph inside a function", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    inner = helper.make_node("Constant", [], ["c"])
    inner.attribute.add(name="value", type=4).t.CopyFrom(outside(str(bait.secret_file)))
    branch = helper.make_graph([inner], "branch", [], [value("c")])
    choose = helper.make_node("If", ["flag"], ["b"], then_branch=branch, else_branch=branch)
    nodes = [helper.make_node("Cast", ["a"], ["flag"], to=TensorProto.BOOL), choose]
    function = helper.make_function("local", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    return bytes(model([helper.make_node("F", ["x"], ["y"], domain="local")], functions=[function]).SerializeToString())


@hostile("onnx-external-sparse", "hides a foreign path in a sparse weight", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    made = dense_onnx()
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(outside(str(bait.secret_file), "s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(12), "i"))
    sparse.dims.extend([4, 3])
    return bytes(made.SerializeToString())


@hostile("onnx-endless-loop", "computes for ever, in 200 bytes", "benchmark", "resource_limit", wall_seconds=6.0)
def _(bait: Bait) -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["h"], ["k"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("h", [1, 4])],
        [value("on", [], TensorProto.BOOL), value("k", [1, 4])],
    )
    flag = numpy_helper.from_array(np.array(True), "flag")
    return bytes(model([helper.make_node("Loop", ["", "flag", "x"], ["y"], body=body)], flag).SerializeToString())


@hostile("onnx-nested-if", "has runtimes try 2^24 ways through nested branches", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "leaf", [], [value("o")])
    for _ in range(24):
        choose = helper.make_node("If", ["flag"], ["o"], then_branch=graph, else_branch=GraphProto())
        graph = helper.make_graph([choose], "branch", [], [value("o")])
    choose = helper.make_node("If", ["flag"], ["y"], then_branch=graph, else_branch=graph)
    return bytes(model([choose], numpy_helper.from_array(np.array(True), "flag")).SerializeToString())


@hostile("onnx-deep-protobuf", "nests messages until a parser's stack is full", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    made, data = dense_onnx(), b""
    for _ in range(20_000):
        # A node with an attribute with a graph with a node, without end.
        for tag in (b"\x0a", b"\x2a", b"\x32"):
            data = tag + _varint(len(data)) + data
            if len(data) > 200_000:
                break
    node = b"\x0a" + _varint(len(data)) + data
    return bytes(made.SerializeToString()) + b"\x3a" + _varint(len(node)) + node


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def shaped(node: Callable[[str], list[NodeProto]], shape: list[int]) -> bytes:
    weight = numpy_helper.from_array(np.array(shape, np.int64), "shape")
    nodes = [*node("shape"), helper.make_node("ReduceMax", ["big"], ["y"], keepdims=0)]
    return bytes(model(nodes, weight).SerializeToString())


@hostile("onnx-200gb-constant", "asks for 200 GB in 100 bytes", "benchmark", "resource_limit")
def _(bait: Bait) -> bytes:
    return shaped(lambda shape: [helper.make_node("ConstantOfShape", [shape], ["big"])], [GIANT])


@hostile("onnx-200gb-expand", "unfolds four numbers to 200 GB", "benchmark", "resource_limit")
def _(bait: Bait) -> bytes:
    return shaped(lambda shape: [helper.make_node("Expand", ["x", shape], ["big"])], [GIANT // 4, 4])


@hostile("onnx-200gb-range", "counts to 5 · 10¹⁰ in memory", "benchmark", "resource_limit")
def _(bait: Bait) -> bytes:
    ends = [
        numpy_helper.from_array(np.array(number, np.float32), name)
        for name, number in (("a", 0), ("b", 5e10), ("c", 1))
    ]
    nodes = [
        helper.make_node("Range", ["a", "b", "c"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["y"], keepdims=0),
    ]
    return bytes(model(nodes, *ends).SerializeToString())


@hostile("onnx-200gb-input", "has an input of 4 TB made up", "benchmark", "resource_limit")
def _(bait: Bait) -> bytes:
    made = dense_onnx()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 38
    return bytes(made.SerializeToString())


@hostile("onnx-sparse-bomb", "unfolds a sparse weight to 200 GB", "benchmark", "model_unreadable")
def _(bait: Bait) -> bytes:
    made = dense_onnx()
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "i"))
    sparse.dims.extend([GIANT])
    return bytes(made.SerializeToString())


def function(name: str, *calls: str) -> FunctionProto:
    names = ["a", *(f"t{place}" for place in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(call, [names[place]], [names[place + 1]], domain="" if call == "Neg" else "local")
        for place, call in enumerate(calls)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], ["b"], nodes, imports)


@hostile("onnx-function-recursion", "has a function that calls itself", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    functions = [function("F", "G"), function("G", "F")]
    return bytes(model([helper.make_node("F", ["x"], ["y"], domain="local")], functions=functions).SerializeToString())


@hostile("onnx-function-bomb", "unfolds functions to 2^40 operators", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    functions = [function("F0", "Neg"), *(function(f"F{n}", f"F{n - 1}", f"F{n - 1}") for n in range(1, 41))]
    return bytes(
        model([helper.make_node("F40", ["x"], ["y"], domain="local")], functions=functions).SerializeToString()
    )


def claiming(*dims: int, data: bytes = bytes(48)) -> bytes:
    made = dense_onnx()
    weight = made.graph.initializer[0]
    del weight.dims[:]
    weight.dims.extend(dims)
    weight.raw_data = data
    return bytes(made.SerializeToString())


@hostile("onnx-endless-shape", "multiplies a million sizes", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return claiming(*[2**62] * 1_000_000)


@hostile("onnx-negative-shape", "claims negative sizes", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return claiming(-4, 3)


@hostile(
    "onnx-overflowing-shape", "claims sizes whose product overflows to what is there", "analysis", "model_unreadable"
)
def _(bait: Bait) -> bytes:
    return claiming(2**62, 4, 3, 2**2)


@hostile("onnx-giant-claim", "claims a weight of 4 TB in 48 bytes", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return claiming(2**20, 2**20)


@hostile("onnx-name-bomb", "has a name of 8 MB", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    made, name = dense_onnx(), "x" * (8 << 20)
    made.graph.input[0].name = made.graph.node[0].input[0] = name
    return bytes(made.SerializeToString())


@hostile("onnx-names", "has names that steer terminals and pages", "analysis", ACCEPTED)
def _(bait: Bait) -> bytes:
    made = dense_onnx()
    made.graph.input[0].name = made.graph.node[0].input[0] = ODD_NAME
    made.graph.node[0].name = made.producer_name = ODD_NAME
    made.metadata_props.add(key=ODD_NAME, value=ODD_NAME)
    return bytes(made.SerializeToString())


@hostile("onnx-bad-text", "has names that are no text", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    made = dense_onnx()
    made.producer_name = "PRODUCER"
    return bytes(made.SerializeToString()).replace(b"PRODUCER", b"\xff\xfe\x80RODUC")


@hostile("onnx-cycle", "has operators that wait for each other", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    return bytes(model([*nodes, helper.make_node("Neg", ["b"], ["y"])]).SerializeToString())


@hostile("onnx-custom-operator", "asks for an operator of somebody's library", "benchmark", "unsupported_operator")
def _(bait: Bait) -> bytes:
    made = model([helper.make_node("Load", ["x"], ["y"], domain="com.evil", library=str(bait.secret_file))])
    made.opset_import.add(domain="com.evil", version=1)
    made.graph.output[0].CopyFrom(value("y", [1, 4]))
    return bytes(made.SerializeToString())


@hostile("ort-damaged", "leads ONNX Runtime's flatbuffer out of the file", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    data = bytearray(SEEDS["ort"]()[1])
    for place in range(16, len(data) - 4, 40):
        data[place : place + 4] = struct.pack("<I", 0x7FFFFFF0)
    return bytes(data)
