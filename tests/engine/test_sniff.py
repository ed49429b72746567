"""Files are told by their content."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from edge_ai import sample
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import DatasetHeader, read_dataset_header, sniff_model
from edge_ai.engine.spec import Format

from . import graphs


def zip_of(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("__", "/"), data)
    return path


def test_the_samples_are_told_apart() -> None:
    assert sniff_model(sample.ONNX_MODEL).format is Format.ONNX
    assert sniff_model(sample.TFLITE_MODEL).format is Format.TFLITE
    assert sniff_model(sample.KERAS_MODEL).format is Format.KERAS


def test_the_name_of_a_file_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(sample.ONNX_MODEL.read_bytes())
    assert sniff_model(path).format is Format.ONNX


def test_every_tiny_graph_is_an_onnx_model(tmp_path: Path) -> None:
    for number, model in enumerate((graphs.conv_net(), graphs.dense_net(), graphs.trees())):
        assert sniff_model(graphs.save(model, tmp_path / f"{number}.onnx")).format is Format.ONNX


def test_a_saved_model_is_recognised_in_its_zip(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/saved_model.pb", b"\x08\x01")
    assert sniff_model(path).format is Format.SAVED_MODEL


def test_half_an_onnx_file_is_still_called_one(tmp_path: Path) -> None:
    whole = sample.ONNX_MODEL.read_bytes()
    path = tmp_path / "half.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    assert sniff_model(path).format is Format.ONNX


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"Dear model,\n" * 90, "plain text"),
        (b'{"layers": []}', "JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b"%PDF-1.7 " + bytes(100), "PDF"),
        (b"", "empty"),
        (bytes(range(256)) * 4, "no kind that is known"),
        (b"PK\x03\x04 and then nothing", "zip"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UserInputError) as caught:
        sniff_model(path)
    assert caught.value.code == "model_unreadable"
    assert word in caught.value.message


def test_a_pickle_is_refused_as_unsafe(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(UserInputError) as caught:
        sniff_model(path)
    assert caught.value.code == "model_unsafe"


@pytest.mark.parametrize("name", ["../saved_model.pb", "/saved_model.pb", "C:/saved_model.pb"])
def test_an_archive_that_would_leave_its_folder_is_unsafe(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"\x08\x01")
    with pytest.raises(UserInputError) as caught:
        sniff_model(path)
    assert caught.value.code == "model_unsafe"


def test_an_archive_that_explodes_is_unsafe(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "model.zip", **{"saved_model.pb": bytes(50 << 20)})
    with pytest.raises(UserInputError) as caught:
        sniff_model(path)
    assert caught.value.code == "model_unsafe"


def test_hdf5_is_keras_only_with_a_network(tmp_path: Path) -> None:
    whole, weights, other = tmp_path / "whole.h5", tmp_path / "weights.h5", tmp_path / "other.h5"
    with h5py.File(whole, "w") as file:
        file.attrs["model_config"] = "{}"
    with h5py.File(weights, "w") as file:
        file.attrs["layer_names"] = ["dense"]
    with h5py.File(other, "w") as file:
        file["temperature"] = [1.0, 2.0]
    assert sniff_model(whole).format is Format.KERAS
    for path, word in ((weights, "without its network"), (other, "not a Keras model")):
        with pytest.raises(UserInputError, match=word) as caught:
            sniff_model(path)
        assert caught.value.code == "model_unreadable"
        assert "model.save(" in (caught.value.fix or "")


def field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf that has a length, below 128."""
    return bytes([number << 3 | 2, len(content)]) + content


GRAPH = field(1, field(1, b"x") + field(2, b"Placeholder")) + field(1, field(1, b"y") + field(2, b"Relu"))


@pytest.mark.parametrize(
    ("content", "word", "fix"),
    [
        (GRAPH + field(4, b"\x08\x1b"), "frozen graph", "tf2onnx"),
        (GRAPH * 5000 + field(4, b"\x08\x1b"), "frozen graph", "tf2onnx"),
        (b"\x08\x01" + field(2, field(1, b"meta")), "saved_model.pb", "variables"),
        (b'<?xml version="1.0"?>\n<!-- a note -->\n<net name="m" version="11"></net>', ".xml", ".bin"),
        (b"7767517\n2 2\n", ".param", ".bin"),
    ],
)
def test_a_part_of_a_model_is_named_with_what_it_lacks(tmp_path: Path, content: bytes, word: str, fix: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(UserInputError) as caught:
        sniff_model(path)
    assert caught.value.code == "model_unreadable"
    assert word in caught.value.message
    assert fix in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ('<?xml version="1.0"?>\n<net name="m" version="11"/>', Format.OPENVINO),
        ("\ufeff<net>", Format.OPENVINO),
        ("<html><net></html>", None),
        ("<network>", None),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_xml_is_openvino_by_its_root(tmp_path: Path, text: str, format: Format | None, encoding: str) -> None:
    path = zip_of(tmp_path / "model.zip", **{"m__net.xml": text.encode(encoding), "m__net.bin": b"weights"})
    if format is not None:
        assert sniff_model(path).format is format
        return
    with pytest.raises(UserInputError, match="without a model"):
        sniff_model(path)


def test_a_param_is_ncnn_by_its_first_line(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "model.zip", **{"a.param": b"7767517\n1 1\n", "a.bin": b""})
    assert sniff_model(path).format is Format.NCNN
    path = zip_of(tmp_path / "other.zip", **{"a.param": b"learning rate 3\n", "a.bin": b""})
    with pytest.raises(UserInputError, match="without a model"):
        sniff_model(path)


def test_a_torchscript_archive_is_unsafe(tmp_path: Path) -> None:
    entries = {
        "net__data.pkl": b"\x80\x02.",
        "net__constants.pkl": b"\x80\x02.",
        "net__code__net.py": b"class Net: ...",
    }
    with pytest.raises(UserInputError) as caught:
        sniff_model(zip_of(tmp_path / "net.pt", **entries))
    assert caught.value.code == "model_unsafe"
    assert "torch.onnx.export(" in (caught.value.fix or "")


def test_the_header_of_a_data_set_is_read_without_its_arrays(tmp_path: Path) -> None:
    path = graphs.save_data(
        tmp_path / "d.npz", x=np.zeros((7, 3, 2), np.float32), ids=np.zeros((7, 4), np.int64), labels=np.arange(7)
    )
    header = read_dataset_header(path)
    assert [(a.name, a.dtype, a.shape) for a in header.arrays] == [
        ("x", "float32", (7, 3, 2)),
        ("ids", "int64", (7, 4)),
        ("labels", "int64", (7,)),
    ]
    assert (header.samples, header.has_labels) == (7, True)
    assert DatasetHeader.from_json(json.loads(json.dumps(header.to_json()))) == header


def test_an_array_of_objects_is_refused_unopened(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserInputError) as caught:
        read_dataset_header(path)
    assert caught.value.code == "dataset_unreadable"


@pytest.mark.parametrize(
    "content",
    [b"no archive", sample.ONNX_MODEL.read_bytes()[:1000], sample.EVALUATION_DATA.read_bytes()[:5000]],
    ids=["text", "a model", "half a data set"],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(UserInputError) as caught:
        read_dataset_header(path)
    assert caught.value.code == "dataset_unreadable"


def test_arrays_must_agree_on_the_number_of_samples(tmp_path: Path) -> None:
    path = graphs.save_data(tmp_path / "d.npz", x=np.zeros((7, 3)), y=np.zeros((6, 3)))
    with pytest.raises(UserInputError, match="'x' has 7, 'y' has 6"):
        read_dataset_header(path)


def test_labels_alone_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no inputs"):
        read_dataset_header(graphs.save_data(tmp_path / "d.npz", labels=np.arange(3)))


def test_an_archive_with_other_things_in_it_is_no_data_set(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 2)))
    path = zip_of(tmp_path / "d.npz", **{"x.npy": buffer.getvalue(), "run.py": b"print()"})
    with pytest.raises(UserInputError) as caught:
        read_dataset_header(path)
    assert caught.value.code == "dataset_unreadable"


@pytest.mark.parametrize(
    ("member", "broken"),
    [
        (b"\x93NUMPY\x02\x00\x01", False),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 40) + b"{'descr':'<f4','shape':(1e999,)}".ljust(40), False),
        (b"\x93NUMPY\x01\x00" + b"x" * 300, True),
    ],
    ids=["cut short", "endless shape", "damaged packing"],
)
def test_a_data_set_that_breaks_its_reader_is_refused(member: bytes, broken: bool, tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", member)
    if broken:
        content = bytearray(path.read_bytes())
        content[38:44] = b"\xff" * 6
        path.write_bytes(content)
    with pytest.raises(UserInputError) as refused:
        read_dataset_header(path)
    assert refused.value.code == "dataset_unreadable"
