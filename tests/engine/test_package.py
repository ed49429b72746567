"""Bundles: whole by their own sums, the same bytes again, and a program in them that answers what the runtime answers."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ai import sample
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.installed import versions_of
from edge_ai.engine.package import guide
from edge_ai.engine.package.bundle import make_bundle
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import Format, PackageSpec, spec_from_json, spec_to_json
from tests.engine import tensorflow_models
from tests.engine.graphs import Told, conv_net, save
from tests.engine.lane_contexts import lane_context

ALWAYS = {"README.md", "requirements.txt", "bundle.json", "SHA256SUMS"}
FACTS: dict[str, Any] = {
    "description": "Reads *digits*.\n\n# Not a heading",
    "source": {"name": "digits", "sha256": "ab" * 32, "size_bytes": 451_000},
    "made": {
        "parity": {
            "sqnr_db": 38.63,
            "cosine": 0.99993,
            "max_abs_error": 0.175,
            "top1_agreement": 0.995,
            "samples": 100,
            "data": "dataset",
            "metric": {"name": "top1", "reference": 0.988, "variant": 0.986},
        },
        "latency_ratio": 0.7312,
        "latency_against": "original",
        "warnings": [{"code": "few_samples", "detail": "There are few samples.", "fix": "Give more."}],
    },
    "measured": {
        "p50_ms": 0.0646,
        "ci95": [0.06397, 0.06499],
        "threads": 1,
        "device": "This machine",
        "runtime": "x 1",
    },
}


def pack(source: Path, format: Format, folder: Path, **fields: Any) -> tuple[dict[str, Any], Path]:
    """Make a bundle of a stored file."""
    folder.mkdir(exist_ok=True)
    shutil.copy(source, folder / source.name)
    spec = PackageSpec(model_path=source.name, format=format, **({"name": "digits"} | fields))
    result, (file,) = make_bundle(spec, folder, Told())
    assert (file.role, file.mime_type) == ("bundle", "application/zip")
    return result, folder / file.path


def unpacked(bundle: Path, folder: Path) -> Path:
    """Unpack a bundle, and let its own sums be checked by the tool that people have."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    checked = subprocess.run(
        ["/usr/bin/sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert len(checked.stdout.splitlines()) == len(found) - 1, "every file but the list itself is in the list"
    return folder


def run(folder: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Run the bundle's program as somebody would who has the runtime and nothing of this project."""
    done = subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        check=False,
    )
    assert done.returncode == status, done.stderr[-2000:]
    if status:
        return {"said": done.stderr}
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def onnx_file(folder: Path) -> Path:
    return save(conv_net(), folder / "net.onnx")


def ort_file(folder: Path) -> Path:
    from edge_ai.engine.lanes.ort import ways
    from edge_ai.engine.spec import Precision

    trial = next(ways(lane_context(onnx_file(folder), Format.ONNX, Precision.FP32, folder / "ort")))
    trial.make(trial.path)
    return trial.path


def openvino_file(folder: Path) -> Path:
    import openvino

    made = folder / "ir"
    made.mkdir()
    openvino.save_model(openvino.convert_model(onnx_file(folder)), made / "net.xml", compress_to_fp16=False)
    handler_of(Format.OPENVINO).save(made, folder / "ir.zip")
    return folder / "ir.zip"


def saved_model_file(folder: Path) -> Path:
    keras = tensorflow_models.saved(tensorflow_models.two_sided, folder / "net.keras")
    handler_of(Format.SAVED_MODEL).save(tensorflow_models.to_saved_model(keras, folder / "made"), folder / "net.zip")
    return folder / "net.zip"


SOURCES: dict[Format, Callable[[Path], Path]] = {
    Format.ONNX: onnx_file,
    Format.ORT: ort_file,
    Format.TFLITE: lambda folder: sample.ONNX_MODEL.with_name("digits.tflite"),
    Format.OPENVINO: openvino_file,
    Format.KERAS: lambda folder: tensorflow_models.saved(tensorflow_models.recurrent, folder / "net.keras"),
    Format.SAVED_MODEL: saved_model_file,
}
MODEL_FILES = {
    Format.ONNX: {"model.onnx"},
    Format.ORT: {"model.ort"},
    Format.TFLITE: {"model.tflite"},
    Format.OPENVINO: {"model.xml", "model.bin"},
    Format.KERAS: {"model.keras"},
}


@pytest.mark.parametrize("format", SOURCES)
def test_the_program_answers_what_the_runtime_answers(format: Format, tmp_path: Path) -> None:
    source = SOURCES[format](tmp_path)
    result, bundle = pack(source, format, tmp_path / "work")
    folder = unpacked(bundle, tmp_path / "bundle")
    files = {file["path"] for file in result["files"]}
    assert files == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if format in MODEL_FILES:
        assert files == ALWAYS | {"run.py"} | MODEL_FILES[format]
    else:
        assert {"saved_model/saved_model.pb", "saved_model/variables/variables.index"} < files
    assert result["runs_here"] and result["size_bytes"] == bundle.stat().st_size
    for file in result["files"]:
        content = (folder / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size_bytes"], file["sha256"])

    session = open_model(handler_of(format).unpack(source, tmp_path), format, threads=1)
    manifest = json.loads((folder / "bundle.json").read_text())
    assert [item["name"] for item in manifest["inputs"]] == [item.name for item in session.inputs]
    assert [item["name"] for item in manifest["outputs"]] == [item.name for item in session.outputs]
    random = np.random.default_rng(3)
    feed = {
        item.name: random.random([axis if isinstance(axis, int) else 3 for axis in item.shape or ()]).astype(item.dtype)
        for item in session.inputs
    }
    np.savez(tmp_path / "data.npz", **feed)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    told = run(folder, "--input", "../data.npz", "--output", "answers.npz", "--runs", "3", "--threads", "1")
    assert told["latency_ms"]["runs"] == 3 and 0 < told["latency_ms"]["min"] <= told["latency_ms"]["median"]
    assert told["runtime"].split()[0] in (folder / "requirements.txt").read_text()
    with np.load(folder / "answers.npz") as answers:
        for item, wanted in zip(session.outputs, session.run(feed), strict=True):
            np.testing.assert_allclose(answers[item.name], wanted, rtol=1e-4, atol=1e-5)
            (said,) = [each for each in told["outputs"] if each["name"] == item.name]
            assert (said["shape"], said["dtype"]) == (list(wanted.shape), str(wanted.dtype))


def test_the_program_makes_input_up_and_says_what_is_missing(tmp_path: Path) -> None:
    _, bundle = pack(onnx_file(tmp_path), Format.ONNX, tmp_path / "work")
    folder = unpacked(bundle, tmp_path / "bundle")
    run(folder, "--runs", "1", "--output", "one.npz")
    told = run(folder, "--runs", "1", "--output", "two.npz")
    assert told["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 2, 6, 6]}]
    assert told["input"] == "random"
    with np.load(folder / "one.npz") as one, np.load(folder / "two.npz") as two:
        np.testing.assert_array_equal(one["y"], two["y"])
    np.savez(folder / "strange.npz", a=np.zeros(1), b=np.zeros(1))
    assert "lacks x" in run(folder, "--input", "strange.npz", status=1)["said"]
    assert "at least 1" in run(folder, "--runs", "0", status=2)["said"]
    np.savez(folder / "flat.npz", x=np.zeros((1, 72), np.float32))
    np.savez(folder / "words.npz", x=np.full((1, 2, 6, 6), "word"))
    np.save(folder / "single.npy", np.zeros((1, 2, 6, 6), np.float32))
    (folder / "text.npz").write_text("no archive")
    for name, words in {
        "flat.npz": "The input 'x' has the shape (any, 2, 6, 6); the array given is (1, 72).",
        "words.npz": "The input 'x' is float32; the array given is <U4.",
        "single.npy": "single.npy cannot be read as an .npz of plain arrays",
        "text.npz": "text.npz cannot be read as an .npz of plain arrays",
        "none.npz": "none.npz cannot be read as an .npz of plain arrays",
    }.items():
        said = run(folder, "--input", name, status=1)["said"]
        assert words in said and "Traceback" not in said


def test_a_large_data_set_of_real_numbers_is_cut_and_quantized_to_what_an_integer_model_takes(tmp_path: Path) -> None:
    from edge_ai.engine.package import program

    item = {"name": "x", "dtype": "int8", "shape": [2, 3], "quantization": {"scale": 0.5, "zero_point": -1}}
    np.savez(tmp_path / "data.npz", anything=np.full((5, 3), 2.0))
    (array,) = program.read_input(tmp_path / "data.npz", [item])
    assert (array.dtype, array.shape, set(array.ravel().tolist())) == (np.int8, (2, 3), {3})
    (made,) = program.made_up([item], 0)
    assert (made.dtype, made.shape) == (np.int8, (2, 3)) and made.min() < 0
    texts = program.made_up([{"name": "t", "dtype": "string", "shape": [None, 2]}], 0)
    assert texts[0].shape == (1, 2) and texts[0][0, 0] == "text"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    source = onnx_file(tmp_path)
    first, one = pack(source, Format.ONNX, tmp_path / "one", facts=FACTS, recipe={"steps": [], "options": {}})
    _, two = pack(source, Format.ONNX, tmp_path / "two", facts=FACTS, recipe={"options": {}, "steps": []})
    assert one.read_bytes() == two.read_bytes()
    assert "recipe.json" in {file["path"] for file in first["files"]}
    with zipfile.ZipFile(one) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


def test_the_card_tells_what_is_known(tmp_path: Path) -> None:
    _, bundle = pack(onnx_file(tmp_path), Format.ONNX, tmp_path / "work", name="A|B <b>\n# c", facts=FACTS)
    with zipfile.ZipFile(bundle) as archive:
        card = archive.read("README.md").decode()
        requirements = archive.read("requirements.txt").decode()
    assert card.startswith("# A\\|B \\<b\\> \\# c\n")
    assert "\n# Not a heading" not in card
    for told in (
        "| `x` | `float32` | `[batch, 2, 6, 6]` |",
        "| `y` | `float32` | `[batch, 5]` |",
        "`Conv` × 1",
        "MACs of one inference",
        f"`{'ab' * 32}`",
        "SQNR 38.63 dB, cosine 0.9999, largest error 0.175, the same top class on 99.5 %",
        "top1 0.986 (its source: 0.988)",
        "0.731 × the time of its source",
        "Median latency 0.0646 ms (95 % interval 0.06397 to 0.06499 ms) on This machine, 1 thread",
        "There are few samples. Give more.",
        'InferenceSession("model.onnx"',
    ):
        assert told in card, told
    assert set(requirements.splitlines()) == {f"{n}=={v}" for n, v in versions_of(("onnxruntime", "numpy")).items()}


def gguf_file(folder: Path) -> Path:
    import gguf

    writer = gguf.GGUFWriter(folder / "net.gguf", "llama")
    writer.add_tensor("w", np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "net.gguf"


def test_a_format_that_does_not_run_here_gets_a_card_and_no_program(tmp_path: Path) -> None:
    result, bundle = pack(gguf_file(tmp_path), Format.GGUF, tmp_path / "work")
    assert result["runs_here"] is False
    assert {file["path"] for file in result["files"]} == ALWAYS | {"model.gguf"}
    card = (unpacked(bundle, tmp_path / "bundle") / "README.md").read_text()
    assert "llama-cli --model model.gguf" in card and "run.py" not in card
    assert "Not known: the file does not tell." in card


def test_every_format_has_its_guide() -> None:
    assert set(guide.SNIPPETS) == set(Format)
    for format in Format:
        assert "{" not in guide.snippet(format, "model").replace("{item.name", "")
    assert guide.distributions(Format.KERAS, {"producer": "keras 2.15.0"}) == (
        "tensorflow",
        "keras",
        "tf_keras",
        "numpy",
    )
    assert guide.distributions(Format.TENSORRT, {}) == ()


def test_a_spec_survives_its_json() -> None:
    spec = PackageSpec(model_path="m", format=Format.ONNX, name="n", facts=FACTS, recipe={"steps": []})
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
