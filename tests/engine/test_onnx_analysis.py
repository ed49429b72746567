"""What is said of an ONNX model, against figures worked out by hand."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai import sample
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.onnx import read_model
from edge_ai.engine.formats.onnx_analysis import analyze, describe, precision_of
from edge_ai.engine.formats.onnx_cost import count_macs

from . import graphs

REQUIRED = {
    "inputs",
    "outputs",
    "operators",
    "parameter_count",
    "weight_bytes",
    "macs",
    "opset",
    "ir_version",
    "producer",
    "precision",
    "dynamic_axes",
    "warnings",
}


def test_a_convolution_net_is_described_in_full(tmp_path: Path) -> None:
    found = analyze(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"))
    assert found.keys() >= REQUIRED
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 2, 6, 6]}]
    assert found["outputs"] == [{"name": "y", "dtype": "float32", "shape": ["batch", 5]}]
    assert found["operators"] == {"Conv": 1, "Relu": 1, "Flatten": 1, "Gemm": 1, "Softmax": 1}
    # 4·2·3·3 and 4 biases; 144·5 and 5 biases.
    assert found["parameter_count"] == 72 + 4 + 720 + 5
    assert found["weight_bytes"] == 4 * 801
    assert found["weight_bytes_by_dtype"] == {"float32": 3204}
    assert found["weight_bytes_by_operator"] == {"Gemm": 2900, "Conv": 304}
    # 4·6·6 outputs of 2·3·3 products each; 5 outputs of 144.
    assert found["macs_by_operator"] == {"Conv": 144 * 18, "Gemm": 720}
    assert found["macs"] == 2592 + 720
    assert (found["opset"], found["ir_version"], found["producer"], found["precision"]) == (17, 9, "tests", "fp32")
    assert found["dynamic_axes"] == [{"input": "x", "axis": 0, "name": "batch"}]
    assert found["warnings"] == []
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_weights_in_constant_nodes_count_and_are_no_inputs(tmp_path: Path) -> None:
    model = graphs.dense_net()
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    constant = helper.make_node("Constant", [], ["w1"], value=held["w1"])
    model.graph.node.insert(0, constant)
    model.graph.initializer.remove(held["w1"])
    # An old exporter's habit: the other weight is listed among the inputs.
    model.graph.input.append(graphs.value("w2", [64, 8]))
    found = analyze(graphs.save(model, tmp_path / "m.onnx"))
    assert [item["name"] for item in found["inputs"]] == ["x"]
    assert found["parameter_count"] == 32 * 64 + 64 * 8
    assert found["macs"] == 32 * 64 + 64 * 8


def macs(
    node: onnx.NodeProto, inputs: dict[str, list[int]], output: list[int | str], **weights: list[int]
) -> int | None:
    tensors = [graphs.weight(name, *shape) for name, shape in weights.items()]
    values = [graphs.value(name, shape) for name, shape in inputs.items()]
    return count_macs(graphs.model_of([node], values, [graphs.value("y", output)], tensors)).total


def test_grouped_and_strided_convolution() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=4, strides=[2, 2], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    # Output 8·5·5, each of (8/4)·3·3 products.
    assert macs(node, {"x": [1, 8, 10, 10]}, [1, 8, 5, 5], w=[8, 2, 3, 3]) == 8 * 5 * 5 * 2 * 9


def test_transposed_convolution() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    # Each of the 3·4·4 inputs goes to 5·2·2 places.
    assert macs(node, {"x": [1, 3, 4, 4]}, [1, 5, 8, 8], w=[3, 5, 2, 2]) == 48 * 20


def test_matrix_products_with_batches() -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    assert macs(node, {"a": [1, 3, 4, 5], "b": [1, 3, 5, 6]}, [1, 3, 4, 6]) == 3 * 4 * 5 * 6


def test_transposed_gemm() -> None:
    node = helper.make_node("Gemm", ["a", "w"], ["y"], transA=1, transB=1)
    assert macs(node, {"a": [7, 2]}, [2, 3], w=[3, 7]) == 2 * 3 * 7


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers(kind: str, gates: int) -> None:
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=6, direction="bidirectional")
    shapes = {"w": [2, gates * 6, 5], "r": [2, gates * 6, 6]}
    # 9 steps, two directions, each gate of 6 units reads 5 inputs and 6 states.
    assert macs(node, {"x": [9, 1, 5]}, [9, 2, 1, 6], **shapes) == 9 * 2 * gates * 6 * (5 + 6)


def test_work_that_depends_on_a_free_axis_is_unknown_and_says_so() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = graphs.model_of(
        [node], [graphs.value("x", [1, "length", 4])], [graphs.value("y", [1, "length", 2])], [graphs.weight("w", 4, 2)]
    )
    found = describe(model)
    assert found["macs"] is None
    assert "macs_unknown" in {warning["code"] for warning in found["warnings"]}


def test_branches_are_looked_into_but_their_work_is_unknown(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_y"])
        return helper.make_graph(
            [node], name, [], [graphs.value(f"{name}_y", [1, 2])], [graphs.weight(f"{name}_w", 4, 2)]
        )

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    inputs = [graphs.value("c", [], TensorProto.BOOL), graphs.value("x", [1, 4])]
    found = analyze(graphs.save(graphs.model_of([node], inputs, [graphs.value("y", [1, 2])]), tmp_path / "m.onnx"))
    assert found["operators"] == {"If": 1, "MatMul": 2}
    assert found["parameter_count"] == 16
    assert found["control_flow"] == ["If"]
    assert found["macs"] is None
    assert "control_flow" in {warning["code"] for warning in found["warnings"]}


@pytest.mark.parametrize(
    ("operators", "sizes", "expected"),
    [
        ({"Conv": 1}, {"float32": 100}, "fp32"),
        ({"Conv": 1, "Cast": 1}, {"float16": 90, "float32": 10}, "fp16"),
        ({"Conv": 1}, {"float16": 30, "float32": 70}, "mixed"),
        ({"QuantizeLinear": 2, "DequantizeLinear": 3}, {"int8": 90}, "qdq-int8"),
        ({"QLinearConv": 2}, {"int8": 90}, "qoperator-int8"),
        ({"MatMulInteger": 2, "DynamicQuantizeLinear": 2}, {"uint8": 90}, "dynamic-int8"),
        ({"DequantizeLinear": 2, "MatMul": 2}, {"int8": 90}, "weight-only"),
        ({"Relu": 1}, {}, None),
    ],
)
def test_precision_is_told_from_operators_and_weights(
    operators: dict[str, int], sizes: dict[str, int], expected: str | None
) -> None:
    assert precision_of(operators, sizes) == expected


def test_trees_have_no_weights(tmp_path: Path) -> None:
    found = analyze(graphs.save(graphs.trees(), tmp_path / "m.onnx"))
    assert (found["parameter_count"], found["weight_bytes"], found["precision"]) == (0, 0, None)
    assert found["inputs"][0]["shape"] == [None, 4]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_file_cut_short_is_unreadable(tmp_path: Path, share: float) -> None:
    whole = sample.ONNX_MODEL.read_bytes()
    path = tmp_path / "m.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserInputError) as caught:
        analyze(path)
    assert caught.value.code == "model_unreadable"


def test_a_graph_that_contradicts_itself_is_unreadable(tmp_path: Path) -> None:
    model = graphs.dense_net()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(UserInputError) as caught:
        analyze(graphs.save(model, tmp_path / "m.onnx"))
    assert caught.value.code == "model_unreadable"


def test_a_foreign_operator_is_a_warning_not_a_failure(tmp_path: Path) -> None:
    node = helper.make_node("Sparkle", ["x"], ["y"], domain="com.example")
    model = graphs.model_of(
        [node], [graphs.value("x", [1, 4])], [graphs.value("y", [1, 4])], domains={"com.example": 1}
    )
    found = analyze(graphs.save(model, tmp_path / "m.onnx"))
    codes = [warning["code"] for warning in found["warnings"]]
    assert codes == ["unsupported_operator", "cannot_run_here"]
    assert "com.example.Sparkle" in found["warnings"][0]["detail"]


def external(path: Path, location: str) -> Path:
    model = graphs.dense_net()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=location)
    return graphs.save_raw(model, path)


def test_missing_external_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserInputError) as caught:
        analyze(external(tmp_path / "m.onnx", "weights.bin"))
    assert caught.value.code == "external_data_missing"
    assert (caught.value.details or {})["missing"] == ["weights.bin"]


def test_external_weights_that_are_too_short_are_missing(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(UserInputError) as caught:
        analyze(external(tmp_path / "m.onnx", "weights.bin"))
    assert caught.value.code == "external_data_missing"


def test_external_weights_that_are_there_are_read(tmp_path: Path) -> None:
    values = graphs.samples(32, 64)
    (tmp_path / "weights.bin").write_bytes(values.tobytes())
    model = read_model(external(tmp_path / "m.onnx", "weights.bin"))
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]), values)


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "a/../../secret", "C:\\secret", "..\\secret"])
def test_external_weights_outside_the_folder_are_unsafe(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(32 * 64 * 4))
    with pytest.raises(UserInputError) as caught:
        analyze(external(folder / "m.onnx", location))
    assert caught.value.code == "model_unsafe"


def test_a_link_to_somewhere_else_is_unsafe(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(32 * 64 * 4))
    (folder / "weights.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(UserInputError) as caught:
        analyze(external(folder / "m.onnx", "weights.bin"))
    assert caught.value.code == "model_unsafe"


def test_graphs_nested_absurdly_deep_are_unsafe(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "g", [], [graphs.value("o", [1])])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=_leaf())
        inner = helper.make_graph([node], "g", [], [graphs.value("o", [1])])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=_leaf())
    inputs = [graphs.value("c", [], TensorProto.BOOL), graphs.value("x", [1])]
    path = graphs.save_raw(graphs.model_of([node], inputs, [graphs.value("y", [1])]), tmp_path / "m.onnx")
    with pytest.raises(UserInputError) as caught:
        analyze(path)
    assert caught.value.code == "model_unsafe"


def _leaf() -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "leaf", [], [graphs.value("o", [1])])
