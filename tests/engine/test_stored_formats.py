"""Formats that are only looked into: what their headers tell, and what is refused."""

import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.formats.base import EMPTY_ANALYSIS, handler_of
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import Format


def inspected(path: Path, format: Format) -> dict[str, Any]:
    assert sniff_model(path).format is format
    handler = handler_of(format)
    assert handler.sniff(path)
    analysis = handler.inspect(path, path.parent)
    assert analysis.keys() == EMPTY_ANALYSIS.keys()
    assert [warning["code"] for warning in analysis["warnings"]] == ["stored_only"]
    with pytest.raises(UnsupportedError) as caught:
        handler.load(path, threads=1)
    assert caught.value.code == "unsupported_conversion" and caught.value.fix
    return analysis


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        handler_of(sniff_model(path).format).inspect(path, path.parent)
    assert caught.value.fix
    return caught.value.code


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("embedding", np.zeros((4, 64), np.float32))
    writer.add_tensor("head", np.zeros((4, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf_tells_its_tensors_and_architecture(llama: Path) -> None:
    analysis = inspected(llama, Format.GGUF)
    assert analysis["parameter_count"] == 512
    assert analysis["weight_bytes_by_dtype"] == {"float32": 1024, "float16": 512}
    assert analysis["metadata"]["general.architecture"] == "llama"
    assert analysis["metadata"]["context_length"] == "128"
    reader = gguf.GGUFReader(llama)
    assert sum(int(tensor.n_elements) for tensor in reader.tensors) == analysis["parameter_count"]


def test_a_damaged_gguf_is_refused(llama: Path, tmp_path: Path) -> None:
    content = llama.read_bytes()
    assert refusal(tmp_path / "short.gguf", content[:100]) == "model_unreadable"
    assert refusal(tmp_path / "cut.gguf", content[:-600]) == "model_unreadable"
    absurd = content[:8] + struct.pack("<QQ", 2**60, 2**60) + content[24:]
    assert refusal(tmp_path / "absurd.gguf", absurd) == "model_unreadable"
    wide = content.replace(struct.pack("<QQ", 64, 4), struct.pack("<QQ", 2**63, 2**63), 1)
    assert wide != content
    assert refusal(tmp_path / "wide.gguf", wide) == "model_unreadable"


def safetensors(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_safetensors_are_weights_without_a_network(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [24, 30]},
    }
    path.write_bytes(safetensors(header, bytes(30)))
    analysis = inspected(path, Format.OTHER)
    assert (analysis["parameter_count"], analysis["weight_bytes"], analysis["precision"]) == (9, 30, "fp32")
    assert "torch.onnx.export" in analysis["warnings"][0]["fix"]
    assert refusal(tmp_path / "cut", safetensors(header, bytes(20))) == "model_unreadable"


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]},
        {"dtype": "F32", "shape": [-2, -3], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2.0, 3.0], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [float("nan")], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": "23", "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [6], "data_offsets": [24, 0]},
        {"dtype": "F32", "shape": [6]},
        "F32",
    ],
)
def test_safetensors_whose_header_makes_no_sense_are_refused(tmp_path: Path, tensor: Any) -> None:
    assert refusal(tmp_path / "file", safetensors({"w": tensor}, bytes(24))) == "model_unreadable"


def test_a_tensorrt_engine_says_that_it_is_bound_to_its_gpu(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    path.write_bytes(b"ptrt" + struct.pack("<I", 7) + bytes(200))
    analysis = inspected(path, Format.TENSORRT)
    assert analysis["metadata"]["serialization"] == "7"
    assert "one GPU" in analysis["warnings"][0]["detail"]
    assert refusal(tmp_path / "cut", b"ptrt" + bytes(20)) == "model_unreadable"


PARAM = """7767517
3 3
Input            in0  0 1 in0
Convolution      conv 1 1 in0 1 0=4
ReLU             relu 1 1 1 out0
"""


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def test_ncnn_is_read_from_its_lines(tmp_path: Path) -> None:
    path = zipped(tmp_path / "model.zip", model__param=PARAM.encode(), model__bin=bytes(77))
    analysis = inspected(path, Format.NCNN)
    assert analysis["operators"] == {"Convolution": 1, "ReLU": 1}
    assert [item["name"] for item in analysis["inputs"]] == ["in0"]
    assert [item["name"] for item in analysis["outputs"]] == ["out0"]
    assert analysis["weight_bytes"] == 77
    cut = io.BytesIO()
    with zipfile.ZipFile(cut, "w") as archive:
        archive.writestr("model.param", PARAM[:50])
        archive.writestr("model.bin", b"")
    assert refusal(tmp_path / "cut.zip", cut.getvalue()) == "model_unreadable"


def test_a_core_ml_specification_tells_its_inputs_and_layers(tmp_path: Path) -> None:
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model(specificationVersion=4)
    feature = spec.description.input.add(name="image")
    feature.type.multiArrayType.shape.extend([1, 3, 8, 8])
    feature.type.multiArrayType.dataType = 65568
    layer = spec.neuralNetwork.layers.add(name="relu")
    layer.activation.ReLU.SetInParent()
    path = tmp_path / "model.mlmodel"
    path.write_bytes(spec.SerializeToString())
    analysis = inspected(path, Format.COREML)
    assert analysis["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 8, 8]}]
    assert analysis["operators"] == {"activation": 1}
    assert refusal(tmp_path / "cut", path.read_bytes()[:-3]) == "model_unreadable"


def test_a_core_ml_specification_is_read_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edge_ai.engine.formats.base import handler_of; "
        "from edge_ai.engine.spec import Format; "
        "print(handler_of(Format.COREML).inspect(Path('m'), Path('.'))['metadata']['kind'], 'tensorflow' in sys.modules)"
    )
    (tmp_path / "m").write_bytes(b"\x08\x04\x12\x00\xa2\x1f\x00")
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["neuralNetwork", "False"], done.stderr


def test_a_package_of_a_core_ml_program_counts_its_operations_and_weights(tmp_path: Path) -> None:
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model(specificationVersion=7)
    spec.mlProgram.version = 1
    block = spec.mlProgram.functions["main"].block_specializations["CoreML7"]
    for kind in ("const", "conv", "relu", "conv"):
        block.operations.add(type=kind)
    feature = spec.description.output.add(name="scores")
    feature.type.multiArrayType.dataType = 65552
    folder = "Data/com.apple.CoreML"
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m.mlpackage/Manifest.json", "{}")
        archive.writestr(f"m.mlpackage/{folder}/model.mlmodel", spec.SerializeToString())
        archive.writestr(f"m.mlpackage/{folder}/weights/weight.bin", bytes(640))
    analysis = inspected(path, Format.COREML)
    assert analysis["operators"] == {"conv": 2, "relu": 1}
    assert analysis["weight_bytes"] == 640
    assert analysis["ir_version"] == 7
    assert analysis["outputs"] == [{"name": "scores", "dtype": "float16", "shape": []}]


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"\x80\x04\x95 pickled", "model_unsafe", "torch.onnx.export"),
        (b'<?xml version="1.0"?>\n<net name="m" version="11"></net>', "model_unreadable", ".bin"),
        (PARAM.encode(), "model_unreadable", ".bin"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_what_to_do(tmp_path: Path, content: bytes, code: str, word: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        sniff_model(path)
    assert caught.value.code == code and word in caught.value.fix


def test_a_pytorch_archive_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "model.pt", archive__pkl=b"\x80\x02", data__bin=b"")
    with pytest.raises(EngineError) as caught:
        sniff_model(path)
    assert caught.value.code == "model_unsafe"


def test_an_archive_of_an_onnx_file_and_its_weights_is_an_onnx_model(tmp_path: Path) -> None:
    path = zipped(tmp_path / "model.zip", model__onnx=b"\x08\x08", weights__data=b"1234")
    assert sniff_model(path).format is Format.ONNX
