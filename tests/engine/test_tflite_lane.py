"""TensorFlow Lite from ONNX and in every precision: it loads, answers what its source answers, and says what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edge_ai.sample
from edge_ai.engine.convert import onnx_to_saved_model, onnx_to_tflite
from edge_ai.engine.convert.base import Conversion
from edge_ai.engine.errors import UnsupportedError, UserInputError
from edge_ai.engine.evaluate.pairing import pair, to_answer, translate
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.formats.tflite_analysis import operator_name
from edge_ai.engine.formats.tflite_file import read_file
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.lanes.tflite import ways
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.quantize.tflite_ranges import observe
from edge_ai.engine.quantize.tflite_screen import layers_of
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format, OptimizationLevel, Precision
from tests.engine.graphs import Told, model_of, value, weight
from tests.engine.lane_contexts import closeness_db

SAMPLE = Path(edge_ai.sample.__file__).parent
DIGITS = SAMPLE / "digits.tflite"


def images(count: int) -> list[Feed]:
    with np.load(SAMPLE / "digits-calibration.npz") as data:
        stack = data[next(name for name in data.files if name != "labels")][:count]
    return [{"image": image[None].astype(np.float32)} for image in stack]


def context_of(folder: Path, precision: Precision, model: Path = DIGITS, **options: Any) -> LaneContext:
    session = open_model(model, Format.TFLITE, threads=1)
    feeds = images(32)
    return LaneContext(
        model=model,
        format=Format.TFLITE,
        inputs=session.inputs,
        outputs=session.outputs,
        precision=precision,
        level=OptimizationLevel.BALANCED,
        options=OptimizeOptions(**options),
        calibration=feeds,
        sample=feeds[0],
        workdir=folder,
        progress=Told(),
    )


def sqnr_db(variant: Path, feeds: list[Feed]) -> float:
    source, other = (open_model(path, Format.TFLITE, threads=1) for path in (DIGITS, variant))
    signal = noise = 0.0
    for feed in feeds:
        expected = source.run(feed)[0]
        answer = other.run(translate(feed, pair(source.inputs, other.inputs), source.inputs, other.inputs))[0]
        real = to_answer(answer, source.outputs[0], other.outputs[0])
        signal, noise = signal + float((expected**2).sum()), noise + float(((expected - real) ** 2).sum())
    return 10 * float(np.log10(signal / max(noise, 1e-30)))


@pytest.mark.parametrize(
    ("precision", "options", "named", "least_db"),
    [
        (Precision.FP32, {}, "fp32", 200),
        (Precision.FP16, {}, "fp16", 45),
        (Precision.INT8, {}, "int8", 20),
        (Precision.INT8, {"integer_io": True}, "int8", 20),
        (Precision.INT8, {"weight_only": True}, "weight-only", 30),
        (Precision.INT8_DYNAMIC, {}, "dynamic-int8", 20),
        (Precision.INT16X8, {}, "int16x8", 25),
        (Precision.INT4, {}, "dynamic-int8", 8),
    ],
)
def test_a_precision_is_made_and_stays_right(
    precision: Precision, options: dict[str, Any], named: str, least_db: float, tmp_path: Path
) -> None:
    trial = next(ways(context_of(tmp_path, precision, **options)))
    trial.make(trial.path)
    handler = handler_of(Format.TFLITE)
    analysis = handler.inspect(handler.unpack(trial.path, tmp_path), tmp_path)
    integer_io = bool(options.get("integer_io"))
    assert analysis["precision"] == named
    assert {item["dtype"] for item in analysis["inputs"]} == {"int8" if integer_io else "float32"}
    assert {item["dtype"] for item in analysis["outputs"]} == {"int8" if integer_io else "float32"}
    assert [item["name"] for item in analysis["inputs"]] == ["image"]
    assert sqnr_db(trial.path, images(60)[40:]) >= least_db


def test_ways_that_are_not_good_lead_to_a_look_at_the_layers(tmp_path: Path) -> None:
    context = context_of(tmp_path, Precision.INT8)
    trials = []
    for trial in ways(context):
        # None is compared, so none counts as good.
        trials.append(trial)
        trial.make(trial.path)
    assert len(trials) == 7
    layers = {layer for layer, _ in layers_of(DIGITS, {"CONV_2D", "FULLY_CONNECTED"})}
    step = next(step for step in context.steps if step["step"] == "sensitivity")
    worst: Any = step["worst"]
    assert {item["layer"] for item in worst} <= layers
    assert [item["sqnr_db"] for item in worst] == sorted(item["sqnr_db"] for item in worst)
    kept = next(trial for trial in trials if "worst layers" in trial.name)
    assert kept.settings["kept_in_float"] == [item["layer"] for item in worst[:3]]
    assert handler_of(Format.TFLITE).inspect(kept.path, tmp_path)["precision"] == "qdq-int8"
    assert sqnr_db(kept.path, images(8)) >= sqnr_db(trials[0].path, images(8)) - 3


def test_ranges_are_those_of_the_samples(tmp_path: Path) -> None:
    feeds = images(16)
    session = open_model(DIGITS, Format.TFLITE, threads=1)
    seen = observe(DIGITS, session.inputs, feeds, threads=1)
    whole, most = seen.ranges(None), seen.ranges(90)
    name = next(name for name in whole if "image" in name)
    pixels = np.concatenate([feed["image"] for feed in feeds])
    assert whole[name]["min"].shape == (1, 1, 1, 1)
    assert whole[name]["max"].item() == pixels.max()
    assert most[name]["max"].item() == pytest.approx(np.percentile(pixels, 90), abs=1e-6)


def test_what_is_quantized_already_is_not_quantized_again(tmp_path: Path) -> None:
    trial = next(ways(context_of(tmp_path, Precision.INT8_DYNAMIC)))
    trial.make(trial.path)
    again = tmp_path / "again"
    again.mkdir()
    for precision in (Precision.INT8, Precision.FP16, Precision.INT4):
        with pytest.raises(UnsupportedError) as caught:
            next(ways(context_of(again, precision, trial.path)))
        assert caught.value.code == "nothing_to_quantize"


def test_a_layer_to_keep_in_float_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no layer and no operator called 'CONV_3D'") as caught:
        next(ways(context_of(tmp_path, Precision.INT8, exclude_layers=("CONV_3D",))))
    assert caught.value.field == "options.exclude_layers" and "CONV_2D" in caught.value.fix


def test_calibration_by_entropy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserInputError) as caught:
        next(ways(context_of(tmp_path, Precision.INT8, calibration_method="entropy")))
    assert caught.value.field == "options.calibration_method"


def converted(model: onnx.ModelProto | Path, folder: Path, sample: Feed | None = None) -> tuple[Path, Path]:
    """Return an ONNX file and the TensorFlow Lite file that was made from it."""
    source, target = folder / "source.onnx", folder / "model.tflite"
    source.write_bytes(model.read_bytes() if isinstance(model, Path) else model.SerializeToString())
    before = source.read_bytes()
    work = folder / "work"
    work.mkdir()
    onnx_to_tflite.convert(
        Conversion(source=source, target=target, workdir=work, inputs=(), sample=sample, progress=Told())
    )
    assert source.read_bytes() == before
    return source, target


def same_answers(source: Path, target: Path, feed: Feed) -> None:
    ours, theirs = open_model(source, Format.ONNX, threads=1), open_model(target, Format.TFLITE, threads=1)
    answers = theirs.run(translate(feed, pair(ours.inputs, theirs.inputs), ours.inputs, theirs.inputs))
    places = {tensor.name: place for place, tensor in enumerate(theirs.outputs)}
    names = pair(ours.outputs, theirs.outputs)
    for tensor, expected in zip(ours.outputs, ours.run(feed), strict=True):
        np.testing.assert_allclose(answers[places[names[tensor.name]]], expected, rtol=1e-4, atol=1e-5)


def test_a_converted_network_answers_the_same_under_the_same_names(tmp_path: Path) -> None:
    session = open_model(SAMPLE / "digits.onnx", Format.ONNX, threads=1)
    image = images(1)[0]["image"]
    feed = {
        session.inputs[0].name: image.reshape(
            [1 if not isinstance(a, int) else a for a in session.inputs[0].shape or ()]
        )
    }
    source, target = converted(SAMPLE / "digits.onnx", tmp_path, feed)
    made = open_model(target, Format.TFLITE, threads=1)
    assert [tensor.name for tensor in made.inputs] == [tensor.name for tensor in session.inputs]
    assert [tensor.name for tensor in made.outputs] == [tensor.name for tensor in session.outputs]
    same_answers(source, target, feed)


def masked_attention(folder: Path) -> tuple[Path, list[Feed]]:
    """Return a network as transformers have it: weights of very unlike columns, and -3.4e38 where nothing may be seen."""
    columns = np.geomspace(0.01, 4, 16, dtype=np.float32)
    weights = np.random.default_rng(5).normal(size=(16, 16)).astype(np.float32) * columns
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["keys"]),
        helper.make_node("Transpose", ["keys"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "turned"], ["plain"]),
        helper.make_node("Mul", ["plain", "eighth"], ["scores"]),
        helper.make_node("Sub", ["one", "mask"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "lowest"], ["bias"]),
        helper.make_node("Add", ["scores", "bias"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "keys"], ["y"]),
    ]
    constants = {"one": 1.0, "lowest": np.finfo(np.float32).min, "eighth": 0.05}
    held = [numpy_helper.from_array(np.array([number], np.float32), name) for name, number in constants.items()]
    held.append(numpy_helper.from_array(weights, "w"))
    inputs = [value("x", [1, 8, 16]), value("mask", [1, 1, 8])]
    _, target = converted(model_of(nodes, inputs, [value("y", [1, 8, 16])], held), folder)
    draw = np.random.default_rng(6)
    mask = np.array([[[1, 1, 1, 1, 1, 1, 0, 0]]], np.float32)
    return target, [{"x": draw.normal(size=(1, 8, 16)).astype(np.float32), "mask": mask} for _ in range(12)]


@pytest.mark.parametrize(("precision", "least_db"), [(Precision.INT8, 20), (Precision.INT16X8, 30)])
def test_masks_stay_in_float_and_matrix_products_stay_right(
    precision: Precision, least_db: float, tmp_path: Path
) -> None:
    model, feeds = masked_attention(tmp_path)
    session = open_model(model, Format.TFLITE, threads=1)
    context = replace(
        context_of(tmp_path, precision),
        model=model,
        inputs=session.inputs,
        outputs=session.outputs,
        calibration=feeds,
    )
    trial = next(ways(context))
    trial.make(trial.path)
    graph = read_file(trial.path).subgraphs[0]
    sums = [graph.tensors[operator.outputs[0]] for operator in graph.operators if operator_name(operator) == "ADD"]
    products = [operator for operator in graph.operators if operator_name(operator) == "BATCH_MATMUL"]
    assert [tensor.dtype for tensor in sums] == ["float32"]
    kinds = {graph.tensors[index].dtype for operator in products for index in operator.outputs}
    assert kinds == {"int8" if precision is Precision.INT8 else "int16"}
    assert closeness_db(model, Format.TFLITE, trial.path, Format.TFLITE, feeds) >= least_db


def test_doubles_and_lone_joins_are_made_plain(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Cast", ["m"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Softmax", ["d"], ["s"], axis=-1),
        helper.make_node("Concat", ["s"], ["j"], axis=1),
        helper.make_node("Exp", ["j"], ["y"]),
    ]
    model = model_of(nodes, [value("x", [1, 4])], [value("y", [1, 3], TensorProto.DOUBLE)], [weight("w", 4, 3)])
    source, target = converted(model, tmp_path)
    same_answers(source, target, {"x": np.arange(4, dtype=np.float32)[None]})


@pytest.mark.parametrize("last", ["Conv", "Relu"])
def test_an_answer_straight_from_a_convolution_keeps_its_channels_first(tmp_path: Path, last: str) -> None:
    # Height, width and channels are equal: only the numbers tell the layouts apart.
    made = "c" if last == "Relu" else "y"
    nodes = [helper.make_node("Conv", ["x", "w"], [made], pads=[1, 1, 1, 1])]
    nodes += [helper.make_node("Relu", ["c"], ["y"])] if last == "Relu" else []
    model = model_of(nodes, [value("x", [1, 4, 4, 4])], [value("y", [1, 4, 4, 4])], [weight("w", 4, 4, 3, 3)])
    same_answers(*converted(model, tmp_path), {"x": np.random.default_rng(0).standard_normal((1, 4, 4, 4), np.float32)})


def test_branches_are_refused(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "inner", [], [value("o", [1, 4])])
    model = model_of(
        [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)],
        [value("x", [1, 4]), value("c", [], TensorProto.BOOL)],
        [value("y", [1, 4])],
    )
    with pytest.raises(UnsupportedError) as caught:
        converted(model, tmp_path)
    assert caught.value.code == "unsupported_operator"
    assert (caught.value.details or {})["operators"] == ["If"]


def test_a_free_axis_is_resized_when_it_is_fed(tmp_path: Path) -> None:
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])],
        [value("x", [1, 4])],
        [value("y", [1, 3])],
        [weight("w", 4, 3)],
    )
    _, target = converted(model, tmp_path)
    session = open_model(target, Format.TFLITE, threads=1)
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    one = np.concatenate([session.run({"x": row[None]})[0] for row in rows])
    np.testing.assert_allclose(session.run({"x": rows})[0], one, rtol=1e-5)
    np.testing.assert_allclose(session.run({"x": rows[:1]})[0], one[:1], rtol=1e-5)


def test_a_saved_model_has_uneven_strides_and_the_layout_of_its_source(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x:0", "w"], ["c"], group=3, strides=[2, 1], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    model = model_of(nodes, [value("x:0", [1, 3, 8, 6])], [value("y", [1, 72])], [weight("w", 3, 1, 3, 3)])
    source, target = tmp_path / "source.onnx", tmp_path / "saved_model"
    source.write_bytes(model.SerializeToString())
    onnx_to_saved_model.convert(
        Conversion(source=source, target=target, workdir=tmp_path, inputs=(), sample=None, progress=Told())
    )
    ours, theirs = open_model(source, Format.ONNX, threads=1), open_model(target, Format.SAVED_MODEL, threads=1)
    assert [tensor.shape for tensor in theirs.inputs] == [(1, 3, 8, 6)]
    feed = {"x:0": np.random.default_rng(0).standard_normal((1, 3, 8, 6)).astype(np.float32)}
    answer = theirs.run(translate(feed, pair(ours.inputs, theirs.inputs), ours.inputs, theirs.inputs))[0]
    np.testing.assert_allclose(answer, ours.run(feed)[0], rtol=1e-4, atol=1e-5)
