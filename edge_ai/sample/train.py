"""Train the bundled digit classifier and export it: `python -m edge_ai.sample.train --out DIR`.

The data are the 1,797 handwritten digits (8 x 8 pixels, 16 grey levels) that ship inside scikit-learn, so nothing is
downloaded. The split, the initial weights and the order of the batches follow from one seed. The held-out samples
take no part in training, in the number of epochs or in any other choice; calibration samples come from the training
part.

scikit-learn and TensorFlow are imported by this script only, never by the studio through `edge_ai.sample`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SEED: Final = 20240817
INPUT_NAME: Final = "image"
OUTPUT_NAME: Final = "logits"
HELD_OUT_SAMPLES: Final = 500
CALIBRATION_SAMPLES: Final = 200
EPOCHS: Final = 40
BATCH_SIZE: Final = 32
LEARNING_RATE: Final = 2e-3
ONNX_OPSET: Final = 17

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Split:
    """The digits, cut into a part to learn from and a held-out part.

    Images have shape (n, 8, 8, 1), dtype float32 and values in [0, 1]; labels have shape (n,) and values 0 to 9.
    """

    train_images: Images
    train_labels: Labels
    held_out_images: Images
    held_out_labels: Labels


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a build measured; accuracies are fractions of the held-out samples."""

    held_out_samples: int
    calibration_samples: int
    parameters: int
    accuracy_keras: float
    accuracy_onnx: float
    accuracy_tflite: float


def load_split() -> Split:
    """Cut scikit-learn's digits into training and held-out parts, each digit in the same share of both."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    images = (pixels / 16.0).astype(np.float32).reshape(-1, 8, 8, 1)
    train_images, held_out_images, train_labels, held_out_labels = train_test_split(
        images, digits.astype(np.int64), test_size=HELD_OUT_SAMPLES, random_state=SEED, stratify=digits
    )
    return Split(
        train_images=train_images,
        train_labels=train_labels,
        held_out_images=held_out_images,
        held_out_labels=held_out_labels,
    )


def build_network(tf: Any) -> Any:
    """Make the untrained network: four convolutions with batch normalization, global pooling, ten logits."""
    layers = tf.keras.layers
    image = tf.keras.Input((8, 8, 1), name=INPUT_NAME)
    x = image
    for number, filters in enumerate((32, 64, 64, 96), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        if number == 3:
            x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    logits = layers.Dense(10, name=OUTPUT_NAME)(x)
    return tf.keras.Model(image, logits, name="digits")


def train_network(tf: Any, split: Split) -> Any:
    """Train the network for a fixed number of epochs, the learning rate falling to zero along a half cosine."""
    network = build_network(tf)
    steps = EPOCHS * -(-len(split.train_images) // BATCH_SIZE)
    network.compile(
        optimizer=tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    network.fit(split.train_images, split.train_labels, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    # A copy with the weights alone: the optimizer's state would triple the size of the saved file.
    bare = build_network(tf)
    bare.set_weights(network.get_weights())
    return bare


def export_onnx(tf: Any, network: Any, path: Path) -> None:
    """Write the network as ONNX with a dynamic first dimension called "batch"."""
    import onnx
    import tf2onnx

    signature = (tf.TensorSpec((None, 8, 8, 1), tf.float32, name=INPUT_NAME),)
    model, _ = tf2onnx.convert.from_keras(network, input_signature=signature, opset=ONNX_OPSET)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.name = "digits"
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def export_tflite(tf: Any, network: Any, path: Path) -> None:
    """Write the network as float TFLite for one image at a time.

    It goes through a SavedModel with a batch of 1, written by Keras' own export: when saved with a signature made
    by hand, the weights were left out of the converted file, which then answered nonsense.
    """
    signature = [tf.TensorSpec((1, 8, 8, 1), tf.float32, name=INPUT_NAME)]
    folder = tempfile.mkdtemp(prefix="digits-saved-model-")
    try:
        network.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    finally:
        shutil.rmtree(folder)


def predict_onnx(path: Path, images: Images) -> npt.NDArray[np.int64]:
    """Classify images with the written ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = session.run([OUTPUT_NAME], {INPUT_NAME: images})[0]
    return np.asarray(np.argmax(logits, axis=1), dtype=np.int64)


def predict_tflite(path: Path, images: Images) -> npt.NDArray[np.int64]:
    """Classify images one by one with the written TFLite file."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    run = interpreter.get_signature_runner()
    logits = [next(iter(run(**{INPUT_NAME: image[np.newaxis]}).values()))[0] for image in images]
    return np.asarray(np.argmax(np.stack(logits), axis=1), dtype=np.int64)


def build(folder: Path) -> Summary:
    """Train, export and check everything.

    Parameters
    ----------
    folder
        Where the five files are written; made when it does not exist.

    Returns
    -------
    Summary
        The held-out accuracy of each written file, read back with its own runtime.
    """
    # Deterministic kernels on one thread: the order of additions is then the same on every run.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(SEED)

    folder.mkdir(parents=True, exist_ok=True)
    split = load_split()
    network = train_network(tf, split)
    network.save(folder / "digits.keras")
    export_onnx(tf, network, folder / "digits.onnx")
    export_tflite(tf, network, folder / "digits.tflite")

    held_out: dict[str, npt.NDArray[Any]] = {INPUT_NAME: split.held_out_images, "labels": split.held_out_labels}
    np.savez_compressed(folder / "digits-eval.npz", allow_pickle=False, **held_out)
    # The training part is already in random order, so its first samples are a random choice.
    calibration: dict[str, npt.NDArray[Any]] = {INPUT_NAME: split.train_images[:CALIBRATION_SAMPLES]}
    np.savez_compressed(folder / "digits-calibration.npz", allow_pickle=False, **calibration)

    images, labels = split.held_out_images, split.held_out_labels
    reloaded = tf.keras.models.load_model(folder / "digits.keras")
    keras_classes = np.argmax(reloaded.predict(images, verbose=0), axis=1)
    return Summary(
        held_out_samples=len(labels),
        calibration_samples=CALIBRATION_SAMPLES,
        parameters=int(network.count_params()),
        accuracy_keras=float(np.mean(keras_classes == labels)),
        accuracy_onnx=float(np.mean(predict_onnx(folder / "digits.onnx", images) == labels)),
        accuracy_tflite=float(np.mean(predict_tflite(folder / "digits.tflite", images) == labels)),
    )


def main() -> int:
    """Read the command line, build, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(prog="python -m edge_ai.sample.train", description="Rebuild the bundled sample.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the five files")
    summary = build(parser.parse_args().out)
    json.dump(asdict(summary), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
