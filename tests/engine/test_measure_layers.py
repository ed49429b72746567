"""From a runtime's names back to the model's layers."""

from __future__ import annotations

import pytest
from onnx import helper

from edge_ai.engine.measure.layers import names_of_nodes

NODES = [
    helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
    helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], "norm"),
    helper.make_node("Relu", ["n"], ["r"], "relu"),
    helper.make_node("MatMul", ["r", "k"], ["y"], "dense"),
]


@pytest.mark.parametrize(
    ("name", "operator", "layer"),
    [
        ("conv", "Conv", "conv"),
        ("r_nchwc", "Conv", "conv"),  # a fused convolution has the name of what it answers
        ("conv_token_33", "QLinearConv", "conv"),
        ("relu", "Relu", "relu"),
        ("dense_quant", "MatMulInteger", "dense"),
        ("y_QuantizeLinear", "QuantizeLinear", "dense"),
        ("ReorderOutput_token_4", "ReorderOutput", None),
        ("", "Transpose", None),
    ],
)
def test_an_operator_is_given_to_the_layer_that_does_the_work(name: str, operator: str, layer: str | None) -> None:
    assert names_of_nodes(NODES).layer_of(name, operator) == layer
