"""The steps one after the other, as the options ask for them."""

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_ai.engine.compress import simplify
from edge_ai.engine.compress.sizes import measure_sizes
from edge_ai.engine.compress.steps import compress
from edge_ai.engine.convert.onnx_prepare import DYNAMIC_OPSET, prepare_graph
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.quantize.dynamic import RECIPES, quantize_dynamically
from edge_ai.engine.spec import Precision
from tests.engine.compress_graphs import answers, branches, sqnr_db, tied_net, weights_of
from tests.engine.graphs import conv_net, dense_net, model_of, samples, save, trees, value, weight


def run(model: onnx.ModelProto, folder: Path, **options: Any) -> tuple[onnx.ModelProto, list[dict[str, Any]]]:
    source, target = save(model, folder / "model.onnx"), folder / "small.onnx"
    before = source.read_bytes()
    reports = compress(source, target, OptimizeOptions(**options), folder)
    assert source.read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "small.onnx"}
    json.dumps(reports, allow_nan=False)
    return onnx.load(target), reports


def clumsy_net() -> onnx.ModelProto:
    """Return a dense net with an Identity, a shape that is computed from constants, and two equal layers' weights."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("MatMul", ["same", "w1"], ["h"]),
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["h", "two"], ["g"]),
        helper.make_node("MatMul", ["g", "w2"], ["y"]),
    ]
    weights = [
        weight("w1", 64, 64, seed=1, scale=0.1),
        weight("w2", 64, 64, seed=1, scale=0.1),
        numpy_helper.from_array(np.array([1.0], np.float32), "one"),
    ]
    return model_of(nodes, [value("x", ["batch", 64])], [value("y", ["batch", 64])], weights)


def test_all_steps_run_in_order_and_tell_what_they_did(tmp_path: Path) -> None:
    model, reports = run(
        clumsy_net(), tmp_path, simplify=True, deduplicate=True, prune="unstructured", sparsity=0.5, cluster=16
    )

    assert [report["step"] for report in reports] == ["deduplicate", "prune", "simplify", "cluster"]
    for one, next_one in itertools.pairwise(reports):
        assert (one["bytes_after"], one["gzip_after"]) == (next_one["bytes_before"], next_one["gzip_before"])
    sizes = measure_sizes(tmp_path / "small.onnx")
    assert (reports[-1]["bytes_after"], reports[-1]["gzip_after"]) == (sizes.raw, sizes.gzip)
    assert reports[-1]["bytes_after"] < reports[0]["bytes_before"] / 8
    assert reports[1]["gzip_after"] < reports[1]["gzip_before"] * 0.7
    x = samples(3, 64)
    assert sqnr_db(answers(clumsy_net(), x)[0], answers(model, x)[0]) > 5


def test_pruning_does_not_depend_on_what_simplification_folds(tmp_path: Path) -> None:
    """The batch normalization behind the convolution scales a channel of small weights up, and one of large ones down."""
    scale = np.array([1e3, 1e-3], np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "zero", "zero", "one"], ["y"]),
    ]
    weights = [
        weight("w", 2, 8, 3, 3, seed=4),
        *(numpy_helper.from_array(values, name) for name, values in
          {"scale": scale, "zero": np.zeros(2, np.float32), "one": np.ones(2, np.float32)}.items()),
    ]  # fmt: skip
    source = model_of(nodes, [value("x", [1, 8, 5, 5])], [value("y", [1, 2, 3, 3])], weights)

    model, _ = run(source, tmp_path, prune="unstructured", sparsity=0.5, simplify=True)

    assert [node.op_type for node in model.graph.node] == ["Conv"]
    folded = next(values for values in weights_of(model).values() if values.ndim == 4)
    assert [0.3 < float(np.mean(channel == 0)) < 0.7 for channel in folded] == [True, True]


def test_simplifying_removes_what_does_nothing_and_keeps_what_is_computed(tmp_path: Path) -> None:
    source = clumsy_net()
    source.metadata_props.add(key="author", value="somebody")

    model, (report,) = run(source, tmp_path, simplify=True)

    assert report["tool"] == "onnxslim"
    assert report["checked"] is True
    assert report["nodes_after"] < report["nodes_before"] == 5
    assert [item.value for item in model.metadata_props] == ["somebody"]
    x = samples(3, 64)
    np.testing.assert_allclose(answers(model, x)[0], answers(source, x)[0], rtol=1e-4, atol=1e-4)


def test_an_input_that_nothing_reads_stays(tmp_path: Path) -> None:
    source = dense_net()
    source.graph.input.append(value("spare", [4]))

    model, (report,) = run(source, tmp_path, simplify=True)

    assert report["tool"] == "onnxslim"
    assert [item.name for item in model.graph.input] == ["x", "spare"]


def test_what_onnxslim_gets_wrong_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: onnx.ModelProto, largest: int = 0) -> onnx.ModelProto:
        made = onnx.ModelProto()
        made.CopyFrom(model)
        made.graph.initializer[0].CopyFrom(weight("w1", 64, 64, seed=8))
        return made

    monkeypatch.setattr(simplify, "slim", wrong)
    model, (report,) = run(clumsy_net(), tmp_path, simplify=True)

    assert report["tool"] == "onnxruntime"
    assert "computes something else" in report["note"]
    x = samples(3, 64)
    np.testing.assert_allclose(answers(model, x)[0], answers(clumsy_net(), x)[0], rtol=1e-4, atol=1e-4)


def test_a_table_that_the_graph_computes_is_not_written_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["table"]),
        helper.make_node("Add", ["x", "table"], ["y"]),
    ]
    weights = [numpy_helper.from_array(np.array([300, 700]), "shape")]
    source = model_of(nodes, [value("x", [300, 700])], [value("y", [300, 700])], weights)

    _, (report,) = run(source, tmp_path, simplify=True)

    assert report["bytes_after"] < 4096


def test_a_model_that_made_up_input_does_not_fit_is_said_not_to_be_compared(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["h"]), helper.make_node("Identity", ["h"], ["y"])]
    weights = [numpy_helper.from_array(np.array([7, 13]), "shape")]
    source = model_of(nodes, [value("x", ["n"])], [value("y", [7, 13])], weights)

    _, (report,) = run(source, tmp_path, simplify=True)

    assert report["checked"] is False
    assert "not compared" in report["note"]
    target = tmp_path / "again.onnx"
    (checked,) = compress(
        tmp_path / "model.onnx", target, OptimizeOptions(simplify=True), tmp_path, sample={"x": samples(91)}
    )
    assert checked["checked"] is True


@pytest.mark.parametrize("make", [trees, branches, conv_net, tied_net], ids=lambda make: make.__name__)
def test_nothing_grows_by_more_than_a_little(tmp_path: Path, make: Any) -> None:
    _, reports = run(make(), tmp_path, simplify=True, deduplicate=True, prune="2:4", cluster=256)
    assert reports[-1]["bytes_after"] <= reports[0]["bytes_before"] + 512


def test_without_options_the_model_is_passed_on(tmp_path: Path) -> None:
    model, reports = run(dense_net(), tmp_path)
    assert reports == []
    assert model.SerializeToString(deterministic=True) == dense_net().SerializeToString(deterministic=True)


def test_transposes_are_joined_only_where_the_model_stays_in_float(tmp_path: Path) -> None:
    source, target = save(tied_net(transposed=True), tmp_path / "model.onnx"), tmp_path / "small.onnx"
    found = {
        precision: compress(source, target, OptimizeOptions(deduplicate=True), tmp_path, precision=precision)[0]
        for precision in (Precision.FP16, Precision.INT8)
    }
    assert [report["transposes_joined"] for report in found.values()] == [1, 0]


@pytest.mark.parametrize("asked", [{"prune": "unstructured"}, {"prune": "2:4"}, {}], ids=str)
def test_a_compressed_model_can_be_quantized_and_its_zeros_stay_zero(tmp_path: Path, asked: dict[str, Any]) -> None:
    x = samples(64, 64)
    run(clumsy_net(), tmp_path, simplify=True, deduplicate=True, **asked)
    expected = answers(onnx.load(tmp_path / "small.onnx"), x)[0]

    prepared = prepare_graph(tmp_path / "small.onnx", tmp_path, opset=DYNAMIC_OPSET)
    quantize_dynamically(prepared.path, tmp_path / "int8.onnx", RECIPES[0])

    model = onnx.load(tmp_path / "int8.onnx")
    assert (tmp_path / "int8.onnx").stat().st_size < (tmp_path / "small.onnx").stat().st_size / 2
    assert sqnr_db(expected, answers(model, x)[0]) > 20
    if asked:
        matrix = next(values for values in weights_of(model).values() if values.shape == (64, 64))
        assert np.unique(matrix, return_counts=True)[1].max() >= matrix.size / 2


def test_a_damaged_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(dense_net().SerializeToString()[:500])
    with pytest.raises(UserInputError) as refused:
        compress(path, tmp_path / "small.onnx", OptimizeOptions(simplify=True), tmp_path)
    assert refused.value.code == "model_unreadable"


def test_packed_sizes_are_those_of_gzip(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3_000_000) + np.random.default_rng(0).bytes(1_500_000))
    sizes = measure_sizes(path)
    assert sizes.raw == 4_500_000
    assert sizes.gzip == pytest.approx(len(gzip.compress(path.read_bytes(), 6, mtime=0)), abs=16)
