"""Hostile SavedModels and TensorFlow Lite files."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from benchmarks.fuzz.seeds import add_node, saved_model, saved_model_graph, tflite_model, zipped
from tests.hostile.kinds import Bait, hostile

STRING = 7


def text(nodes: Any, name: str, value: str) -> str:
    """Add a constant text."""
    node = add_node(nodes, name, "Const", dtype=STRING)
    tensor = node.attr["value"].tensor
    tensor.dtype = STRING
    tensor.string_val.append(value.encode())
    return name


def initialized(*operators: tuple[str, str, list[str]]) -> bytes:
    """Return a SavedModel that runs operators when it is loaded; ``operators`` are names, kinds and constant texts."""
    message = saved_model_graph()
    meta = message.meta_graphs[0]
    nodes = meta.graph_def.node
    for name, kind, texts in operators:
        inputs = [text(nodes, f"{name}_{place}", value) for place, value in enumerate(texts)]
        add_node(nodes, name, kind, inputs)
    add_node(nodes, "init", "NoOp", [f"^{name}" for name, _, _ in operators])
    signature = meta.signature_def["__saved_model_init_op"]
    signature.outputs["__saved_model_init_op"].name = "init"
    return saved_model(message)


@hostile("savedmodel-write-file", "writes a file while it is loaded", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return initialized(("w", "WriteFile", [str(bait.marker), "mark"]))


@hostile("savedmodel-read-file", "reads a file", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return initialized(("r", "ReadFile", [str(bait.secret_file)]))


@hostile("savedmodel-matching-files", "lists files", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return initialized(("m", "MatchingFiles", [f"{bait.secret_file.parent}/*"]))


@hostile("savedmodel-python", "calls Python", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return initialized(("p", "PyFunc", []))


@hostile("savedmodel-prints-to-file", "prints to a file", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    nodes = message.meta_graphs[0].graph_def.node
    node = add_node(nodes, "p", "PrintV2", [text(nodes, "t", "mark")])
    node.attr["output_stream"].s = f"file://{bait.marker}".encode()
    return saved_model(message)


@hostile("savedmodel-hidden-graph", "keeps a graph as text, and has it run", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return initialized(("d", "DatasetFromGraph", ["a serialized graph"]))


@hostile("savedmodel-in-function", "hides an operator in a function that another calls", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    function = message.meta_graphs[0].graph_def.library.function[0]
    add_node(function.node_def, "r", "ReadFile", [text(function.node_def, "t", str(bait.secret_file))])
    return saved_model(message)


@hostile("savedmodel-saves", "saves variables to any path when it is run", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    nodes = message.meta_graphs[0].graph_def.node
    add_node(
        nodes, "s", "SaveV2", [text(nodes, "prefix", str(bait.marker)), text(nodes, "n", "v"), text(nodes, "k", "")]
    )
    return saved_model(message)


@hostile("savedmodel-restores", "answers with variables of another model", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    nodes = message.meta_graphs[0].graph_def.node
    prefix = text(nodes, "prefix", str(bait.secret_file))
    add_node(nodes, "r", "RestoreV2", [prefix, text(nodes, "n", "v"), text(nodes, "k", "")])
    message.meta_graphs[0].signature_def["serving_default"].outputs["y"].name = "r:0"
    return saved_model(message)


@hostile("savedmodel-table", "fills a table from any file", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return initialized(("t", "InitializeTableFromTextFileV2", ["table", str(bait.secret_file)]))


def with_asset(name: str) -> bytes:
    message = saved_model_graph()
    nodes = message.meta_graphs[0].graph_def.node
    text(nodes, "asset_path", name)
    asset = message.meta_graphs[0].asset_file_def.add(filename=name)
    asset.tensor_info.name = "asset_path:0"
    return saved_model(message)


@hostile("savedmodel-asset-parent", "has an asset by ../", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_asset(f"../../{bait.secret_file.name}")


@hostile("savedmodel-asset-absolute", "has an asset by its whole path", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_asset(str(bait.secret_file))


@hostile(
    "savedmodel-second-file", "has a second graph, in the file that TensorFlow prefers", "analysis", "model_unsafe"
)
def _(bait: Bait) -> bytes:
    return saved_model(None, **{"model/saved_model.cpb": b"\x00"})


@hostile("savedmodel-second-graph", "has two graphs for serving", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    message.meta_graphs.add().CopyFrom(message.meta_graphs[0])
    return saved_model(message)


@hostile("savedmodel-recursion", "has a function that calls itself", "analysis", "accepted")
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    function = message.meta_graphs[0].graph_def.library.function[0]
    call = add_node(function.node_def, "again", "PartitionedCall", ["a"])
    call.attr["f"].func.name = "inner"
    function.ret["b"] = "again:output:0"
    return saved_model(message)


@hostile(
    "savedmodel-endless-loop",
    "computes for ever",
    "conversion",
    "resource_limit",
    wall_seconds=8.0,
    target_format="tflite",
    precision="fp32",
)
def _(bait: Bait) -> bytes:
    message = saved_model_graph()
    meta = message.meta_graphs[0]
    library = meta.graph_def.library
    for name, kind in (("cond", 10), ("body", 1)):
        function = library.function.add()
        function.signature.name = name
        function.signature.input_arg.add(name="a", type=1)
        function.signature.output_arg.add(name="b", type=kind)
    tensor = add_node(library.function[1].node_def, "true", "Const", dtype=10).attr["value"].tensor
    tensor.dtype, tensor.tensor_content = 10, b"\x01"
    library.function[1].ret["b"] = "true:output:0"
    add_node(library.function[2].node_def, "same", "Neg", ["a"], T=1)
    library.function[2].ret["b"] = "same:y:0"
    loop = add_node(meta.graph_def.node, "loop", "While", ["h"])
    loop.attr["T"].list.type.append(1)
    loop.attr["cond"].func.name, loop.attr["body"].func.name = "cond", "body"
    meta.signature_def["serving_default"].outputs["y"].name = "loop:0"
    return saved_model(message)


@hostile("savedmodel-damaged", "is cut short inside its graph", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return zipped({"saved_model.pb": bytes(saved_model_graph().SerializeToString())[:-20]})


def custom(name: bytes) -> bytes:
    def change(model: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        code = model.operatorCodes[1]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = name
        model.subgraphs[0].operators[1].builtinOptionsType = 0
        model.subgraphs[0].operators[1].builtinOptions = None

    return tflite_model(change=change)


@hostile("tflite-flex", "has TensorFlow write a file, by a Flex operator", "benchmark", "unsupported_operator")
def _(bait: Bait) -> bytes:
    return custom(b"FlexWriteFile")


@hostile("tflite-custom-operator", "asks for an operator of somebody's library", "benchmark", "unsupported_operator")
def _(bait: Bait) -> bytes:
    return custom(b"/tmp/evil.so")


@hostile("tflite-offsets", "leads the flatbuffer out of the file", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    data = bytearray(tflite_model())
    data[0:4] = struct.pack("<I", 0xFFFFFF00)
    return bytes(data)


@hostile("tflite-layout-loop", "has a table that is its own layout", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    data = bytearray(tflite_model())
    (root,) = struct.unpack_from("<I", data, 0)
    struct.pack_into("<i", data, root, 0)
    return bytes(data)


def calling(kind: str, **subgraphs: int) -> bytes:
    """Return a network whose first operator runs the network itself."""

    def change(model: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        number = {"While": schema.BuiltinOperator.WHILE, "CallOnce": schema.BuiltinOperator.CALL_ONCE}[kind]
        code = model.operatorCodes[1]
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        operator = model.subgraphs[0].operators[1]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
        operator.builtinOptions = getattr(schema, f"{kind}OptionsT")()
        for name, place in subgraphs.items():
            setattr(operator.builtinOptions, name, place)
        if kind == "CallOnce":
            model.subgraphs[0].outputs = np.array([3], np.int32)
            operator.inputs = operator.outputs = np.array([], np.int32)

    return tflite_model(change=change)


@hostile("tflite-loop-recursion", "has a loop whose body is the network itself", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return calling("While", condSubgraphIndex=0, bodySubgraphIndex=0)


@hostile("tflite-call-recursion", "has an initialization that is the network itself", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return calling("CallOnce", initSubgraphIndex=0)


@hostile("tflite-missing-subgraph", "runs a part of the network that is not there", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return calling("While", condSubgraphIndex=7, bodySubgraphIndex=-1)


def sized(*shape: int) -> bytes:
    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        for place in (0, 3):
            graph.tensors[place].shape = np.array([shape[0], *shape[1:], 1 if place == 0 else 2], np.int32)

    return tflite_model(change=change)


@hostile("tflite-giant-tensor", "computes on 1 TB of numbers", "benchmark", "resource_limit", "unsupported_operator")
def _(bait: Bait) -> bytes:
    return sized(1, 1 << 19, 1 << 19)


@hostile("tflite-overflowing-shape", "has sizes whose product overflows", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return sized(2**31 - 1, 2**31 - 1, 2**31 - 1)


@hostile(
    "tflite-constant-output", "writes over its own weights, in memory that is read only", "analysis", "model_unreadable"
)
def _(bait: Bait) -> bytes:
    def change(model: Any) -> None:
        model.subgraphs[0].operators[0].outputs = np.array([1], np.int32)

    return tflite_model(change=change)


@hostile("tflite-no-stride", "divides by a stride of zero", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    def change(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptions.strideW = 0

    return tflite_model(change=change)
