"""Files are told by their content."""

import io
import json
import pickle
import zipfile
from pathlib import Path

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
