"""The small interface that every format has: sniff, inspect, unpack, load, save. Running is the loaded session's part."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format


class ModelFormat(Protocol):
    """One format of model files. A module's ``HANDLER`` is one."""

    @property
    def format(self) -> Format:
        """Which format it is."""

    @property
    def file_name(self) -> str:
        """What a variant's one stored file is called, such as ``variant.onnx``; folders are stored as ``.zip``."""

    def sniff(self, path: Path) -> bool:
        """Whether the file is one, by its content."""

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the stored file at ``path``: the ``analysis`` of the API, with ``None`` for what cannot be known.

        Raises
        ------
        UserInputError
            ``model_unreadable``, ``model_unsafe``, ``external_data_missing``.
        """

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return what runtimes and converters open: the file itself, or what its archive holds, unpacked into ``workdir``.

        Unpacking twice is harmless. Nothing outside ``workdir`` is written, and ``path`` is never changed.
        """

    def load(self, unpacked: Path, *, threads: int, optimize: bool = True) -> Session:
        """Load it in a runtime of this machine; see :func:`edge_ai.engine.runtime.open_model`."""

    def save(self, made: Path, target: Path) -> int:
        """Put what a converter made (a file or folder) into one file at ``target``; returns its size in bytes.

        The same content gives the same bytes: archives hold sorted names and no times.
        """


HANDLERS: Final[dict[Format, str]] = {
    Format.ONNX: "edge_ai.engine.formats.onnx_file",
    Format.ORT: "edge_ai.engine.formats.ort",
    Format.TFLITE: "edge_ai.engine.formats.tflite",
    Format.KERAS: "edge_ai.engine.formats.keras",
    Format.SAVED_MODEL: "edge_ai.engine.formats.saved_model",
    Format.OPENVINO: "edge_ai.engine.formats.openvino",
    Format.NCNN: "edge_ai.engine.formats.ncnn",
    Format.COREML: "edge_ai.engine.formats.coreml",
    Format.GGUF: "edge_ai.engine.formats.gguf",
    Format.TENSORRT: "edge_ai.engine.formats.tensorrt",
    Format.OTHER: "edge_ai.engine.formats.torch",
}


def handler_of(format: Format) -> ModelFormat:
    """Return the handler of a format; its libraries are loaded only now."""
    handler: ModelFormat = import_module(HANDLERS[format]).HANDLER
    return handler


#: The fields of every analysis, and what they are where nothing is known.
EMPTY_ANALYSIS: Final[dict[str, Any]] = {
    "inputs": [],
    "outputs": [],
    "operators": {},
    "node_count": None,
    "parameter_count": None,
    "weight_bytes": None,
    "weight_bytes_by_dtype": None,
    "weight_bytes_by_operator": None,
    "macs": None,
    "macs_by_operator": None,
    "peak_activation_bytes": None,
    "opset": None,
    "ir_version": None,
    "producer": None,
    "precision": None,
    "dynamic_axes": [],
    "domains": {},
    "control_flow": [],
    "metadata": {},
    "warnings": [],
    # Kept apart from the rest, since it may be long.
    "layers": None,
}


def analysis_of(**known: Any) -> dict[str, Any]:
    """Return an analysis with what is known filled in.

    Raises
    ------
    KeyError
        For a field that no analysis has.
    """
    unknown = known.keys() - EMPTY_ANALYSIS.keys()
    if unknown:
        raise KeyError(f"An analysis has no {', '.join(sorted(unknown))}.")
    # Lists and objects are copied: an analysis is changed by whoever gets it.
    fresh = {
        name: type(value)(value) if isinstance(value, (list, dict)) else value for name, value in EMPTY_ANALYSIS.items()
    }
    return fresh | known


def free_axes(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ``dynamic_axes`` of described inputs."""
    return [
        {"input": item["name"], "axis": place, "name": axis}
        for item in inputs
        for place, axis in enumerate(item["shape"] or ())
        if not isinstance(axis, int)
    ]


def warning(code: str, detail: str, fix: str) -> dict[str, str]:
    """Return one of an analysis' ``warnings``."""
    return {"code": code, "detail": detail, "fix": fix}
