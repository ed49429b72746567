"""Types and sizes of ONNX tensors."""

from __future__ import annotations

import numpy as np
import onnx

#: Bits of an element, for types that NumPy lacks; the others are multiples of a byte.
PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


def dtype_name(element_type: int) -> str:
    """Return the name of a tensor's type, such as ``float32``, ``int4`` or ``string``."""
    if element_type == onnx.TensorProto.STRING:
        return "string"
    name: str = onnx.TensorProto.DataType.Name(element_type)
    if name in PACKED_BITS or name.startswith("FLOAT8"):
        return name.lower()
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type)).name)
    except (KeyError, TypeError):
        return name.lower()


def elements(tensor: onnx.TensorProto) -> int:
    """Return how many elements a tensor has."""
    count = 1
    for axis in tensor.dims:
        count *= axis
    return count


def size_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes a tensor's elements take."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(len(value) for value in tensor.string_data)
    bits = PACKED_BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    if bits is None:
        bits = 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return (elements(tensor) * bits + 7) // 8
