"""Reads TensorFlow Lite files with the checks that LiteRT leaves out: a damaged one would take its process down."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.tflite_checks import (
    check_calls,
    check_data,
    check_order,
    check_scales,
    check_sums,
    indices,
    within,
)
from edge_ai.engine.formats.tflite_facts import CUSTOM, TYPES, ModelFacts, OperatorFacts, SubgraphFacts, TensorFacts
from edge_ai.engine.formats.tflite_flatbuffer import DamagedError, Flatbuffer, Table

#: Numbers that kernels divide by or step with; a dilation that is left out is 1, the others 0.
_POSITIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "Conv2D": ("stride_w", "stride_h"),
    "DepthwiseConv2D": ("stride_w", "stride_h"),
    "TransposeConv": ("stride_w", "stride_h"),
    "Pool2D": ("stride_w", "stride_h", "filter_w", "filter_h"),
}
_MAX_ELEMENTS: Final = 1 << 40
_MAX_RANK: Final = 64


def read_file(path: Path) -> ModelFacts:
    """Read and check a file.

    Raises
    ------
    UserInputError
        ``model_unreadable``; ``external_data_missing`` where weights are kept in another file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        return _Reader(data).read()
    except DamagedError as error:
        raise UserInputError(
            f"The TensorFlow Lite file is damaged or cut short: {error}.",
            code="model_unreadable",
            fix="Export the model again and upload the whole file.",
        ) from None


class _Reader:
    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data
        self._root = Flatbuffer(data).model()
        self._codes: list[Table] = self._root.get("operator_codes", [])

    def read(self) -> ModelFacts:
        root = self._root
        if root.get("external_buffers"):
            raise UserInputError(
                "The TensorFlow Lite file keeps weights in another file.",
                code="external_data_missing",
                fix="Export the model as one file.",
            )
        self._buffers = [self._buffer(table) for table in root.get("buffers", [])]
        subgraphs = [self._subgraph(table) for table in root.get("subgraphs", [])]
        if not subgraphs:
            raise DamagedError("it holds no network")
        check_calls(subgraphs)
        return ModelFacts(
            version=root.get("version", 0),
            description=root.get("description", ""),
            subgraphs=subgraphs,
            signatures=self._signatures(subgraphs),
            metadata={
                item.get("name", ""): self._buffers[within(item.get("buffer", 0), self._buffers, "metadata")]
                for item in root.get("metadata", [])
            },
        )

    def _buffer(self, table: Table) -> npt.NDArray[np.uint8] | None:
        # Files above 2 GB keep the bytes behind the flatbuffer; 0 and 1 say that there are none.
        offset, size = table.get("offset", 0), table.get("size", 0)
        if offset > 1:
            if offset + size > len(self._data):
                raise DamagedError("the bytes of a tensor lie beyond its end")
            return np.frombuffer(self._data, np.uint8, count=size, offset=offset)
        data: npt.NDArray[np.uint8] | None = table.get("data")
        return data if data is not None and len(data) else None

    def _subgraph(self, table: Table) -> SubgraphFacts:
        tensors = [self._tensor(item) for item in table.get("tensors", [])]
        made = SubgraphFacts(
            inputs=indices(table.get("inputs", ()), tensors),
            outputs=indices(table.get("outputs", ()), tensors),
            tensors=tensors,
            operators=[self._operator(item, tensors) for item in table.get("operators", [])],
        )
        check_order(made)
        check_sums(made)
        return made

    def _tensor(self, table: Table) -> TensorFacts:
        number, index = table.get("type", 0), table.get("buffer", 0)
        if not 0 <= number < len(TYPES):
            raise DamagedError("a tensor is of a type that the format does not have")
        dtype, bits = TYPES[number]
        shape = tuple(int(axis) for axis in table.get("shape", ()))
        signature = tuple(int(axis) for axis in table.get("shape_signature", ()))
        if len(shape) > _MAX_RANK or min(shape, default=0) < 0 or math.prod(shape) > _MAX_ELEMENTS:
            raise DamagedError("a tensor's shape makes no sense")
        data = self._buffers[within(index, self._buffers, "buffer")]
        quantization: Table = table.get("quantization", {})
        tensor = TensorFacts(
            name=table.get("name", ""),
            dtype=dtype,
            bits=bits,
            shape=shape,
            signature=signature if len(signature) == len(shape) else shape,
            buffer=index,
            data=data,
            is_variable=table.get("is_variable", False),
            sparse="sparsity" in table,
            scales=tuple(map(float, quantization.get("scale", ()))),
            zero_points=tuple(map(int, quantization.get("zero_point", ()))),
            dimension=quantization.get("dimension", 0),
        )
        check_data(tensor)
        check_scales(tensor)
        return tensor

    def _operator(self, table: Table, tensors: Sequence[TensorFacts]) -> OperatorFacts:
        code = self._codes[within(table.get("code", 0), self._codes, "operator")]
        # Numbers above 127 are in the wider field only; the narrow one then says 127.
        number = max(code.get("old_code", 0), code.get("code", 0))
        if table.get("large_offset", 0) > 1 and table["large_offset"] + table.get("large_size", 0) > len(self._data):
            raise DamagedError("the options of an operator lie beyond its end")
        chosen = "options" if "options" in table else "options2"
        options: Table = table.get(chosen, {})
        kind = table.get(f"{chosen}_kind")
        if any(options.get(name, 0) <= 0 for name in _POSITIVE.get(kind or "", ())) or any(
            options.get(name, 1) <= 0 for name in ("dilation_w", "dilation_h")
        ):
            raise DamagedError("an operator steps by nothing")
        indices(table.get("intermediates", ()), tensors, optional=True)
        return OperatorFacts(
            code=number,
            custom=code.get("custom_code", "") if number == CUSTOM else None,
            inputs=indices(table.get("inputs", ()), tensors, optional=True),
            outputs=indices(table.get("outputs", ()), tensors),
            options_kind=kind,
            options=options,
        )

    def _signatures(self, subgraphs: Sequence[SubgraphFacts]) -> dict[str, dict[str, dict[str, int]]]:
        found: dict[str, dict[str, dict[str, int]]] = {}
        for table in self._root.get("signatures", []):
            tensors = subgraphs[within(table.get("subgraph", 0), subgraphs, "subgraph")].tensors
            found[table.get("key", "")] = {
                side: {
                    item.get("name", ""): within(item.get("tensor", 0), tensors, "tensor")
                    for item in table.get(side, [])
                }
                for side in ("inputs", "outputs")
            }
        return found
