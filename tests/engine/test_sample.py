"""The bundled sample is what its README says."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_ai import sample

FILES = (sample.KERAS_MODEL, sample.ONNX_MODEL, sample.TFLITE_MODEL, sample.EVALUATION_DATA, sample.CALIBRATION_DATA)


def test_everything_is_there_and_small() -> None:
    assert all(path.is_file() for path in FILES)
    assert sum(path.stat().st_size for path in FILES) < 2_000_000


def test_importing_the_sample_loads_nothing_heavy() -> None:
    code = (
        "import sys, edge_ai.sample;"
        "print([name for name in ('numpy', 'onnx', 'tensorflow', 'sklearn') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


def test_onnx_takes_batches_of_images_and_answers_logits() -> None:
    model = onnx.load(sample.ONNX_MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert {item.version for item in model.opset_import if item.domain == ""} == {17}
    (image,), (logits,) = model.graph.input, model.graph.output
    shape = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert (image.name, shape) == ("image", ["batch", 8, 8, 1])
    assert logits.name == "logits"


def test_accuracy_on_the_held_out_samples_is_at_least_97_percent() -> None:
    session = onnxruntime.InferenceSession(sample.ONNX_MODEL, providers=["CPUExecutionProvider"])
    with np.load(sample.EVALUATION_DATA, allow_pickle=False) as data:
        images, labels = data["image"], data["labels"]
    (logits,) = session.run(None, {"image": images})
    assert len(labels) == 500
    assert float(np.mean(logits.argmax(axis=1) == labels)) >= 0.97
    assert float(np.mean(logits.argmax(axis=1) == labels)) == pytest.approx(0.988)


def test_calibration_shares_no_sample_with_the_held_out_ones() -> None:
    from sklearn.datasets import load_digits

    with np.load(sample.EVALUATION_DATA) as held_out, np.load(sample.CALIBRATION_DATA) as calibration:
        assert calibration.files == ["image"]
        held_out_images, images = held_out["image"], calibration["image"]
    assert images.shape == (200, 8, 8, 1)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    everything = [image.tobytes() for image in (load_digits().data / 16.0).astype(np.float32)]
    rows = [image.tobytes() for image in (*held_out_images, *images)]
    assert set(rows) <= set(everything)
    assert not set(rows[:500]) & set(rows[500:])


def test_keras_and_tflite_files_are_of_their_kind() -> None:
    assert sample.KERAS_MODEL.read_bytes()[:4] == b"PK\x03\x04"
    assert sample.TFLITE_MODEL.read_bytes()[4:8] == b"TFL3"
