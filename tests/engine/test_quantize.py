"""Preparing graphs, and each way of reducing their precision."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.convert.onnx_prepare import (
    drop_weight_inputs,
    flatten_biases,
    lift_constants,
    name_nodes,
    prepare_graph,
    raise_opset,
    separate_biases,
)
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import opset_of, read_model
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.quantize import dynamic, static
from edge_ai.engine.quantize.fp16 import compute_in_fp16, store_weights_as_fp16
from edge_ai.engine.quantize.int4 import quantize_to_int4
from edge_ai.engine.quantize.sensitivity import layers_to_spare, screen_layers
from edge_ai.engine.quantize.weight_only import store_weights_as_fp8, store_weights_as_int8
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.saturating import products_saturate

from . import graphs

RECIPES = static.recipes(OptimizeOptions())
PICTURES: list[Feed] = [{"x": graphs.samples(1, 2, 6, 6, seed=seed)} for seed in range(60)]


def run(path: Path, feed: Feed) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in read_model(path).graph.node)


def awkward_net() -> onnx.ModelProto:
    """Return opset 8, a weight in a Constant node, weights among the inputs, a Gemm bias of shape [1, 5], no names."""
    model = graphs.conv_net(opset=8)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    bias = numpy_helper.from_array(numpy_helper.to_array(held["gb"]).reshape(1, 5), "gb")
    held["gb"].CopyFrom(bias)
    constant = helper.make_node("Constant", [], ["cw"], value=held["cw"])
    model.graph.node.insert(0, constant)
    model.graph.initializer.remove(held["cw"])
    model.graph.input.append(graphs.value("gw", [144, 5]))
    return model


def test_preparation_changes_the_form_and_not_the_answers(tmp_path: Path) -> None:
    source = graphs.save(awkward_net(), tmp_path / "m.onnx")
    before = source.read_bytes()
    prepared = prepare_graph(source, tmp_path, opset=17)
    assert source.read_bytes() == before
    model = read_model(prepared.path)
    onnx.checker.check_model(model, full_check=True)
    assert (prepared.opset, opset_of(model)) == (17, 17)
    assert [value.name for value in model.graph.input] == ["x"]
    assert "Constant" not in operators(prepared.path)
    assert all(node.name for node in model.graph.node)
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert shapes[gemm.input[2]] == [5]
    for feed in PICTURES[:5]:
        assert np.allclose(run(source, feed), run(prepared.path, feed), atol=1e-6)
    assert "opset 8 raised to 17" in prepared.steps


def test_batch_normalization_is_folded_into_the_convolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    facts = {name: rng.uniform(0.5, 1.5, 4).astype(np.float32) for name in ("scale", "shift", "mean", "var")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *facts], ["y"]),
    ]
    weights = [graphs.weight("w", 4, 2, 3, 3)] + [numpy_helper.from_array(v, k) for k, v in facts.items()]
    model = graphs.model_of(nodes, [graphs.value("x", [1, 2, 6, 6])], [graphs.value("y", [1, 4, 4, 4])], weights)
    source = graphs.save(model, tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=17)
    assert operators(prepared.path) == {"Conv": 1}
    assert np.allclose(run(source, PICTURES[0]), run(prepared.path, PICTURES[0]), atol=1e-5)


def test_a_table_that_the_graph_computes_is_not_written_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("MatMul", ["x", "ones"], ["y"]),
    ]
    shape = numpy_helper.from_array(np.array([300, 300]), "s")
    model = graphs.model_of(nodes, [graphs.value("x", [1, 300])], [graphs.value("y", [1, 300])], [shape])
    source = graphs.save(model, tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=17)
    assert prepared.path.stat().st_size < 2 * source.stat().st_size
    assert "not folded, as that would make the file larger" in prepared.steps


def test_constants_become_weights_in_branches_too() -> None:
    def branch(name: str) -> onnx.GraphProto:
        constant = helper.make_node("Constant", [], [f"{name}_w"], value=graphs.weight("v", 4))
        add = helper.make_node("Add", ["x", f"{name}_w"], [f"{name}_y"])
        return helper.make_graph([constant, add], name, [], [graphs.value(f"{name}_y", [4])])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    inputs = [graphs.value("c", [], TensorProto.BOOL), graphs.value("x", [4])]
    model = graphs.model_of([node], inputs, [graphs.value("y", [4])])
    assert lift_constants(model) == 2
    onnx.checker.check_model(model, full_check=True)
    assert [len(item.g.initializer) for item in model.graph.node[0].attribute] == [1, 1]


def test_a_constant_that_is_an_output_stays() -> None:
    constant = helper.make_node("Constant", [], ["y"], value=graphs.weight("v", 4))
    model = graphs.model_of([constant], [], [graphs.value("y", [4])])
    assert lift_constants(model) == 0
    assert len(model.graph.node) == 1


def test_small_steps_say_how_much_they_did() -> None:
    model = awkward_net()
    assert drop_weight_inputs(model) == 1
    assert flatten_biases(model) == 1
    name_nodes(model)
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def twins() -> onnx.ModelProto:
    """Return two convolutions that share a bias, beside a tensor named as onnxruntime would name a second bias."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["b2"]),
        helper.make_node("Conv", ["b2", "v", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    weights = [graphs.weight("w", 4, 2, 3, 3), graphs.weight("v", 4, 4, 3, 3, seed=2), graphs.weight("b", 4, seed=3)]
    return graphs.model_of(nodes, [graphs.value("x", [1, 2, 6, 6])], [graphs.value("y", [1, 16])], weights)


def test_layers_that_share_a_bias_get_their_own() -> None:
    model = twins()
    assert separate_biases(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert [node.input[2] for node in model.graph.node[:2]] == ["b", "b::own0"]


def test_the_last_activation_is_found_behind_what_only_moves_data() -> None:
    model = twins()
    name_nodes(model)
    assert static.final_activations(model) == [model.graph.node[2].name]


def test_shared_biases_do_not_break_static_int8(tmp_path: Path) -> None:
    source = graphs.save(twins(), tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=17)
    ranges = static.calibrate(prepared.path, PICTURES, static.Calibration.MIN_MAX, tmp_path)
    static.quantize_statically(prepared.path, tmp_path / "v.onnx", RECIPES[0], ranges)
    assert np.abs(run(source, PICTURES[0]) - run(tmp_path / "v.onnx", PICTURES[0])).max() < 0.1


def test_a_model_that_cannot_be_raised_is_left_as_it_is(tmp_path: Path) -> None:
    node = helper.make_node("Sparkle", ["x"], ["y"])
    model = graphs.model_of([node], [graphs.value("x", [4])], [graphs.value("y", [4])], opset=9)
    assert raise_opset(model, 17) is None
    assert opset_of(model) == 9


def test_fp16_halves_the_weights_and_keeps_float_inputs_and_outputs(tmp_path: Path) -> None:
    source = graphs.save(graphs.dense_net(), tmp_path / "m.onnx")
    target = tmp_path / "v.onnx"
    done = store_weights_as_fp16(source, target)
    assert (done.halved, done.out_of_range) == (2, 0)
    model = read_model(target)
    onnx.checker.check_model(model, full_check=True)
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    # Each weight is off by at most half a unit in the last of fp16's 11 binary places.
    for old, new in zip(read_model(source).graph.initializer, model.graph.initializer, strict=True):
        exact, half = numpy_helper.to_array(old), numpy_helper.to_array(new).astype(np.float32)
        assert np.all(np.abs(exact - half) <= np.abs(exact) * 2.0**-11 + 2.0**-25)
    feed = {"x": graphs.samples(1, 32)}
    assert np.allclose(run(source, feed), run(target, feed), atol=5e-3)


def test_layers_kept_in_float_keep_their_weights_as_they_are(tmp_path: Path) -> None:
    model = graphs.dense_net()
    name_nodes(model)
    source, target = graphs.save(model, tmp_path / "m.onnx"), tmp_path / "v.onnx"
    assert store_weights_as_fp16(source, target, spare=[model.graph.node[0].name]).halved == 1
    kinds = {tensor.name: tensor.data_type for tensor in read_model(target).graph.initializer}
    assert kinds["w1"] == TensorProto.FLOAT and TensorProto.FLOAT16 in kinds.values()


def test_the_casts_are_gone_once_the_model_is_loaded(tmp_path: Path) -> None:
    source = graphs.save(graphs.dense_net(), tmp_path / "m.onnx")
    target, loaded = tmp_path / "v.onnx", tmp_path / "loaded.onnx"
    store_weights_as_fp16(source, target)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(loaded)
    onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    assert operators(target)["Cast"] == 2
    assert operators(loaded)["Cast"] == 0


def test_weights_beyond_fp16_stay_wide(tmp_path: Path) -> None:
    model = graphs.dense_net()
    huge = numpy_helper.to_array(model.graph.initializer[0]).copy()
    huge[0, 0] = 1e6
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(huge, "w1"))
    source = graphs.save(model, tmp_path / "m.onnx")
    done = store_weights_as_fp16(source, tmp_path / "v.onnx")
    assert (done.halved, done.out_of_range) == (1, 1)
    feed = {"x": graphs.samples(1, 32)}
    assert np.isfinite(run(tmp_path / "v.onnx", feed)).all()


def test_fp16_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        store_weights_as_fp16(graphs.save(graphs.trees(), tmp_path / "m.onnx"), tmp_path / "v.onnx")
    assert caught.value.code == "nothing_to_quantize"


@pytest.mark.parametrize("recipe", dynamic.RECIPES, ids=lambda recipe: recipe.name)
def test_dynamic_int8_turns_matrix_products_into_integers(tmp_path: Path, recipe: dynamic.DynamicRecipe) -> None:
    source = graphs.save(graphs.dense_net(), tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=13)
    found = dynamic.quantize_dynamically(prepared.path, tmp_path / "v.onnx", recipe)
    assert found["MatMulInteger"] == 2
    feed = {"x": graphs.samples(1, 32)}
    exact, quantized = run(source, feed), run(tmp_path / "v.onnx", feed)
    assert np.abs(exact - quantized).max() < 0.05 * np.abs(exact).max()


def test_dynamic_int8_leaves_convolutions_in_float_and_stores_them_as_fp16(tmp_path: Path) -> None:
    source = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=13)
    dynamic.quantize_dynamically(prepared.path, tmp_path / "v.onnx", dynamic.RECIPES[0])
    found = operators(tmp_path / "v.onnx")
    assert (found["Conv"], found["ConvInteger"], found["MatMulInteger"]) == (1, 0, 1)
    kinds = {tensor.name: tensor.data_type for tensor in read_model(tmp_path / "v.onnx").graph.initializer}
    assert kinds["cw::fp16"] == TensorProto.FLOAT16


def test_dynamic_int8_without_constant_weights_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    values = [graphs.value("a", [2, 3]), graphs.value("b", [3, 4])]
    source = graphs.save(graphs.model_of([node], values, [graphs.value("y", [2, 4])]), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError) as caught:
        dynamic.quantize_dynamically(source, tmp_path / "v.onnx", dynamic.RECIPES[0])
    assert caught.value.code == "nothing_to_quantize"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_static_int8_keeps_integers_inside_and_floats_outside(tmp_path: Path, recipe: static.StaticRecipe) -> None:
    source = graphs.save(awkward_net(), tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=17)
    ranges = static.calibrate(prepared.path, PICTURES, recipe.calibration, tmp_path)
    static.quantize_statically(prepared.path, tmp_path / "v.onnx", recipe, ranges)
    model = read_model(tmp_path / "v.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in model.graph.initializer}
    assert shapes["cw_quantized"] == (TensorProto.INT8, [4, 2, 3, 3])
    # One scale for each of the four output channels.
    assert shapes["cw_scale"][1] == [4]
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    assert softmax.output[0] == "y"
    for feed in PICTURES[:5]:
        assert np.abs(run(source, feed) - run(tmp_path / "v.onnx", feed)).max() < 0.05
    assert not (tmp_path / "calibrate.onnx").exists()


def test_min_max_calibration_finds_the_true_range(tmp_path: Path) -> None:
    prepared = prepare_graph(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path, opset=17)
    ranges = static.calibrate(prepared.path, PICTURES, static.Calibration.MIN_MAX, tmp_path)
    everything = np.concatenate([feed["x"] for feed in PICTURES])
    low, high = (float(np.ravel(bound)[0]) for bound in ranges["x"].range_value)
    assert [low, high] == pytest.approx([everything.min(), everything.max()])


def test_the_percentile_is_narrower_than_the_whole_range(tmp_path: Path) -> None:
    prepared = prepare_graph(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path, opset=17)
    outlier: Feed = {"x": np.full((1, 2, 6, 6), 0.0, np.float32)}
    outlier["x"][0, 0, 0, 0] = 1000.0
    ranges = static.calibrate(
        prepared.path, [*PICTURES[:49], outlier], static.Calibration.PERCENTILE, tmp_path, percentile=99.9
    )
    assert 1.0 < float(np.ravel(ranges["x"].range_value[1])[0]) < 10.0


def test_entropy_cuts_off_a_long_thin_tail(tmp_path: Path) -> None:
    prepared = prepare_graph(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path, opset=17)
    outlier: Feed = {"x": np.full((1, 2, 6, 6), 0.0, np.float32)}
    outlier["x"][0, 0, 0, 0] = 100.0
    ranges = static.calibrate(prepared.path, [*PICTURES[:49], outlier], static.Calibration.ENTROPY, tmp_path)
    low, high = static.limits_of(ranges)["x"]
    assert -5.0 < low < 0.0 < high < 100.0


def test_symmetric_activations_have_zero_in_the_middle(tmp_path: Path) -> None:
    prepared = prepare_graph(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path, opset=17)
    ranges = static.calibrate(prepared.path, PICTURES, static.Calibration.MIN_MAX, tmp_path)
    recipe = static.recipes(OptimizeOptions(symmetric_activations=True, calibration_method="minmax"))[0]
    static.quantize_statically(prepared.path, tmp_path / "v.onnx", recipe, ranges)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in read_model(tmp_path / "v.onnx").graph.initializer}
    points = [array for name, array in held.items() if name.endswith("_zero_point")]
    assert points and all(array.dtype in (np.int8, np.int32) and not array.any() for array in points)


@pytest.mark.parametrize("bits", [7, 8])
def test_weights_of_seven_bits_saturate_nothing(tmp_path: Path, bits: int) -> None:
    prepared = prepare_graph(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path, opset=17)
    ranges = static.calibrate(prepared.path, PICTURES, static.Calibration.MIN_MAX, tmp_path)
    recipe = static.recipes(OptimizeOptions(reduce_range=bits == 7))[0]
    static.quantize_statically(prepared.path, tmp_path / "v.onnx", recipe, ranges)
    model = read_model(tmp_path / "v.onnx")
    weights = [numpy_helper.to_array(each) for each in model.graph.initializer if each.name.endswith("w_quantized")]
    assert len(weights) == 2 and all(array.dtype == np.int8 for array in weights)
    assert max(int(np.abs(array.astype(np.int16)).max()) for array in weights) == (64 if bits == 7 else 127)


def test_the_range_is_reduced_where_products_saturate_unless_the_options_say_otherwise() -> None:
    def reduced(asked: bool | None, *, saturating: bool) -> set[bool]:
        return {way.reduce_range for way in static.recipes(OptimizeOptions(reduce_range=asked), saturating=saturating)}

    assert reduced(None, saturating=True) == {True}
    assert reduced(None, saturating=False) == {False}
    assert reduced(False, saturating=True) == {False}
    assert reduced(True, saturating=False) == {True}


def test_whether_products_saturate_is_asked_of_the_runtime() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    if "avx" not in flags:
        pytest.skip("not an x86 processor")
    assert products_saturate() is not ("vnni" in flags or "amx_int8" in flags)


def test_options_leave_only_the_ways_that_they_allow() -> None:
    found = static.recipes(OptimizeOptions(calibration_method="entropy", per_channel=False))
    assert {(way.calibration, way.per_channel) for way in found} == {(static.Calibration.ENTROPY, False)}
    assert {way.calibration for way in RECIPES} == {static.Calibration.MIN_MAX, static.Calibration.PERCENTILE}


def test_layers_that_are_spared_compute_in_float_and_are_small_all_the_same(tmp_path: Path) -> None:
    prepared = prepare_graph(graphs.save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path, opset=17)
    ranges = static.calibrate(prepared.path, PICTURES, static.Calibration.MIN_MAX, tmp_path)
    gemm = next(node.name for node in read_model(prepared.path).graph.node if node.op_type == "Gemm")
    recipe = replace(RECIPES[1], spared=(gemm,))
    static.quantize_statically(prepared.path, tmp_path / "v.onnx", recipe, ranges)
    model = read_model(tmp_path / "v.onnx")
    kept = next(node for node in model.graph.node if node.name == gemm)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert makers[kept.input[0]] != "DequantizeLinear" and makers[kept.input[1]] == "Mul"
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds["gw::8bit"] == TensorProto.INT8
    assert np.abs(run(prepared.path, PICTURES[0]) - run(tmp_path / "v.onnx", PICTURES[0])).max() < 0.05


def test_the_layer_that_is_fed_an_outlier_is_the_worst(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Mul", ["h", "stretch"], ["s"], name="stretching"),
        helper.make_node("MatMul", ["s", "w2"], ["y"], name="second"),
    ]
    stretch = np.ones(32, np.float32)
    stretch[0] = 2000.0
    tensors = [graphs.weight("w1", 16, 32), numpy_helper.from_array(stretch, "stretch"), graphs.weight("w2", 32, 8)]
    quiet = numpy_helper.to_array(tensors[2]).copy()
    quiet[0] = 0.0
    tensors[2].CopyFrom(numpy_helper.from_array(quiet, "w2"))
    model = graphs.model_of(nodes, [graphs.value("x", [1, 16])], [graphs.value("y", [1, 8])], tensors)
    path = graphs.save(onnx.shape_inference.infer_shapes(model), tmp_path / "m.onnx")
    feeds: list[Feed] = [{"x": graphs.samples(1, 16, seed=seed)} for seed in range(8)]
    ranges = static.calibrate(path, feeds, static.Calibration.MIN_MAX, tmp_path)
    worst = screen_layers(path, feeds, static.limits_of(ranges))
    # Only together do both reach what one alone leaves.
    assert layers_to_spare(worst, worst[1].sqnr_db - 1) == 1 and layers_to_spare(worst, worst[1].sqnr_db + 1) == 2
    assert layers_to_spare(worst, worst[0].sqnr_db - 10) == 0
    assert [layer.name for layer in worst] == ["second", "first"]
    assert worst[0].to_json() == {"layer": "second", "operator": "MatMul", "sqnr_db": round(worst[0].sqnr_db, 2)}


def sqnr_db(source: Path, target: Path, feed: Feed) -> float:
    exact, made = run(source, feed), run(target, feed)
    return float(10 * np.log10((exact**2).sum() / max(float(((exact - made) ** 2).sum()), 1e-30)))


def folded(path: Path, target: Path) -> Counter[str]:
    """Return the operators that are left when onnxruntime has loaded a model."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return operators(target)


@pytest.mark.parametrize("per_channel", [True, False])
def test_int8_weights_take_a_quarter_and_are_widened_once(tmp_path: Path, per_channel: bool) -> None:
    source = graphs.save(graphs.dense_net(hidden=512), tmp_path / "m.onnx")
    done = store_weights_as_int8(source, tmp_path / "v.onnx", per_channel=per_channel)
    assert (done.weights, done.bytes_before) == (2, 4 * (32 * 512 + 512 * 8))
    assert (tmp_path / "v.onnx").stat().st_size < source.stat().st_size / 3
    assert not {"Cast", "Mul"} & folded(tmp_path / "v.onnx", tmp_path / "loaded.onnx").keys()
    assert sqnr_db(source, tmp_path / "v.onnx", {"x": graphs.samples(2, 32)}) > 35


def test_fp8_weights_take_a_quarter_and_are_widened_once(tmp_path: Path) -> None:
    source = graphs.save(graphs.dense_net(hidden=512), tmp_path / "m.onnx")
    store_weights_as_fp8(source, tmp_path / "v.onnx", per_channel=True)
    model = read_model(tmp_path / "v.onnx")
    assert (opset_of(model) or 0) >= 19
    assert TensorProto.FLOAT8E4M3FN in {tensor.data_type for tensor in model.graph.initializer}
    assert (tmp_path / "v.onnx").stat().st_size < source.stat().st_size / 3
    assert not {"Cast", "Mul"} & folded(tmp_path / "v.onnx", tmp_path / "loaded.onnx").keys()
    assert sqnr_db(source, tmp_path / "v.onnx", {"x": graphs.samples(2, 32)}) > 20


def test_vectors_that_scale_channels_are_not_narrowed(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "scale"], ["y"])]
    scale = np.geomspace(1e-4, 1e3, 1024).astype(np.float32)
    tensors = [graphs.weight("w", 32, 1024), numpy_helper.from_array(scale.reshape(1, 1024), "scale")]
    model = graphs.model_of(nodes, [graphs.value("x", [1, 32])], [graphs.value("y", [1, 1024])], tensors)
    source = graphs.save(model, tmp_path / "m.onnx")
    assert store_weights_as_int8(source, tmp_path / "v.onnx", per_channel=True).weights == 1
    feed = {"x": graphs.samples(1, 32)}
    exact, made = run(source, feed), run(tmp_path / "v.onnx", feed)
    # Each channel by itself is close, the quietest as well.
    assert np.median(np.abs(exact - made) / (np.abs(exact) + scale)) < 0.02


@pytest.mark.parametrize("store", [store_weights_as_int8, store_weights_as_fp8])
def test_weights_of_what_has_none_cannot_be_narrowed(tmp_path: Path, store: Callable[..., object]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        store(graphs.save(graphs.trees(), tmp_path / "m.onnx"), tmp_path / "v.onnx", per_channel=True)
    assert caught.value.code == "nothing_to_quantize"


@pytest.mark.parametrize("block_size", [16, 64])
def test_int4_packs_dense_layers_and_stores_the_rest_in_fp16(tmp_path: Path, block_size: int) -> None:
    source = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    prepared = prepare_graph(source, tmp_path, opset=17)
    assert quantize_to_int4(prepared.path, tmp_path / "v.onnx", block_size=block_size, symmetric=False, spare=()) == 1
    found = operators(tmp_path / "v.onnx")
    assert (found["MatMulNBits"], found["Gemm"], found["Conv"]) == (1, 0, 1)
    packed = next(node for node in read_model(tmp_path / "v.onnx").graph.node if node.op_type == "MatMulNBits")
    facts = {item.name: helper.get_attribute_value(item) for item in packed.attribute}
    assert (facts["K"], facts["N"], facts["bits"], facts["block_size"]) == (144, 5, 4, block_size)
    assert sqnr_db(source, tmp_path / "v.onnx", PICTURES[0]) > 15


def test_fp16_in_full_computes_in_fp16_between_float_edges(tmp_path: Path) -> None:
    source = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    compute_in_fp16(source, tmp_path / "v.onnx", keep_io=True)
    model = read_model(tmp_path / "v.onnx")
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {
        TensorProto.FLOAT
    }
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    assert sqnr_db(source, tmp_path / "v.onnx", PICTURES[0]) > 40
    compute_in_fp16(source, tmp_path / "h.onnx", keep_io=False)
    assert read_model(tmp_path / "h.onnx").graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
