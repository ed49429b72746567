"""Keras files and SavedModels: what they hold, and which are refused before anything of them is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.base import EMPTY_ANALYSIS, handler_of
from edge_ai.engine.formats.keras_cost import UnknownShapeError, layer_answer
from edge_ai.engine.formats.keras_layers import walk
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format
from tests.engine import tensorflow_models as models

KERAS, SAVED_MODEL = handler_of(Format.KERAS), handler_of(Format.SAVED_MODEL)
#: 8×8 positions × 8 filters × 3×3×3; 6×6 positions × 8 channels × 3×3; 8 × 4.
CONV, DEPTHWISE, DENSE = 8 * 8 * 8 * 27, 6 * 6 * 8 * 9, 8 * 4


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.saved(models.cnn, tmp_path_factory.mktemp("cnn") / "cnn.keras")


@pytest.fixture(scope="module")
def cnn_folder(cnn: Path) -> Path:
    return models.to_saved_model(cnn, cnn.parent / "saved_model")


def refusal(path: Path, workdir: Path, format: Format = Format.KERAS) -> UserInputError:
    """Return why a file is refused, by its analysis and by its runtime alike."""
    handler = handler_of(format)
    with pytest.raises(UserInputError) as inspected:
        handler.inspect(path, workdir)
    with pytest.raises(UserInputError) as opened:
        open_model(handler.unpack(path, workdir), format, threads=1)
    assert opened.value.code == inspected.value.code
    return inspected.value


class TestKerasAnalysis:
    def test_counts_layers_weights_and_work(self, cnn: Path, tmp_path: Path) -> None:
        found = KERAS.inspect(cnn, tmp_path)
        assert found.keys() == EMPTY_ANALYSIS.keys()
        assert found["inputs"] == [{"name": "image", "dtype": "float32", "shape": [None, 16, 16, 3]}]
        assert found["outputs"] == [{"name": "classes", "dtype": "float32", "shape": [None, 4]}]
        assert found["operators"]["Conv2D"] == 1
        assert found["macs"] == CONV + DEPTHWISE + DENSE
        assert found["macs_by_operator"] == {"Conv2D": CONV, "DepthwiseConv2D": DEPTHWISE, "Dense": DENSE}
        parameters = 8 * 27 + 4 * 8 + (9 * 8 + 8) + (8 * 4 + 4)
        assert found["parameter_count"] == parameters
        assert found["weight_bytes_by_dtype"] == {"float32": 4 * parameters}
        assert found["weight_bytes_by_operator"]["Dense"] == 4 * 36
        assert found["precision"] == "fp32"
        assert found["dynamic_axes"] == [{"input": "image", "axis": 0, "name": None}]
        assert json.loads(json.dumps(found)) == found

    def test_hdf5_says_the_same(self, cnn: Path, tmp_path: Path) -> None:
        old = models.saved(models.cnn, tmp_path / "cnn.h5")
        ours, theirs = KERAS.inspect(old, tmp_path), KERAS.inspect(cnn, tmp_path)
        for field in ("inputs", "outputs", "operators", "macs", "parameter_count", "weight_bytes"):
            assert ours[field] == theirs[field]

    def test_work_of_free_steps_is_unknown(self, tmp_path: Path) -> None:
        found = KERAS.inspect(models.saved(models.recurrent, tmp_path / "r.keras"), tmp_path)
        assert found["macs"] is None
        assert [item["code"] for item in found["warnings"]] == ["macs_unknown"]
        assert "LSTM" in found["warnings"][0]["detail"]

    def test_inner_networks_are_walked(self) -> None:
        dense = {"class_name": "Dense", "config": {"name": "d", "units": 5}}
        inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [dense]}}
        start = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 3]}}
        outer = {"class_name": "Sequential", "config": {"name": "outer", "layers": [start, inner, dense]}}
        found = walk(outer)
        assert found.work["Dense"] == 15 + 25
        assert found.operators["Dense"] == 2

    @pytest.mark.parametrize(
        ("kind", "config", "shape", "answer", "work"),
        [
            ("Conv1D", {"kernel_size": [3], "filters": 4, "padding": "causal"}, (1, 10, 2), (1, 10, 4), 10 * 4 * 6),
            (
                "Conv2DTranspose",
                {"kernel_size": 3, "filters": 2, "strides": 2},
                (1, 4, 4, 3),
                (1, 9, 9, 2),
                16 * 3 * 18,
            ),
            ("SeparableConv2D", {"kernel_size": 3, "filters": 5}, (1, 5, 5, 2), (1, 3, 3, 5), 9 * 2 * 9 + 9 * 10),
            ("GRU", {"units": 4, "return_sequences": True}, (1, 6, 3), (1, 6, 4), 6 * 3 * 4 * 7),
            ("MaxPooling2D", {"pool_size": 2, "strides": None}, (1, 7, 7, 3), (1, 3, 3, 3), 0),
            ("ZeroPadding2D", {"padding": [[1, 0], [2, 2]]}, (1, 4, 4, 3), (1, 5, 8, 3), 0),
            ("ZeroPadding1D", {"padding": [3, 1]}, (1, 4, 2), (1, 8, 2), 0),
            ("Cropping2D", {"cropping": 1}, (1, 4, 4, 3), (1, 2, 2, 3), 0),
            ("Reshape", {"target_shape": [-1, 2]}, (1, 3, 4), (1, 6, 2), 0),
            ("Dense", {"units": 3}, (1, 5, 2), (1, 5, 3), 30),
            ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, (1, 5, 4), (1, 5, 4), 4 * 5 * 4 * 6 + 2 * 25 * 6),
        ],
    )
    def test_layers(self, kind: str, config: dict[str, Any], shape: Any, answer: Any, work: int) -> None:
        assert layer_answer(kind, config, [shape]) == (answer, work)

    def test_unknown_layers_say_so(self) -> None:
        with pytest.raises(UnknownShapeError):
            layer_answer("Mystery", {}, [(1, 2)])


class TestSavedModelAnalysis:
    def test_agrees_with_the_keras_file(self, cnn: Path, cnn_folder: Path, tmp_path: Path) -> None:
        found = SAVED_MODEL.inspect(models.zipped(cnn_folder, tmp_path / "cnn"), tmp_path)
        expected = KERAS.inspect(cnn, tmp_path)
        assert found["inputs"] == expected["inputs"]
        assert found["outputs"] == expected["outputs"]
        assert found["macs"] == expected["macs"]
        assert found["macs_by_operator"]["Conv2D"] == CONV
        assert found["parameter_count"] == expected["parameter_count"]
        assert found["weight_bytes_by_operator"]["MatMul"] == 4 * 32
        assert "StatefulPartitionedCall" not in found["operators"]
        assert found["producer"].startswith("tensorflow 2.")

    def test_loops_are_counted_by_their_steps(self, tmp_path: Path) -> None:
        import keras

        def fixed() -> Any:
            steps = keras.Input((7, 4), name="steps")
            return keras.Model(steps, keras.layers.LSTM(8)(steps))

        folder = models.to_saved_model(models.saved(fixed, tmp_path / "lstm.keras"), tmp_path / "lstm")
        found = SAVED_MODEL.inspect(models.zipped(folder, tmp_path / "lstm"), tmp_path)
        assert found["macs"] == 7 * 4 * 8 * (4 + 8)
        assert found["control_flow"] == ["While"]

    def test_reads_without_tensorflow(self, cnn: Path, cnn_folder: Path, tmp_path: Path) -> None:
        archive = models.zipped(cnn_folder, tmp_path / "cnn")
        code = (
            "import sys; from pathlib import Path; from edge_ai.engine.formats.base import handler_of\n"
            "from edge_ai.engine.spec import Format\n"
            f"a = handler_of(Format.SAVED_MODEL).inspect(Path({str(archive)!r}), Path({str(tmp_path)!r}))\n"
            f"b = handler_of(Format.KERAS).inspect(Path({str(cnn)!r}), Path({str(tmp_path)!r}))\n"
            "assert a['macs'] == b['macs'] and not {'tensorflow', 'keras'} & sys.modules.keys()\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_packing_again_gives_the_same_bytes(self, cnn_folder: Path, tmp_path: Path) -> None:
        first, second = tmp_path / "a.zip", tmp_path / "b.zip"
        assert SAVED_MODEL.save(cnn_folder, first) == SAVED_MODEL.save(cnn_folder, second)
        assert first.read_bytes() == second.read_bytes()
        assert SAVED_MODEL.sniff(first)
        assert not KERAS.sniff(first)


class TestUnsafeKeras:
    @pytest.mark.parametrize(
        ("layer", "named"),
        [
            ({"class_name": "Lambda", "module": "keras.layers", "config": {}}, "Lambda"),
            ({"class_name": "TFSMLayer", "module": "keras.layers", "config": {}}, "TFSMLayer"),
            ({"class_name": "__lambda__", "config": {"value": "x"}}, "lambda"),
            ({"class_name": "Evil", "module": "os", "config": {}}, "Evil"),
            (
                {"class_name": "Mine", "module": "keras.layers", "registered_name": "pack>Mine", "config": {}},
                "pack>Mine",
            ),
            ({"class_name": "function", "module": "keras.models", "config": "load_model"}, "load_model"),
            ({"class_name": "get_file", "module": "keras.utils", "config": {}}, "get_file"),
            ({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}, "io.write_file"),
            ({"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}}, "file"),
        ],
    )
    def test_is_refused_and_named(self, cnn: Path, tmp_path: Path, layer: dict[str, Any], named: str) -> None:
        def add(config: dict[str, Any]) -> None:
            config["config"]["layers"].append({"name": "x", "inbound_nodes": [], **layer})

        found = refusal(models.with_config(cnn, tmp_path / "bad.keras", add), tmp_path)
        assert found.code == "model_unsafe"
        assert named in found.message
        assert str(tmp_path) not in found.message

    def test_a_class_of_their_own_in_hdf5(self, tmp_path: Path) -> None:
        path = models.saved(models.cnn, tmp_path / "cnn.h5")
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            for layer in config["config"]["layers"]:
                for field in ("module", "registered_name"):
                    layer.pop(field, None)
            config["config"]["layers"][1]["class_name"] = "Homemade"
            file.attrs["model_config"] = json.dumps(config)
        found = refusal(path, tmp_path)
        assert found.code == "model_unsafe"
        assert "Homemade" in found.message

    def test_weights_in_other_files(self, tmp_path: Path) -> None:
        path = models.saved(models.cnn, tmp_path / "cnn.h5")
        with h5py.File(path, "r+") as file:
            file["model_weights"]["stolen"] = h5py.ExternalLink("/etc/passwd", "/")
        assert refusal(path, tmp_path).code == "model_unsafe"

    def test_what_it_was_trained_with_does_not_matter(self, cnn: Path, tmp_path: Path) -> None:
        def add(config: dict[str, Any]) -> None:
            config["compile_config"] = {"loss": {"class_name": "MyLoss", "module": "mine", "config": {}}}

        path = models.with_config(cnn, tmp_path / "fine.keras", add)
        assert open_model(path, Format.KERAS, threads=1).inputs[0].name == "image"

    @pytest.mark.parametrize("keep", [40, 400, 4000])
    def test_damage(self, cnn: Path, tmp_path: Path, keep: int) -> None:
        path = tmp_path / "cut.keras"
        path.write_bytes(cnn.read_bytes()[:keep])
        assert refusal(path, tmp_path).code == "model_unreadable"

    def test_weights_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            file["kernel"] = [1.0]
        assert refusal(path, tmp_path).code == "model_unreadable"


class TestUnsafeSavedModel:
    @staticmethod
    @pytest.fixture(scope="class")
    def bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        import tensorflow as tf

        folder = tmp_path_factory.mktemp("bad")

        def write(x: Any) -> Any:
            tf.io.write_file(x[0], "text")
            return {"y": x}

        def written(name: str, call: Any) -> Path:
            module = tf.Module()
            module.run = tf.function(call, input_signature=[tf.TensorSpec([1], tf.string, name="x")])
            tf.saved_model.save(module, str(folder / name), signatures=module.run)
            return models.zipped(folder / name, folder / f"{name}.zip")

        return {
            "ReadFile": written("read", lambda x: {"y": tf.io.read_file(x[0])}),
            "WriteFile": written("write", write),
            "EagerPyFunc": written("py", lambda x: {"y": tf.py_function(lambda v: v, [x], tf.string)}),
            "RestoreV2": written(
                "restore",
                lambda x: {
                    "y": tf.raw_ops.RestoreV2(
                        prefix=x[0], tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
                    )[0]
                },
            ),
        }

    @pytest.mark.parametrize("operator", ["ReadFile", "WriteFile", "EagerPyFunc", "RestoreV2"])
    def test_operators_that_touch_files_or_run_code(self, bad: dict[str, Path], tmp_path: Path, operator: str) -> None:
        found = refusal(bad[operator], tmp_path, Format.SAVED_MODEL)
        assert found.code == "model_unsafe"
        assert found.details is not None
        assert operator in found.details["operators"]

    def test_a_table_from_its_own_file_is_fine(self, tmp_path: Path) -> None:
        import tensorflow as tf

        words = tmp_path / "words.txt"
        words.write_text("cat\ndog\n")

        class Words(tf.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                source = tf.lookup.TextFileInitializer(str(words), tf.string, -2, tf.int64, -1)
                self.table = tf.lookup.StaticHashTable(source, -1)

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])  # type: ignore[untyped-decorator]
            def find(self, word: Any) -> Any:
                return {"place": self.table.lookup(word)}

        module = Words()
        tf.saved_model.save(module, str(tmp_path / "words"), signatures=module.find)
        words.unlink()
        session = open_model(tmp_path / "words", Format.SAVED_MODEL, threads=1)
        assert session.run({"word": np.array(["dog", "cat", "owl"])})[0].tolist() == [1, 0, -1]

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_damage(self, cnn_folder: Path, tmp_path: Path, share: float) -> None:
        folder = tmp_path / "cut"
        shutil.copytree(cnn_folder, folder)
        whole = (folder / "saved_model.pb").read_bytes()
        (folder / "saved_model.pb").write_bytes(whole[: int(share * len(whole))])
        path = models.zipped(folder, tmp_path / "cut")
        assert refusal(path, tmp_path, Format.SAVED_MODEL).code == "model_unreadable"

    def test_missing_variables(self, cnn_folder: Path, tmp_path: Path) -> None:
        shutil.copytree(cnn_folder, tmp_path / "bare")
        shutil.rmtree(tmp_path / "bare" / "variables")
        with pytest.raises(UserInputError) as caught:
            open_model(tmp_path / "bare", Format.SAVED_MODEL, threads=1)
        assert caught.value.code == "model_unreadable"
        assert str(tmp_path) not in caught.value.message
