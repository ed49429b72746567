"""The layers of a model as its analysis lists them, and why some formats have none to list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from edge_ai.engine.spec import Format

#: Of a model's layers, those that come first are kept; the names in them come from a stranger's file.
MAX_LAYERS: Final = 2000
MAX_TEXT: Final = 160
MAX_TENSORS: Final = 6
MAX_AXES: Final = 10

#: Why the layers of these formats are not listed.
WITHOUT_LAYERS: Final[Mapping[Format, str]] = {
    Format.KERAS: "A Keras file describes layers that only become operators when it is converted.",
    Format.SAVED_MODEL: "A SavedModel holds functions, which only become a list of operators when it is converted.",
    Format.OPENVINO: "The studio reads an OpenVINO IR as a whole, not layer by layer.",
    Format.ORT: "A file in ONNX Runtime format is arranged for its runtime, which alone reads it.",
    Format.COREML: "The studio reads a Core ML model’s description, not the network inside.",
    Format.NCNN: "The studio reads an NCNN network as a whole, not layer by layer.",
    Format.GGUF: "A GGUF file holds tensors; which layers use them is known to the program that runs it.",
    Format.TENSORRT: "A TensorRT engine is compiled for one kind of GPU; its layers cannot be read back.",
    Format.OTHER: "What is in a file of this format is not read at all.",
}

Shape = Sequence[int | None]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator of a network.

    Parameters
    ----------
    inputs, outputs
        The shapes of what it computes with and of what it computes, without its weights; ``None`` for one that is not known.
    parameters
        Learned numbers that it is the first to read.
    weight_bytes
        What these take in the file.
    macs
        Multiply-accumulates for one sample; 0 where it has none, ``None`` where they are not known before the model runs.
    precision
        The type of its weights, else that of what it computes.
    """

    name: str
    type: str
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape | None]
    parameters: int
    weight_bytes: int
    macs: int | None
    precision: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as the analysis has it."""
        return {
            "name": _printable(self.name),
            "type": _printable(self.type),
            "inputs": _bounded(self.inputs),
            "outputs": _bounded(self.outputs),
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
            "precision": self.precision,
        }


def listed(layers: Iterable[Layer], *, count: int) -> dict[str, Any]:
    """Return the ``layers`` of an analysis: the first of them, and how many there are."""
    return {"rows": [layer.to_json() for layer in islice(layers, MAX_LAYERS)], "count": count}


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:MAX_TEXT])


def _bounded(shapes: Sequence[Shape | None]) -> list[list[int | None] | None]:
    return [None if shape is None else list(shape[:MAX_AXES]) for shape in shapes[:MAX_TENSORS]]
