"""ONNX models that keep their weights beside them: small ones, through the ways that models over 2 GB go."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.formats import onnx as onnx_files
from edge_ai.engine.formats.onnx import data_of, read_graph, read_model, write_model
from edge_ai.engine.formats.onnx_analysis import describe
from edge_ai.engine.formats.onnx_file import HANDLER
from edge_ai.engine.lanes.base import size_of
from edge_ai.engine.package.bundle import make_bundle
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import MAX_ONE_FILE_BYTES, Format, PackageSpec, Precision
from tests.engine import graphs
from tests.engine.test_measure_benchmark import benchmark
from tests.engine.test_optimize import optimize
from tests.engine.test_plan import DENSE, HOST, plan, refusal

WEIGHTS = 4 * (32 * 512 + 512 * 8)
Change = Callable[[onnx.ModelProto], object]


def net() -> onnx.ModelProto:
    """Two dense layers; the first one's weights have 64 KB."""
    return graphs.dense_net(hidden=512)


def export(folder: Path, change: Change = lambda model: None) -> Path:
    """Save it as PyTorch's exporter does, and change what it refers to."""
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    onnx.save(net(), path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    change(model)
    return graphs.save_raw(model, path)


def packed(
    tmp_path: Path,
    change: Change = lambda model: None,
    *,
    without: str = "",
    extra: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Zip it as people do."""
    folder = export(tmp_path / "export", change).parent
    archive = tmp_path / "net.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
        for path in sorted(folder.iterdir()):
            if path.name != without:
                into.write(path, f"export/{path.name}")
        for name, content in extra.items():
            into.writestr(name, content)
    return archive


def inspected(archive: Path, folder: Path) -> dict[str, Any]:
    """Sniff and analyse."""
    folder.mkdir(exist_ok=True)
    assert sniff_model(archive).format is Format.ONNX
    return HANDLER.inspect(archive, folder)


def answers(path: Path) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": graphs.samples(3, 32)})[0]


def referring(**facts: str) -> Change:
    """Change where the first weight is said to be."""

    def change(model: onnx.ModelProto) -> None:
        for entry in model.graph.initializer[0].external_data:
            entry.value = facts.get(entry.key, entry.value)

    return change


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a file could hold 30 KB of weights."""
    monkeypatch.setattr(onnx_files, "MAX_ONE_FILE_BYTES", 30_000)
    monkeypatch.setattr(onnx_files, "SMALL_BYTES", 1_000)


def test_its_analysis_is_that_of_the_same_model_in_one_file(tmp_path: Path) -> None:
    found = inspected(packed(tmp_path), tmp_path / "work")
    alone = describe(net())
    assert found == alone | {"warnings": found["warnings"]}
    assert (found["weight_bytes"], found["parameter_count"], found["warnings"]) == (WEIGHTS, WEIGHTS // 4, [])


def test_large_weights_are_not_read_to_describe_it(tmp_path: Path, small_files: None) -> None:
    model, outside = read_graph(export(tmp_path / "export"))
    assert outside == {"net.onnx.data"}
    assert not any(tensor.HasField("raw_data") for tensor in model.graph.initializer)
    assert all(tensor.HasField("raw_data") for tensor in read_model(tmp_path / "export/net.onnx").graph.initializer)


def test_what_it_does_not_refer_to_is_told(tmp_path: Path) -> None:
    extra = {"export/notes.txt": b"hello", "__MACOSX/export/._net.onnx": b"\0"}
    found = inspected(packed(tmp_path, extra=extra), tmp_path / "work")
    (told,) = found["warnings"]
    assert told["code"] == "extra_files" and "'export/notes.txt'" in told["detail"] and "MACOSX" not in told["detail"]


@pytest.mark.parametrize(
    ("change", "without", "code"),
    [
        (referring(), "net.onnx.data", "external_data_missing"),
        (referring(location="other.bin"), "", "external_data_missing"),
        (referring(offset="999999999"), "", "external_data_missing"),
        (referring(length="999999999"), "", "external_data_missing"),
        (referring(location="../net.onnx.data"), "", "model_unsafe"),
        (referring(location="/etc/passwd"), "", "model_unsafe"),
        (referring(location="C:\\net.onnx.data"), "", "model_unsafe"),
    ],
)
def test_what_is_not_there_or_not_its_own_is_refused(tmp_path: Path, change: Change, without: str, code: str) -> None:
    with pytest.raises(UserInputError) as refused:
        inspected(packed(tmp_path, change, without=without), tmp_path / "work")
    assert refused.value.code == code
    if without:
        assert (refused.value.details or {})["missing"] == [without]


def test_of_two_models_in_one_archive_none_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserInputError) as refused:
        sniff_model(packed(tmp_path, extra={"export/second.onnx": b"\x08\x01"}))
    assert refused.value.code == "model_unreadable" and "2 ONNX files" in refused.value.message


def test_what_one_file_cannot_hold_is_written_into_two_and_packed_the_same_every_time(
    tmp_path: Path, small_files: None
) -> None:
    source = graphs.save(net(), tmp_path / "source.onnx")
    model, path = net(), tmp_path / "made.onnx"
    size = write_model(model, path)
    assert size == size_of(path) > WEIGHTS and data_of(path).exists() and path.stat().st_size < 2_000
    assert model == net(), "whoever wrote it goes on with it"
    back = read_model(path)
    assert [numpy_helper.to_array(each).tobytes() for each in back.graph.initializer] == [
        numpy_helper.to_array(each).tobytes() for each in net().graph.initializer
    ]
    assert np.array_equal(answers(path), answers(source))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert HANDLER.save(path, tmp_path / name / "variant.onnx") > WEIGHTS
    packed_once = (tmp_path / "a/variant.onnx").read_bytes()
    assert packed_once == (tmp_path / "b/variant.onnx").read_bytes()
    assert sorted(each.name for each in (tmp_path / "a").iterdir()) == ["variant.onnx"]
    found = inspected(tmp_path / "a/variant.onnx", tmp_path / "work")
    assert (found["parameter_count"], found["warnings"]) == (WEIGHTS // 4, [])


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8_DYNAMIC])
def test_a_variant_is_made_of_it(tmp_path: Path, precision: Precision, small_files: None) -> None:
    made = optimize(tmp_path / "job", precision, model=packed(tmp_path))
    assert made.result["parity"]["sqnr_db"] > 20
    assert made.result["size_bytes"] < 0.6 * WEIGHTS
    zipped = zipfile.is_zipfile(made.folder / made.files["model"].path)
    # fp16 leaves 40 KB of weights, which are still more than a file may hold here.
    assert zipped == (precision is Precision.FP16)
    assert made.result["analysis"]["warnings"] == []


def test_it_is_measured_from_where_it_was_unpacked(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    run = benchmark(tmp_path / "job", packed(tmp_path))
    assert run.result["latency_ms"]["p50"] > 0


def test_a_bundle_of_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    packed(tmp_path).rename(folder / "model.onnx")
    spec = PackageSpec(model_path="model.onnx", format=Format.ONNX, name="net")
    result, _ = make_bundle(spec, folder, graphs.Told())
    assert {"model/net.onnx", "model/net.onnx.data"} <= {each["path"] for each in result["files"]}
    with zipfile.ZipFile(folder / "bundle.zip") as archive:
        archive.extractall(tmp_path / "bundle")
    ran = subprocess.run(
        [sys.executable, "run.py", "--runs", "2"], cwd=tmp_path / "bundle", capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_ways_that_need_one_file_are_refused_for_models_that_one_cannot_hold() -> None:
    large = DENSE | {"weight_bytes": MAX_ONE_FILE_BYTES + 1}
    asked: dict[str, Any] = {
        "size_bytes": 2_000_000_000,
        "options": {},
        "device": replace(HOST, formats=(), precisions=()),
    }
    for precision in (Precision.FP16, Precision.INT8_DYNAMIC, Precision.FP8):
        assert plan(large, precision, **asked).precision == precision
    assert plan(large, Precision.INT8, **asked | {"options": {"weight_only": True}}).precision == "int8"
    for precision, changes in (
        (Precision.INT4, {}),
        (Precision.FP16, {"options": {"fp16_mode": "full"}}),
        (Precision.FP16, {"options": {"deduplicate": True}}),
        (Precision.FP16, {"target_format": Format.TFLITE}),
        (Precision.FP16, {"target_format": Format.ORT}),
    ):
        error: EngineError = refusal(large, precision, **asked | changes)
        assert error.code == "unsupported_size", (precision, changes)
        assert (error.details or {})["nearest"] == {"target_format": "onnx", "precision": "fp16"}


def test_a_weight_that_is_not_kept_as_bytes_is_moved_too(tmp_path: Path, small_files: None) -> None:
    model = net()
    values = numpy_helper.to_array(model.graph.initializer[0])
    spelt = TensorProto(name="w1", data_type=TensorProto.FLOAT, dims=values.shape, float_data=values.reshape(-1))
    model.graph.initializer[0].CopyFrom(spelt)
    write_model(model, tmp_path / "made.onnx")
    assert np.array_equal(numpy_helper.to_array(read_model(tmp_path / "made.onnx").graph.initializer[0]), values)
