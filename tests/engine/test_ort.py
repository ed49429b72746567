"""ORT files: written by onnxruntime from what the ONNX lane makes, described from their flatbuffer."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_ai import sample
from edge_ai.engine.errors import EngineError
from edge_ai.engine.evaluate.dataset import load_dataset
from edge_ai.engine.evaluate.parity import compare_variant, dataset_feeds, run_reference
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.lanes.ort import ways
from edge_ai.engine.runtime import open_model
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import Format, Precision
from tests.engine.graphs import conv_net, save, trees
from tests.engine.lane_contexts import closeness_db, lane_context, normal_feeds


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return save(conv_net(), tmp_path / "net.onnx")


def test_a_network_is_written_described_and_run(net: Path, tmp_path: Path) -> None:
    before = net.read_bytes()
    context = lane_context(net, Format.ONNX, Precision.FP32, tmp_path / "work")
    trial = next(ways(context))
    trial.make(trial.path)
    feeds = normal_feeds("x", 3, 2, 6, 6)
    assert closeness_db(net, Format.ONNX, trial.path, Format.ORT, feeds) > 100
    assert net.read_bytes() == before
    assert [caution.code for caution in context.cautions] == ["ort_slower_here"]

    stored = tmp_path / "variant.ort"
    handler = handler_of(Format.ORT)
    assert handler.save(trial.path, stored) == stored.stat().st_size
    assert handler.sniff(stored) and sniff_model(stored).format is Format.ORT
    analysis = handler.inspect(stored, tmp_path)
    assert analysis["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 2, 6, 6]}]
    assert analysis["outputs"] == [{"name": "y", "dtype": "float32", "shape": ["batch", 5]}]
    assert analysis["dynamic_axes"] == [{"input": "x", "axis": 0, "name": "batch"}]
    assert analysis["parameter_count"] == 4 * 2 * 9 + 4 + 144 * 5 + 5
    assert analysis["weight_bytes_by_dtype"]["float32"] == 4 * analysis["parameter_count"]
    assert analysis["precision"] == "fp32"
    assert sum(analysis["operators"].values()) == analysis["node_count"] >= 3
    assert [warning["code"] for warning in analysis["warnings"]] == ["last_step"]


def test_the_same_network_gives_the_same_contents(net: Path, tmp_path: Path) -> None:
    """The bytes differ in the order of one table, which onnxruntime does not fix; the recipe says so."""
    trials = [next(ways(lane_context(net, Format.ONNX, Precision.FP32, tmp_path / str(place)))) for place in range(2)]
    for trial in trials:
        trial.make(trial.path)
    one, two = (trial.path for trial in trials)
    assert one.stat().st_size == two.stat().st_size
    handler = handler_of(Format.ORT)
    assert handler.inspect(one, tmp_path) == handler.inspect(two, tmp_path)
    (feed,) = normal_feeds("x", 1, 2, 6, 6, count=1)
    answers = [open_model(path, Format.ORT, threads=1).run(feed)[0] for path in (one, two)]
    assert np.array_equal(*answers)
    assert trials[0].settings["reproducible_bytes"] is False


def test_int8_stays_small_and_close(tmp_path: Path) -> None:
    session = open_model(sample.ONNX_MODEL, Format.ONNX, threads=1)
    feeds = list(dataset_feeds(session.inputs, load_dataset(sample.CALIBRATION_DATA).matched(session.inputs), limit=60))
    context = lane_context(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / "work", feeds=feeds)
    reference = run_reference(session, feeds, data="dataset", batch=1, labels=None, softmax_outputs={})
    trial = next(ways(context))
    trial.make(trial.path)
    trial.parity = compare_variant(reference, open_model(trial.path, Format.ORT, threads=1))
    assert trial.parity.sqnr_db is not None and trial.parity.sqnr_db > 20
    assert trial.path.stat().st_size < 0.6 * sample.ONNX_MODEL.stat().st_size
    analysis = handler_of(Format.ORT).inspect(trial.path, tmp_path)
    assert "int8" in analysis["precision"]


def test_what_a_way_came_to_is_told_to_the_onnx_lane(tmp_path: Path) -> None:
    """A first way that is close enough ends its search, so that no further one is made."""
    session = open_model(sample.ONNX_MODEL, Format.ONNX, threads=1)
    feeds = list(dataset_feeds(session.inputs, load_dataset(sample.CALIBRATION_DATA).matched(session.inputs), limit=4))
    reference = run_reference(session, feeds, data="dataset", batch=1, labels=None, softmax_outputs={})
    names = []
    for trial in ways(lane_context(sample.ONNX_MODEL, Format.ONNX, Precision.FP16, tmp_path / "work", feeds=feeds)):
        trial.make(trial.path)
        trial.parity = compare_variant(reference, open_model(trial.path, Format.ORT, threads=1))
        names.append(trial.name)
    assert names == ["fp16 weights"]


def test_trees_are_counted_as_operators(tmp_path: Path) -> None:
    trial = next(
        ways(lane_context(save(trees(), tmp_path / "trees.onnx"), Format.ONNX, Precision.FP32, tmp_path / "work"))
    )
    trial.make(trial.path)
    analysis = handler_of(Format.ORT).inspect(trial.path, tmp_path)
    assert analysis["operators"] == {"TreeEnsembleRegressor": 1}
    assert analysis["domains"]["ai.onnx.ml"] == 3


def test_what_is_damaged_is_refused(net: Path, tmp_path: Path) -> None:
    trial = next(ways(lane_context(net, Format.ONNX, Precision.FP32, tmp_path / "work")))
    trial.make(trial.path)
    content = trial.path.read_bytes()
    for place, broken in enumerate((content[: len(content) // 2], content[:8], content[:8] + bytes(64))):
        path = tmp_path / f"{place}.ort"
        path.write_bytes(broken)
        with pytest.raises(EngineError) as caught:
            handler_of(Format.ORT).inspect(path, tmp_path)
        assert caught.value.code == "model_unreadable"
        assert str(tmp_path) not in caught.value.message


def test_names_that_are_no_text_are_refused(net: Path, tmp_path: Path) -> None:
    trial = next(ways(lane_context(net, Format.ONNX, Precision.FP32, tmp_path / "work")))
    trial.make(trial.path)
    path = tmp_path / "broken.ort"
    content = trial.path.read_bytes()
    assert b"\x05\x00\x00\x00batch" in content
    path.write_bytes(content.replace(b"\x05\x00\x00\x00batch", b"\x05\x00\x00\x00b\xff\xfech"))
    with pytest.raises(EngineError) as caught:
        handler_of(Format.ORT).inspect(path, tmp_path)
    assert caught.value.code == "model_unreadable"


def test_an_operator_that_onnxruntime_lacks_is_refused(net: Path, tmp_path: Path) -> None:
    context = lane_context(net, Format.ONNX, Precision.FP32, tmp_path / "work")
    model = onnx.load(net)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Teleport", "com.example"
    model.opset_import.add(domain="com.example", version=1)
    onnx.save(model, net)
    trial = next(ways(context))
    with pytest.raises(EngineError) as caught:
        trial.make(trial.path)
    assert caught.value.code == "unsupported_operator"
    assert "Teleport" in caught.value.message
