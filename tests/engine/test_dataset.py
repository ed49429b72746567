"""Reading data sets, holding them against a model, dividing them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.evaluate.dataset import Dataset, divide, load_dataset
from edge_ai.engine.evaluate.onnx_ranges import input_ranges
from edge_ai.engine.evaluate.parity import dataset_feeds
from edge_ai.engine.evaluate.representative import MadeUp, make_up_feeds
from edge_ai.engine.runtime.base import Tensor
from edge_ai.engine.runtime.onnx import OnnxSession, open_session
from edge_ai.engine.sniff import read_dataset_header
from edge_ai.engine.spec import Format

from . import graphs


def session(path: Path) -> OnnxSession:
    return open_session(path, Format.ONNX, threads=1)


def made_up_for(model: onnx.ModelProto, *, count: int, seed: int) -> MadeUp:
    inputs = session_of(model).inputs
    return make_up_feeds(inputs, count=count, seed=seed, ranges=input_ranges(model))


def session_of(model: onnx.ModelProto) -> OnnxSession:
    return open_session(model.SerializeToString(), Format.ONNX, threads=1)


def test_arrays_and_labels_are_read(tmp_path: Path) -> None:
    x = graphs.samples(6, 2, 6, 6)
    path = graphs.save_data(tmp_path / "d.npz", x=x, labels=np.arange(6))
    dataset = load_dataset(path)
    assert dataset.samples == 6
    assert np.array_equal(dataset.inputs["x"], x)
    assert dataset.labels is not None and dataset.labels.tolist() == [0, 1, 2, 3, 4, 5]
    labels = {"labels"}
    assert dataset.header().arrays == tuple(a for a in read_dataset_header(path).arrays if a.name not in labels)


def test_damaged_contents_are_refused(tmp_path: Path) -> None:
    path = graphs.save_data(tmp_path / "d.npz", x=graphs.samples(64, 100))
    data = bytearray(path.read_bytes())
    data[2000:2400] = bytes(400)
    path.write_bytes(bytes(data))
    with pytest.raises(UserInputError) as caught:
        load_dataset(path)
    assert caught.value.code == "dataset_unreadable"


def test_types_are_cast_to_what_the_model_takes(tmp_path: Path) -> None:
    path = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    given = Dataset(inputs={"x": graphs.samples(3, 2, 6, 6).astype(np.float64)}, labels=None)
    matched = given.matched(session(path).inputs)
    assert matched.inputs["x"].dtype == np.float32


def test_a_mismatch_names_both_sides(tmp_path: Path) -> None:
    path = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    given = Dataset(inputs={"image": graphs.samples(3, 2, 6, 6)}, labels=None)
    with pytest.raises(UserInputError) as caught:
        given.matched(session(path).inputs)
    assert caught.value.code == "dataset_mismatch"
    assert "x float32" in caught.value.message and "image float32" in caught.value.message


def test_inputs_are_described_with_their_free_axes(tmp_path: Path) -> None:
    path = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    assert [item.to_json() for item in session(path).inputs] == [
        {"name": "x", "dtype": "float32", "shape": ["batch", 2, 6, 6]}
    ]


def test_an_array_is_found_under_the_name_that_a_converter_made_of_the_inputs(tmp_path: Path) -> None:
    wanted = [Tensor(name="serving_default_in-put:0", dtype="float32", shape=(None, 3))]
    x = np.ones((4, 3), np.float32)
    assert Dataset(inputs={"in_put": x}, labels=None).matched(wanted).inputs.keys() == {"serving_default_in-put:0"}


def test_real_samples_are_quantized_for_an_input_of_integers_that_stand_for_them() -> None:
    wanted = [Tensor(name="x", dtype="int8", shape=(1, 3), scale=0.5, zero_point=-8)]
    given = Dataset(inputs={"x": np.array([[0.0, 1.0, 1000.0]], np.float32)}, labels=None)
    matched = given.matched(wanted).inputs["x"]
    assert matched.dtype == np.int8 and matched.tolist() == [[-8, -6, 127]]


def numbered(count: int) -> Dataset:
    return Dataset(inputs={"x": np.arange(count).reshape(count, 1)}, labels=np.arange(count))


def test_enough_samples_are_divided_without_overlap() -> None:
    parts = divide(numbered(600), calibration_samples=200, judgement_samples=256, seed=1)
    assert (parts.calibration.samples, parts.judgement.samples, parts.overlap) == (200, 256, False)
    used = [set(part.inputs["x"].ravel().tolist()) for part in (parts.calibration, parts.judgement)]
    assert not used[0] & used[1]
    assert parts.judgement.labels is not None
    assert np.array_equal(parts.judgement.labels, parts.judgement.inputs["x"].ravel())


def test_a_middling_set_is_halved() -> None:
    parts = divide(numbered(220), calibration_samples=200, judgement_samples=256, seed=1)
    assert (parts.calibration.samples, parts.judgement.samples, parts.overlap) == (110, 110, False)


def test_a_small_set_serves_both_ends_and_says_so() -> None:
    parts = divide(numbered(40), calibration_samples=200, judgement_samples=256, seed=1)
    assert (parts.calibration.samples, parts.judgement.samples, parts.overlap) == (40, 40, True)


def test_the_same_seed_draws_the_same_samples() -> None:
    drawn = [
        divide(numbered(500), calibration_samples=50, judgement_samples=50, seed=seed).calibration.inputs["x"]
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_fixed_batch_takes_samples_together_and_leaves_out_what_does_not_fill_one(tmp_path: Path) -> None:
    path = graphs.save(graphs.conv_net(batch=4), tmp_path / "m.onnx")
    opened = session(path)
    dataset = Dataset(inputs={"x": graphs.samples(10, 2, 6, 6)}, labels=None)
    feeds = list(dataset_feeds(opened.inputs, dataset))
    assert [feed["x"].shape for feed in feeds] == [(4, 2, 6, 6)] * 2
    assert opened.run(feeds[0])[0].shape == (4, 5)


def test_made_up_indices_stay_within_their_table() -> None:
    model = graphs.model_of(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        [graphs.value("ids", ["batch", "length"], TensorProto.INT64)],
        [graphs.value("y", ["batch", "length", 3])],
        [graphs.weight("table", 17, 3)],
    )
    made_up = made_up_for(model, count=20, seed=0)
    ids = np.concatenate([feed["ids"].ravel() for feed in made_up.feeds])
    assert made_up.data == "representative"
    assert ids.min() == 0 and ids.max() == 16
    assert ids.dtype == np.int64


def test_made_up_floats_use_the_range_of_a_quantized_input() -> None:
    model = graphs.model_of(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        [graphs.value("x", [1, 100])],
        [graphs.value("y", [1, 100])],
        [
            numpy_helper.from_array(np.array(0.5, np.float32), "s"),
            numpy_helper.from_array(np.array(100, np.uint8), "z"),
        ],
    )
    made_up = made_up_for(model, count=8, seed=0)
    values = np.concatenate([feed["x"].ravel() for feed in made_up.feeds])
    assert made_up.data == "representative"
    # uint8 with zero point 100 and scale 0.5 holds -50 to 77.5.
    assert -50 <= values.min() < -45 and 73 < values.max() <= 77.5


def test_floats_of_unknown_range_are_called_random() -> None:
    first, second = (made_up_for(graphs.conv_net(), count=2, seed=7) for _ in range(2))
    assert first.data == "random"
    assert first.feeds[0]["x"].shape == (1, 2, 6, 6)
    assert np.array_equal(first.feeds[1]["x"], second.feeds[1]["x"])
    assert not np.array_equal(first.feeds[0]["x"], first.feeds[1]["x"])
