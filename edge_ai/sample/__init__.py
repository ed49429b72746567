"""The bundled sample: a small digit classifier in three formats with labelled data (see README.md here).

Importing this package costs nothing: it only says where the files are. `edge_ai.sample.train` rebuilds them.
"""

from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).resolve().parent
KERAS_MODEL: Final = DIRECTORY / "digits.keras"
ONNX_MODEL: Final = DIRECTORY / "digits.onnx"
TFLITE_MODEL: Final = DIRECTORY / "digits.tflite"
EVALUATION_DATA: Final = DIRECTORY / "digits-eval.npz"
CALIBRATION_DATA: Final = DIRECTORY / "digits-calibration.npz"

__all__ = ["CALIBRATION_DATA", "DIRECTORY", "EVALUATION_DATA", "KERAS_MODEL", "ONNX_MODEL", "TFLITE_MODEL"]
