"""Running Keras files and SavedModels, and making SavedModel, ONNX, TensorFlow Lite and Core ML of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from edge_ai.engine.convert import saved_model_to_onnx, tflite_to_onnx
from edge_ai.engine.convert.tensorflow_freeze import argument_names, fixed_sizes
from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.formats.onnx_analysis import describe
from edge_ai.engine.lanes import coreml, saved_model
from edge_ai.engine.quantize import tflite_from_saved_model
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Array, Feed, Session, Tensor
from edge_ai.engine.spec import Format, Precision
from tests.engine import tensorflow_models as models


class Made:
    """A Keras file, its SavedModel, and feeds with the original's answers."""

    def __init__(self, folder: Path, make: Any) -> None:
        self.keras = models.saved(make, folder / "model.keras")
        self.folder = models.to_saved_model(self.keras, folder / "saved_model")
        self.session: Session = open_model(self.keras, Format.KERAS, threads=1)
        self.feeds = models.feeds_for(self.session.inputs, 12)
        self.answers = [self.session.run(feed) for feed in self.feeds]

    def worst_db(self, answers: Sequence[Sequence[Array]]) -> float:
        """Return the lowest ratio over feeds and outputs."""
        pairs = zip(self.answers, answers, strict=True)
        return min(models.sqnr_db(x, y) for ours, theirs in pairs for x, y in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("cnn"), models.cnn)


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("recurrent"), models.recurrent)


@pytest.fixture(scope="module")
def two_sided(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("two"), models.two_sided)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that takes text."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("words") / "model"
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="text")
    module.run = tf.function(lambda text: {"upper": tf.strings.upper(text)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=module.run)
    return folder


def tflite_answers(path: Path, feeds: Sequence[Feed], outputs: Sequence[Tensor]) -> list[list[Array]]:
    runner = Interpreter(model_path=str(path)).get_signature_runner()
    return [[answer[item.name] for item in outputs] for answer in (runner(**feed) for feed in feeds)]


def tflite_trials(made: Made, workdir: Path, precision: Precision, **options: object) -> list[Trial]:
    return list(tflite_from_saved_model.ways(models.context(made.folder, workdir, precision, made.feeds, **options)))


class TestSessions:
    def test_keras_names_and_shapes(self, two_sided: Made) -> None:
        assert [(item.name, item.shape) for item in two_sided.session.inputs] == [
            ("left", (None, 4)),
            ("right", (None, 6)),
        ]
        assert [item.name for item in two_sided.session.outputs] == ["p", "q"]
        assert two_sided.session.runtime == "tensorflow"

    def test_a_batch(self, cnn: Made) -> None:
        batch = {"image": np.concatenate([feed["image"] for feed in cnn.feeds])}
        together = cnn.session.run(batch)[0]
        assert np.allclose(together, np.concatenate([answer[0] for answer in cnn.answers]), atol=1e-6)

    def test_keras_2_files_are_read_by_keras_2(self, tmp_path: Path) -> None:
        import tf_keras

        image = tf_keras.Input((6, 6, 2), name="old_input")
        # Keras 3 has no such function layer.
        x = tf_keras.backend.clip(tf_keras.layers.Conv2D(3, 3)(image) * 2.0, -1, 1)
        model = tf_keras.Model(image, tf_keras.layers.Flatten(name="flat")(x))
        model.save(tmp_path / "old.h5")
        session = open_model(tmp_path / "old.h5", Format.KERAS, threads=1)
        value = np.ones((1, 6, 6, 2), np.float32)
        assert [item.name for item in session.inputs] == ["old_input"]
        assert np.allclose(session.run({"old_input": value})[0], model(value).numpy())

    def test_text(self, words: Path) -> None:
        session = open_model(words, Format.SAVED_MODEL, threads=1)
        assert session.inputs[0].dtype == "string"
        assert session.run({"text": np.array(["abc"])})[0].tolist() == ["ABC"]

    def test_a_wrong_shape_is_explained(self, cnn: Made) -> None:
        with pytest.raises(UserInputError) as caught:
            cnn.session.run({"image": np.zeros((1, 5, 5, 3), np.float32)})
        assert caught.value.code == "dataset_mismatch"

    def test_importing_computes_nothing(self) -> None:
        code = (
            "import os; import edge_ai.engine.quantize.tflite_from_saved_model\n"
            "from tensorflow.python.eager import context\n"
            "assert not context.context()._initialized\n"
        )
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


class TestToSavedModel:
    def test_computes_the_same_with_any_batch(self, two_sided: Made) -> None:
        session = open_model(two_sided.folder, Format.SAVED_MODEL, threads=1)
        assert [item.shape for item in session.inputs] == [(None, 4), (None, 6)]
        assert [item.name for item in session.outputs] == ["p", "q"]
        assert two_sided.worst_db([session.run(feed) for feed in two_sided.feeds]) > 100

    def test_lane_copies_what_is_needed(self, cnn: Made, tmp_path: Path) -> None:
        (trial,) = saved_model.ways(models.context(cnn.folder, tmp_path, Precision.FP32, cnn.feeds))
        trial.make(trial.path)
        names = {item.relative_to(trial.path).as_posix() for item in trial.path.rglob("*") if item.is_file()}
        assert names == {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}
        session = open_model(trial.path, Format.SAVED_MODEL, threads=1)
        assert cnn.worst_db([session.run(feed) for feed in cnn.feeds]) > 100

    def test_lane_makes_no_other_precision(self, cnn: Made, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedError) as caught:
            list(saved_model.ways(models.context(cnn.folder, tmp_path, Precision.INT8, cnn.feeds)))
        assert caught.value.code == "unsupported_precision"
        assert caught.value.details == {"nearest": {"target_format": "tflite", "precision": "int8"}}


class TestToOnnx:
    @pytest.fixture(params=["cnn", "recurrent", "two_sided"])
    def made(self, request: pytest.FixtureRequest) -> Made:
        found: Made = request.getfixturevalue(request.param)
        return found

    def test_computes_the_same_under_the_same_names(self, made: Made, tmp_path: Path) -> None:
        target = tmp_path / "model.onnx"
        done = saved_model_to_onnx.convert(models.conversion(made.folder, target, made.session.inputs))
        assert int(str(done.settings["opset"])) >= 17
        onnx.checker.check_model(str(target), full_check=True)
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        assert [item.name for item in session.get_inputs()] == [item.name for item in made.session.inputs]
        names = [item.name for item in made.session.outputs]
        assert made.worst_db([session.run(names, feed) for feed in made.feeds]) > 100
        assert {item.shape[0] for item in session.get_inputs()} == {"batch"}

    def test_the_same_bytes_again(self, cnn: Made, tmp_path: Path) -> None:
        for name in ("one.onnx", "two.onnx"):
            saved_model_to_onnx.convert(models.conversion(cnn.folder, tmp_path / name, cnn.session.inputs))
        assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()

    def test_the_work_is_counted_alike(self, cnn: Made, tmp_path: Path) -> None:
        target = tmp_path / "model.onnx"
        saved_model_to_onnx.convert(models.conversion(cnn.folder, target, cnn.session.inputs))
        assert describe(onnx.load(target))["macs"] == 8 * 8 * 8 * 27 + 6 * 6 * 8 * 9 + 8 * 4

    def test_text_is_refused(self, words: Path, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedError) as caught:
            saved_model_to_onnx.convert(models.conversion(words, tmp_path / "model.onnx", ()))
        assert caught.value.code == "unsupported_operator"
        assert "'text'" in caught.value.message


class TestToTflite:
    @pytest.mark.parametrize(
        ("precision", "floor"),
        [
            (Precision.FP32, 100),
            (Precision.FP16, 55),
            (Precision.INT8, 20),
            (Precision.INT8_DYNAMIC, 30),
            (Precision.INT16X8, 30),
        ],
    )
    def test_a_cnn(self, cnn: Made, tmp_path: Path, precision: Precision, floor: float) -> None:
        trial = tflite_trials(cnn, tmp_path, precision)[0]
        trial.make(trial.path)
        assert trial.path.suffix == ".tflite"
        assert cnn.worst_db(tflite_answers(trial.path, cnn.feeds, cnn.session.outputs)) > floor
        assert json.dumps(dict(trial.settings))

    def test_fp16_spares_small_constants(self, tmp_path: Path) -> None:
        import tensorflow as tf

        module = tf.Module()
        module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32))
        spec = tf.TensorSpec([None, 16], tf.float32, name="x")
        module.run = tf.function(
            lambda x: {"y": tf.math.log(tf.nn.relu(x @ module.kernel) + 1e-10)}, input_signature=[spec]
        )
        tf.saved_model.save(module, str(tmp_path / "log"), signatures=module.run)
        value = np.random.default_rng(1).normal(size=(1, 16)).astype(np.float32)
        context = models.context(tmp_path / "log", tmp_path, Precision.FP16, [{"x": value}])
        trial = next(iter(tflite_from_saved_model.ways(context)))
        trial.make(trial.path)
        (answer,) = tflite_answers(trial.path, [{"x": value}], context.outputs)[0]
        assert np.isfinite(answer).all()
        assert models.sqnr_db(module.run(tf.constant(value))["y"].numpy(), answer) > 50
        types = {item["dtype"] for item in Interpreter(model_path=str(trial.path)).get_tensor_details()}
        assert np.float16 in types

    def test_a_recurrent_network(self, recurrent: Made, tmp_path: Path) -> None:
        trial = tflite_trials(recurrent, tmp_path, Precision.FP32)[0]
        trial.make(trial.path)
        assert recurrent.worst_db(tflite_answers(trial.path, recurrent.feeds, recurrent.session.outputs)) > 100

    def test_a_recurrent_network_is_not_calibrated(self, recurrent: Made, tmp_path: Path) -> None:
        trial = tflite_trials(recurrent, tmp_path, Precision.INT8)[0]
        with pytest.raises(UnsupportedError) as caught:
            trial.make(trial.path)
        assert caught.value.code == "unsupported_operator"
        assert caught.value.details is not None
        assert caught.value.details["nearest"] == {"target_format": "tflite", "precision": "int8_dynamic"}

    def test_several_inputs_keep_their_names(self, two_sided: Made, tmp_path: Path) -> None:
        trial = tflite_trials(two_sided, tmp_path, Precision.INT8)[0]
        trial.make(trial.path)
        assert two_sided.worst_db(tflite_answers(trial.path, two_sided.feeds, two_sided.session.outputs)) > 20

    def test_integers_at_the_edges(self, cnn: Made, tmp_path: Path) -> None:
        trial = tflite_trials(cnn, tmp_path, Precision.INT8, integer_io=True)[0]
        trial.make(trial.path)
        interpreter = Interpreter(model_path=str(trial.path))
        edges = (*interpreter.get_input_details(), *interpreter.get_output_details())
        assert {np.dtype(item["dtype"]).name for item in edges} == {"int8"}
        assert all(item["quantization"][0] > 0 for item in edges)

    def test_the_same_bytes_again(self, cnn: Made, tmp_path: Path) -> None:
        made = []
        for place in range(2):
            trial = tflite_trials(cnn, tmp_path, Precision.INT8)[0]
            trial.make(tmp_path / f"{place}.tflite")
            made.append((tmp_path / f"{place}.tflite").read_bytes())
        assert made[0] == made[1]

    def test_ways_follow_the_options(self, cnn: Made, tmp_path: Path) -> None:
        both = tflite_trials(cnn, tmp_path, Precision.INT8)
        assert [trial.settings["per_channel"] for trial in both] == [True, False]
        one = tflite_trials(cnn, tmp_path, Precision.INT8, per_channel=False)
        assert [trial.settings["per_channel"] for trial in one] == [False]

    def test_calibration_needs_samples(self, cnn: Made, tmp_path: Path) -> None:
        with pytest.raises(UserInputError) as caught:
            list(tflite_from_saved_model.ways(models.context(cnn.folder, tmp_path, Precision.INT8, [])))
        assert caught.value.code == "dataset_required"

    @pytest.mark.parametrize("precision", [Precision.INT4, Precision.FP8])
    def test_what_the_converter_does_not_make(self, cnn: Made, tmp_path: Path, precision: Precision) -> None:
        with pytest.raises(UnsupportedError) as caught:
            tflite_trials(cnn, tmp_path, precision)
        assert caught.value.code == "unsupported_precision"

    def test_text_is_refused(self, words: Path, tmp_path: Path) -> None:
        (trial,) = tflite_from_saved_model.ways(models.context(words, tmp_path, Precision.FP32, []))
        with pytest.raises(UnsupportedError) as caught:
            trial.make(trial.path)
        assert caught.value.code == "unsupported_operator"

    def test_operators_without_a_form_are_named(self, tmp_path: Path) -> None:
        import tensorflow as tf

        module = tf.Module()
        spec = tf.TensorSpec([1, 4, 4], tf.float32, name="x")
        module.run = tf.function(lambda x: {"y": tf.linalg.inv(x)}, input_signature=[spec])
        tf.saved_model.save(module, str(tmp_path / "inverse"), signatures=module.run)
        (trial,) = tflite_from_saved_model.ways(models.context(tmp_path / "inverse", tmp_path, Precision.FP32, []))
        with pytest.raises(UnsupportedError) as caught:
            trial.make(trial.path)
        assert caught.value.details is not None
        assert caught.value.details["operators"] == ["MatrixInverse"]
        assert caught.value.details["nearest"]["target_format"] == "onnx"


class TestTfliteToOnnx:
    @pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
    def test_computes_the_same_under_the_same_names(self, cnn: Made, tmp_path: Path, precision: Precision) -> None:
        trial = tflite_trials(cnn, tmp_path, precision)[0]
        trial.make(trial.path)
        expected = tflite_answers(trial.path, cnn.feeds, cnn.session.outputs)
        target = tmp_path / "back.onnx"
        inputs = [Tensor(name="image", dtype="float32", shape=(1, 16, 16, 3))]
        tflite_to_onnx.convert(models.conversion(trial.path, target, inputs))
        # As it is written: integer kernels would saturate on x86 processors without VNNI.
        session = open_model(target, Format.ONNX, threads=1, optimize=False)
        assert [output.name for output in session.outputs] == ["classes"]
        answers = [session.run(feed) for feed in cnn.feeds]
        assert min(models.sqnr_db(x[0], y[0]) for x, y in zip(expected, answers, strict=True)) > 40
        operators = {node.op_type for node in onnx.load(target).graph.node}
        assert ("QuantizeLinear" in operators) is (precision is Precision.INT8)


class TestToCoreMl:
    @pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
    def test_keeps_names(self, two_sided: Made, tmp_path: Path, precision: Precision) -> None:
        import coremltools

        (trial,) = coreml.ways(models.context(two_sided.folder, tmp_path, precision, two_sided.feeds))
        trial.make(trial.path)
        assert trial.settings["parity"] == "not_checked"
        program = coremltools.models.MLModel(str(trial.path), skip_model_load=True)
        described = program.get_spec().description
        assert [item.name for item in described.input] == ["left", "right"]
        assert [item.name for item in described.output] == ["p", "q"]

    def test_names_that_core_ml_has_not_are_respelled(self, tmp_path: Path) -> None:
        import coremltools
        import tensorflow as tf

        module = tf.Module()
        call = tf.function(lambda x: {"softmax_0.tmp_0": tf.nn.softmax(x)})
        concrete = call.get_concrete_function(tf.TensorSpec((1, 4), tf.float32, name="x"))
        tf.saved_model.save(module, str(tmp_path / "net"), signatures=concrete)
        (trial,) = coreml.ways(models.context(tmp_path / "net", tmp_path, Precision.FP32, []))
        trial.make(trial.path)
        described = coremltools.models.MLModel(str(trial.path), skip_model_load=True).get_spec().description
        assert [item.name for item in described.output] == ["softmax_0_tmp_0"]

    def test_a_recurrent_network_is_refused(self, recurrent: Made, tmp_path: Path) -> None:
        (trial,) = coreml.ways(models.context(recurrent.folder, tmp_path, Precision.FP16, recurrent.feeds))
        with pytest.raises(EngineError) as caught:
            trial.make(trial.path)
        assert caught.value.code == "unsupported_operator"


class TestSizes:
    def test_a_batch_of_one_and_the_sample_for_the_rest(self) -> None:
        item = Tensor(name="x", dtype="float32", shape=(None, None, 3))
        assert fixed_sizes([item], {"x": np.zeros((4, 9, 3))}) == [(1, 9, 3)]

    def test_a_size_that_nobody_knows(self) -> None:
        with pytest.raises(UnsupportedError) as caught:
            fixed_sizes([Tensor(name="x", dtype="float32", shape=(None, None, 3))], None)
        assert "'x'" in caught.value.message

    def test_names_that_arguments_can_have(self) -> None:
        assert argument_names(["a-b", "a_b", "1st", "fine"]) == ["a_b_0", "a_b_1", "input_1st", "fine"]
