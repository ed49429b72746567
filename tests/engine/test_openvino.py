"""OpenVINO IR: made from other formats, read without trust, run, and reported to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edge_ai import sample
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.evaluate.dataset import load_dataset
from edge_ai.engine.evaluate.parity import dataset_feeds
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.lanes.openvino import ways
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format, Precision
from tests.engine.graphs import conv_net, model_of, save, trees, value, weight
from tests.engine.lane_contexts import closeness_db, lane_context, normal_feeds

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return save(conv_net(), tmp_path / "net.onnx")


@pytest.fixture(scope="module")
def digits() -> list[Feed]:
    inputs = open_model(sample.ONNX_MODEL, Format.ONNX, threads=1, optimize=False).inputs
    return list(dataset_feeds(inputs, load_dataset(sample.CALIBRATION_DATA).matched(inputs), limit=40))


def first_of(model: Path, format: Format, precision: Precision, workdir: Path, **more: object) -> Trial:
    """Return the first way, made."""
    trial = next(ways(lane_context(model, format, precision, workdir, **more)))  # type: ignore[arg-type]
    trial.make(trial.path)
    return trial


def test_the_import_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    names = ["edge_ai.engine.lanes.openvino", "edge_ai.engine.formats.openvino", "nncf", "openvino.tools.ovc"]
    code = f"import sys, importlib; [importlib.import_module(name) for name in {names}]; "
    code += "print(sys.modules['openvino_telemetry'])"
    environment = os.environ | {
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["None"], done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("precision", "least_db", "weight_type", "width"),
    [(Precision.FP32, 100.0, "float32", 4), (Precision.FP16, 55.0, "float16", 2)],
)
def test_a_network_is_converted_and_described(
    net: Path, tmp_path: Path, precision: Precision, least_db: float, weight_type: str, width: int
) -> None:
    before = net.read_bytes()
    trial = first_of(net, Format.ONNX, precision, tmp_path / "work")
    feeds = normal_feeds("x", 3, 2, 6, 6)
    assert closeness_db(net, Format.ONNX, trial.path, Format.OPENVINO, feeds) > least_db
    assert net.read_bytes() == before

    stored = tmp_path / "variant.zip"
    handler = handler_of(Format.OPENVINO)
    assert handler.save(trial.path, stored) == stored.stat().st_size
    assert handler.sniff(stored)
    analysis = handler.inspect(stored, tmp_path / "unpacked")
    assert analysis["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, 2, 6, 6]}]
    assert analysis["outputs"] == [{"name": "y", "dtype": "float32", "shape": [None, 5]}]
    assert analysis["dynamic_axes"] == [{"input": "x", "axis": 0, "name": None}]
    assert analysis["operators"]["Convolution"] == 1
    assert analysis["parameter_count"] == 4 * 2 * 9 + 4 + 144 * 5 + 5
    assert analysis["weight_bytes_by_dtype"][weight_type] == analysis["parameter_count"] * width
    assert analysis["macs"] == 4 * 2 * 9 * 36 + 144 * 5
    assert analysis["precision"] == precision
    assert analysis["producer"].startswith("OpenVINO 20")
    assert analysis["warnings"] == []


def test_the_same_network_gives_the_same_bytes_wherever_it_lies(net: Path, tmp_path: Path) -> None:
    stored = []
    for place in range(2):
        folder = tmp_path / f"place {place}"
        folder.mkdir()
        copy = folder / f"copy-{place}.onnx"
        copy.write_bytes(net.read_bytes())
        trial = first_of(copy, Format.ONNX, Precision.FP16, folder / "work")
        stored.append(folder / "variant.zip")
        handler_of(Format.OPENVINO).save(trial.path, stored[-1])
        assert str(folder) not in (trial.path / "model.xml").read_text()
    assert stored[0].read_bytes() == stored[1].read_bytes()


def test_both_the_folder_and_the_xml_are_opened(net: Path, tmp_path: Path) -> None:
    trial = first_of(net, Format.ONNX, Precision.FP32, tmp_path / "work")
    feed = normal_feeds("x", 1, 2, 6, 6, count=1)[0]
    answers = [
        open_model(path, Format.OPENVINO, threads=1).run(feed)[0] for path in (trial.path, trial.path / "model.xml")
    ]
    assert np.array_equal(*answers)


def test_answers_are_not_overwritten_by_the_next(net: Path, tmp_path: Path) -> None:
    trial = first_of(net, Format.ONNX, Precision.FP32, tmp_path / "work")
    session = open_model(trial.path, Format.OPENVINO, threads=1)
    one, two = normal_feeds("x", 1, 2, 6, 6, count=2)
    first = session.run(one)[0]
    kept = first.copy()
    session.run(two)
    assert np.array_equal(first, kept)


def test_int8_is_calibrated_smaller_and_close(tmp_path: Path, digits: list[Feed]) -> None:
    half = first_of(sample.ONNX_MODEL, Format.ONNX, Precision.FP16, tmp_path / "half")
    trial = first_of(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / "int8", feeds=digits)
    assert closeness_db(sample.ONNX_MODEL, Format.ONNX, trial.path, Format.OPENVINO, digits) > 20
    assert (trial.path / "model.bin").stat().st_size < 0.7 * (half.path / "model.bin").stat().st_size
    analysis = handler_of(Format.OPENVINO).inspect(trial.path, tmp_path)
    assert analysis["precision"] == "qdq-int8"
    assert analysis["weight_bytes_by_dtype"]["int8"] > 0

    again = first_of(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / "again", feeds=digits)
    for name in ("model.xml", "model.bin"):
        assert (trial.path / name).read_bytes() == (again.path / name).read_bytes()


def test_int8_without_samples_is_refused(net: Path, tmp_path: Path) -> None:
    with pytest.raises(UserInputError) as caught:
        next(ways(lane_context(net, Format.ONNX, Precision.INT8, tmp_path / "work")))
    assert caught.value.code == "dataset_required"
    assert caught.value.details == {"nearest": {"target_format": "openvino", "precision": "fp16"}}


def test_weights_alone_need_no_samples(tmp_path: Path, digits: list[Feed]) -> None:
    trial = first_of(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / "work", weight_only=True)
    assert closeness_db(sample.ONNX_MODEL, Format.ONNX, trial.path, Format.OPENVINO, digits) > 25
    assert handler_of(Format.OPENVINO).inspect(trial.path, tmp_path)["precision"] == "weight-only"


def test_layers_stay_in_float_when_asked_to(tmp_path: Path, digits: list[Feed]) -> None:
    quantized, spared = (
        first_of(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / str(place), feeds=digits[:8], **options)
        for place, options in enumerate(({}, {"exclude_layers": ["Convolution"]}))
    )
    counts = [
        handler_of(Format.OPENVINO).inspect(trial.path, tmp_path)["operators"]["FakeQuantize"]
        for trial in (quantized, spared)
    ]
    assert counts[1] < counts[0]


def test_an_ir_is_a_source_as_well(net: Path, tmp_path: Path) -> None:
    plain = first_of(net, Format.ONNX, Precision.FP32, tmp_path / "work")
    xml = plain.path / "model.xml"
    halved = first_of(xml, Format.OPENVINO, Precision.FP16, tmp_path / "half")
    feeds = normal_feeds("x", 1, 2, 6, 6)
    assert closeness_db(xml, Format.OPENVINO, halved.path, Format.OPENVINO, feeds) > 55
    assert (halved.path / "model.bin").stat().st_size < 0.6 * (plain.path / "model.bin").stat().st_size


def test_tensorflow_lite_is_a_source(tmp_path: Path) -> None:
    trial = first_of(sample.TFLITE_MODEL, Format.TFLITE, Precision.FP16, tmp_path / "work")
    inputs = open_model(sample.TFLITE_MODEL, Format.TFLITE, threads=1).inputs
    feeds = list(dataset_feeds(inputs, load_dataset(sample.EVALUATION_DATA).matched(inputs), limit=8))
    assert closeness_db(sample.TFLITE_MODEL, Format.TFLITE, trial.path, Format.OPENVINO, feeds) > 45


def test_recurrent_networks_come_with_a_caution(tmp_path: Path) -> None:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)
    weights = [weight("w", 1, 16, 3), weight("r", 1, 16, 4, seed=1)]
    model = save(model_of([node], [value("x", [5, 1, 3])], [value("y", [5, 1, 1, 4])], weights), tmp_path / "lstm.onnx")
    context = lane_context(model, Format.ONNX, Precision.FP32, tmp_path / "work")
    next(ways(context))
    assert [caution.code for caution in context.cautions] == ["recurrent_slow_in_openvino"]


def test_what_openvino_cannot_convert_is_named(tmp_path: Path) -> None:
    context = lane_context(save(trees(), tmp_path / "trees.onnx"), Format.ONNX, Precision.FP32, tmp_path / "work")
    with pytest.raises(EngineError) as caught:
        next(ways(context))
    assert caught.value.code == "unsupported_operator"
    assert "TreeEnsembleRegressor" in caught.value.message
    assert caught.value.details and caught.value.details["operators"] == ["ai.onnx.ml.TreeEnsembleRegressor"]


def test_weights_alone_are_what_is_left_where_no_way_is_close(tmp_path: Path, digits: list[Feed]) -> None:
    """No trial is compared here, so none of them counts as close."""
    trials = list(ways(lane_context(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / "work", feeds=digits)))
    assert [trial.name for trial in trials][-1] == "int8 weights"
    assert len({trial.path for trial in trials}) == len(trials) == 4


@pytest.fixture(scope="module")
def ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ir")
    return first_of(save(conv_net(), folder / "net.onnx"), Format.ONNX, Precision.FP32, folder / "work").path


def with_entity(xml: bytes) -> bytes:
    return xml.replace(b"<net ", b'<!DOCTYPE net [<!ENTITY a "b">]><net ', 1)


def in_other_encoding(xml: bytes) -> bytes:
    return with_entity(xml).decode().encode("utf-16")


def without_layers(xml: bytes) -> bytes:
    return b'<?xml version="1.0"?><net name="n" version="11"><layers/></net>'


@pytest.mark.parametrize(
    ("change", "cut", "code"),
    [
        (with_entity, 0, "model_unsafe"),
        (in_other_encoding, 0, "model_unsafe"),
        (without_layers, 0, "model_unreadable"),
        (lambda xml: xml[: len(xml) // 2], 0, "model_unreadable"),
        (lambda xml: b"<html></html>", 0, "model_unreadable"),
        (lambda xml: xml, 100, "model_unreadable"),
        (lambda xml: xml.replace(b'offset="0"', b'offset="-8"'), 0, "model_unreadable"),
        (lambda xml: xml.replace(b'offset="0"', b'offset="none"'), 0, "model_unreadable"),
        (lambda xml: b"<a>" * 5000 + b"</a>" * 5000, 0, "model_unreadable"),
    ],
)
def test_what_is_damaged_or_hostile_is_refused(
    ir: Path, tmp_path: Path, change: Callable[[bytes], bytes], cut: int, code: str
) -> None:
    path = tmp_path / "model.zip"
    weights = (ir / "model.bin").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/model.xml", change((ir / "model.xml").read_bytes()))
        archive.writestr("net/model.bin", weights[: len(weights) - cut])
    with pytest.raises(EngineError) as caught:
        handler_of(Format.OPENVINO).inspect(path, tmp_path / "unpacked")
    assert caught.value.code == code
    assert caught.value.fix
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("format", [Format.OPENVINO, Format.NCNN, Format.COREML])
def test_an_archive_whose_packed_bytes_are_broken_is_refused(tmp_path: Path, format: Format) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.xml", "<net>" + "layer " * 5000)
    content = bytearray(path.read_bytes())
    content[len("model.xml") + 30] = 0xFF  # a kind of block that there is not
    path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        handler_of(format).inspect(path, tmp_path / "unpacked")
    assert caught.value.code == "model_unreadable"


@pytest.mark.parametrize("names", [("a.xml", "b.xml", "a.bin"), ("a.xml", "b.bin")])
def test_an_archive_must_hold_one_xml_and_its_weights(ir: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(ir / f"model{Path(name).suffix}", name)
    with pytest.raises(EngineError) as caught:
        handler_of(Format.OPENVINO).inspect(path, tmp_path / "unpacked")
    assert caught.value.code == "model_unreadable"


def test_what_nncf_does_not_have_is_refused(tmp_path: Path, digits: list[Feed]) -> None:
    context = lane_context(
        sample.ONNX_MODEL,
        Format.ONNX,
        Precision.INT8,
        tmp_path / "work",
        feeds=digits,
        calibration_method="entropy",
    )
    with pytest.raises(UserInputError) as caught:
        next(ways(context))
    assert (caught.value.code, caught.value.field) == ("invalid_request", "options.calibration_method")


def test_options_of_quantization_reach_the_file(tmp_path: Path, digits: list[Feed]) -> None:
    """Symmetric activations range from -x to nearly x; with one scale a weight, constants of scales hold one number."""
    trial = first_of(
        sample.ONNX_MODEL,
        Format.ONNX,
        Precision.INT8,
        tmp_path / "work",
        feeds=digits[:8],
        symmetric_activations=True,
        per_channel=False,
        calibration_method="percentile",
        percentile=99.9,
    )
    assert trial.settings["preset"] == "performance"
    assert trial.settings["weights"] == "int8"
    assert closeness_db(sample.ONNX_MODEL, Format.ONNX, trial.path, Format.OPENVINO, digits) > 10
    xml = (trial.path / "model.xml").read_text()
    assert '<preset value="performance" />' in xml
    usual = first_of(sample.ONNX_MODEL, Format.ONNX, Precision.INT8, tmp_path / "usual", feeds=digits[:8])
    assert (trial.path / "model.bin").stat().st_size < (usual.path / "model.bin").stat().st_size
