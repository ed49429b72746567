"""ORT files: ONNX Runtime's own flatbuffer, the last step of a conversion."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from typing import Any, Final

import onnx
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import InferenceSession as Flatbuffer

from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.formats.base import analysis_of, free_axes, warning
from edge_ai.engine.formats.file import FileFormat
from edge_ai.engine.formats.onnx import dtype_name
from edge_ai.engine.formats.onnx_analysis import PARAMETERS, precision_of
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format

CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
#: What reading a flatbuffer whose offsets, types or names are broken raises, here and in onnxruntime's binding.
_DAMAGE: Final = (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError)


class OrtFormat(FileFormat):
    """See :class:`~edge_ai.engine.formats.base.ModelFormat`."""

    format = Format.ORT
    file_name = "variant.ort"

    def inspect(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Describe the file: what onnxruntime says of its inputs, and what its flatbuffer says of its graph."""
        try:
            session = self.load(path, threads=1, optimize=False)
            return _describe(path.read_bytes(), session)
        except EngineError as error:
            if error.code == "resource_limit":
                raise
            raise _unreadable("onnxruntime cannot load it") from error
        except _DAMAGE as error:
            raise _unreadable("what its tables hold makes no sense") from error


HANDLER: Final = OrtFormat()


def _describe(data: bytes, session: Session) -> dict[str, Any]:
    model = Flatbuffer.InferenceSession.GetRootAs(data, 0).Model()
    graph = model.Graph()
    operators = Counter(_text(graph.Nodes(place).OpType()) for place in range(graph.NodesLength()))
    sizes: Counter[str] = Counter()
    parameters = 0
    for place in range(graph.InitializersLength()):
        tensor = graph.Initializers(place)
        dtype, elements = dtype_name(tensor.DataType()), 1
        for axis in range(tensor.DimsLength()):
            elements *= tensor.Dims(axis)
        sizes[dtype] += _size(tensor, elements)
        parameters += elements if dtype in PARAMETERS else 0
    inputs = [item.to_json() for item in session.inputs]
    domains = {
        _text(model.OpsetImport(place).Domain()) or "ai.onnx": int(model.OpsetImport(place).Version())
        for place in range(model.OpsetImportLength())
    }
    return analysis_of(
        inputs=inputs,
        outputs=[item.to_json() for item in session.outputs],
        operators=dict(operators.most_common()),
        node_count=sum(operators.values()),
        parameter_count=parameters,
        weight_bytes=sum(sizes.values()),
        weight_bytes_by_dtype=dict(sizes.most_common()),
        opset=domains.get("ai.onnx"),
        ir_version=int(model.IrVersion()),
        producer=_text(model.ProducerName())[:200] or None,
        precision=precision_of(operators, sizes),
        dynamic_axes=free_axes(inputs),
        domains=domains,
        control_flow=sorted(CONTROL_FLOW & operators.keys()),
        warnings=[
            warning(
                "last_step",
                "An ORT file can be run and measured, but not converted or quantized any further.",
                "Start from the ONNX file that it was made from.",
            )
        ],
    )


def _size(tensor: Any, elements: int) -> int:
    raw = int(tensor.RawDataLength())
    if raw:
        return raw
    if tensor.DataType() == onnx.TensorProto.STRING:
        return sum(len(tensor.StringData(place)) for place in range(tensor.StringDataLength()))
    # Kept beside the flatbuffer, or empty: its type tells.
    return elements * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.DataType()).itemsize)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")


def _unreadable(reason: str) -> UserInputError:
    return UserInputError(
        f"The ORT file is damaged or was cut short: {reason}.",
        code="model_unreadable",
        fix="Convert the ONNX file again, and upload the whole file.",
        field="file",
    )
