"""Layers of models: they add up to what the whole is said to be, and names of strangers stay within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.formats.onnx_analysis import describe
from edge_ai.engine.layers import MAX_LAYERS, MAX_TEXT, WITHOUT_LAYERS
from edge_ai.engine.spec import Format

SAMPLE = Path(__file__).resolve().parents[2] / "edge_ai" / "sample"


@pytest.mark.parametrize(("format_", "name"), [(Format.ONNX, "digits.onnx"), (Format.TFLITE, "digits.tflite")])
def test_the_layers_add_up_to_the_model(format_: Format, name: str, tmp_path: Path) -> None:
    analysis = handler_of(format_).inspect(SAMPLE / name, tmp_path)
    layers = analysis["layers"]
    assert layers["count"] == len(layers["rows"]) == analysis["node_count"]
    assert sum(row["parameters"] for row in layers["rows"]) == analysis["parameter_count"]
    assert sum(row["macs"] for row in layers["rows"]) == analysis["macs"]
    assert sum(row["weight_bytes"] for row in layers["rows"]) <= analysis["weight_bytes"]
    assert layers["rows"][-1]["outputs"] == [[1, 10]]


def test_every_format_has_layers_or_says_why() -> None:
    assert {Format.ONNX, Format.TFLITE} | set(WITHOUT_LAYERS) == set(Format)


def model_of(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_weight_that_is_widened_counts_for_the_operator_behind() -> None:
    weights = [
        numpy_helper.from_array(np.ones((4, 3), np.int8), "w"),
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wide"], name="widen"),
        helper.make_node("MatMul", ["x", "wide"], ["y"], name="multiply"),
    ]
    widen, multiply = describe(model_of(nodes, weights))["layers"]["rows"]
    assert (widen["parameters"], widen["macs"]) == (0, 0)
    assert (multiply["parameters"], multiply["weight_bytes"], multiply["precision"]) == (12, 12, "int8")
    assert (multiply["inputs"], multiply["outputs"], multiply["macs"]) == ([[1, 4]], [[1, 3]], 12)


def test_a_shared_weight_counts_once() -> None:
    weights = [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    rows = describe(model_of(nodes, weights))["layers"]["rows"]
    assert [row["parameters"] for row in rows] == [16, 0]
    assert [row["macs"] for row in rows] == [16, 16]
    assert [row["name"] for row in rows] == ["h", "y"]


def test_names_and_numbers_of_layers_have_bounds() -> None:
    count = MAX_LAYERS + 5
    nodes = [
        helper.make_node("Relu", ["x" if place == 0 else f"t{place - 1}"], [f"t{place}"], name=f"\0{place}" + "n" * 500)
        for place in range(count)
    ]
    nodes.append(helper.make_node("Identity", [f"t{count - 1}"], ["y"]))
    layers = describe(model_of(nodes, []))["layers"]
    assert (layers["count"], len(layers["rows"])) == (count + 1, MAX_LAYERS)
    assert all(len(row["name"]) <= MAX_TEXT for row in layers["rows"])
    assert layers["rows"][0]["name"].startswith("\ufffd0n")
