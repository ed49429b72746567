"""NCNN: what pnnx makes, what it cannot make, and how it is compared."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.lanes.ncnn import ways
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format, Precision
from tests.engine.graphs import conv_net, model_of, save, value, weight
from tests.engine.lane_contexts import closeness_db, lane_context, normal_feeds


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return save(conv_net(), tmp_path / "net.onnx")


@pytest.mark.parametrize(("precision", "least_db"), [(Precision.FP32, 100.0), (Precision.FP16, 50.0)])
def test_a_network_is_converted_and_compared_without_its_batch_axis(
    net: Path, tmp_path: Path, precision: Precision, least_db: float
) -> None:
    before = net.read_bytes()
    feeds = normal_feeds("x", 1, 2, 6, 6)
    (trial,) = ways(lane_context(net, Format.ONNX, precision, tmp_path / "work", feeds=feeds))
    trial.make(trial.path)
    assert closeness_db(net, Format.ONNX, trial.path, Format.NCNN, feeds) > least_db
    assert net.read_bytes() == before

    stored = tmp_path / "variant.zip"
    handler = handler_of(Format.NCNN)
    assert handler.save(trial.path, stored) == stored.stat().st_size
    analysis = handler.inspect(stored, tmp_path / "unpacked")
    assert analysis["operators"] == {"Convolution": 1, "Flatten": 1, "InnerProduct": 1, "Softmax": 1}
    assert analysis["precision"] == precision
    assert analysis["weight_bytes"] > (144 * 5 + 72) * (2 if precision is Precision.FP16 else 4)


def test_the_same_network_gives_the_same_bytes(net: Path, tmp_path: Path) -> None:
    stored = []
    for place in range(2):
        (trial,) = ways(lane_context(net, Format.ONNX, Precision.FP16, tmp_path / f"work{place}"))
        trial.make(trial.path)
        stored.append(tmp_path / f"{place}.zip")
        handler_of(Format.NCNN).save(trial.path, stored[-1])
    assert stored[0].read_bytes() == stored[1].read_bytes()


def test_two_inputs_and_two_outputs_keep_their_order(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["left", "lw"], ["l"]),
        helper.make_node("Conv", ["right", "rw"], ["r"]),
        helper.make_node("Relu", ["l"], ["first"]),
        helper.make_node("Tanh", ["r"], ["second"]),
    ]
    shapes = [value("left", [1, 2, 5, 5]), value("right", [1, 3, 4, 4])]
    answers = [value("first", [1, 4, 5, 5]), value("second", [1, 4, 4, 4])]
    weights = [weight("lw", 4, 2, 1, 1), weight("rw", 4, 3, 1, 1, seed=1)]
    model = save(model_of(nodes, shapes, answers, weights), tmp_path / "two.onnx")
    random = np.random.default_rng(0)
    feed = {
        "left": random.standard_normal((1, 2, 5, 5)).astype(np.float32),
        "right": random.standard_normal((1, 3, 4, 4)).astype(np.float32),
    }
    (trial,) = ways(lane_context(model, Format.ONNX, Precision.FP32, tmp_path / "work", feeds=[feed]))
    trial.make(trial.path)
    assert closeness_db(model, Format.ONNX, trial.path, Format.NCNN, [feed]) > 80


def test_a_bias_of_two_axes_and_a_batch_of_minus_one_are_taken(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    bias = numpy_helper.from_array(np.ones((1, 3), np.float32), "b")
    model = model_of(nodes, [value("x", [1, 8])], [value("y", [1, 3])], [weight("w", 8, 3), bias])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = -1
    path = save(model, tmp_path / "gemm.onnx")
    feeds = normal_feeds("x", 1, 8)
    (trial,) = ways(lane_context(path, Format.ONNX, Precision.FP32, tmp_path / "work", feeds=feeds))
    trial.make(trial.path)
    assert closeness_db(path, Format.ONNX, trial.path, Format.NCNN, feeds) > 100


def test_weights_too_small_for_fp16_are_enlarged_first(tmp_path: Path) -> None:
    """Most of these numbers are below 6.1e-5, which pnnx writes as zero in fp16."""
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    tiny = [weight("w", 4, 2, 3, 3, scale=2e-5), weight("b", 4, seed=1, scale=1e-5)]
    path = save(model_of(nodes, [value("x", [1, 2, 8, 8])], [value("y", [1, 4, 6, 6])], tiny), tmp_path / "tiny.onnx")
    feeds = normal_feeds("x", 1, 2, 8, 8)
    context = lane_context(path, Format.ONNX, Precision.FP16, tmp_path / "work", feeds=feeds)
    (trial,) = ways(context)
    trial.make(trial.path)
    assert closeness_db(path, Format.ONNX, trial.path, Format.NCNN, feeds) > 50
    assert context.steps == [{"step": "enlarge small weights", "layers": 1}]


def test_an_operator_without_a_form_in_ncnn_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("CumSum", ["c", "axis"], ["s"]),
        helper.make_node("NonZero", ["s"], ["y"]),
    ]
    axis = numpy_helper.from_array(np.array(3, np.int64), "axis")
    answer = value("y", [4, None], TensorProto.INT64)
    model = model_of(nodes, [value("x", [1, 2, 4, 4])], [answer], [weight("w", 2, 2, 1, 1), axis])
    context = lane_context(save(model, tmp_path / "net.onnx"), Format.ONNX, Precision.FP32, tmp_path / "work")
    (trial,) = ways(context)
    with pytest.raises(UnsupportedError) as caught:
        trial.make(trial.path)
    assert caught.value.code == "unsupported_operator"
    assert caught.value.details and caught.value.details["nearest"]["target_format"] == "onnx"
    assert not trial.path.exists()


def test_a_network_that_ncnn_cannot_load_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ncnn.param").write_text("7767517\n2 2\nInput in0 0 1 in0\nNoSuchLayer l 1 1 in0 out0\n")
    (tmp_path / "model.ncnn.bin").write_bytes(b"")
    with pytest.raises(UnsupportedError, match="cannot load"):
        open_model(tmp_path, Format.NCNN, threads=1)
