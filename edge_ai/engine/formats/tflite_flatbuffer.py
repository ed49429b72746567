"""The flatbuffer of a TensorFlow Lite file, read with every offset and length checked: the runtime trusts what it finds.

See the format's ``schema.fbs``. A table is read once, whoever refers to it, and what refers to tables is counted, so that a
small file cannot ask for endless work.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

IDENTIFIER: Final = b"TFL3"
MAX_NAME_BYTES: Final = 1 << 16

_NUMBERS: Final = {"i8": "<b", "u8": "<B", "bool": "<?", "i32": "<i", "u32": "<I", "u64": "<Q", "f32": "<f"}
_ARRAYS: Final = {"[i32]": "<i4", "[i64]": "<i8", "[u32]": "<u4", "[u16]": "<u2", "[u8]": "u1", "[f32]": "<f4"}

#: By table and slot: a field's name and kind. ``[X]`` is a vector, ``union X`` a table whose kind the slot before it says.
_TABLES: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "Model": {
        0: ("version", "u32"),
        1: ("operator_codes", "[OperatorCode]"),
        2: ("subgraphs", "[SubGraph]"),
        3: ("description", "str"),
        4: ("buffers", "[Buffer]"),
        5: ("metadata_buffer", "[i32]"),
        6: ("metadata", "[Metadata]"),
        7: ("signatures", "[SignatureDef]"),
        8: ("external_groups", "[ExternalBufferGroup]"),
        9: ("external_buffers", "[ExternalBuffer]"),
    },
    "OperatorCode": {0: ("old_code", "i8"), 1: ("custom_code", "str"), 2: ("version", "i32"), 3: ("code", "i32")},
    "SubGraph": {
        0: ("tensors", "[Tensor]"),
        1: ("inputs", "[i32]"),
        2: ("outputs", "[i32]"),
        3: ("operators", "[Operator]"),
        4: ("name", "str"),
    },
    "Tensor": {
        0: ("shape", "[i32]"),
        1: ("type", "i8"),
        2: ("buffer", "u32"),
        3: ("name", "str"),
        4: ("quantization", "QuantizationParameters"),
        5: ("is_variable", "bool"),
        6: ("sparsity", "SparsityParameters"),
        7: ("shape_signature", "[i32]"),
        8: ("has_rank", "bool"),
        9: ("variants", "[VariantSubType]"),
        10: ("external_buffer", "u32"),
    },
    "QuantizationParameters": {
        0: ("min", "[f32]"),
        1: ("max", "[f32]"),
        2: ("scale", "[f32]"),
        3: ("zero_point", "[i64]"),
        4: ("details_type", "u8"),
        5: ("details", "union quantization"),
        6: ("dimension", "i32"),
    },
    "SparsityParameters": {0: ("order", "[i32]"), 1: ("blocks", "[i32]"), 2: ("dimensions", "[DimensionMetadata]")},
    "DimensionMetadata": {
        0: ("format", "i8"),
        1: ("dense_size", "i32"),
        2: ("segments_type", "u8"),
        3: ("segments", "union indices"),
        4: ("indices_type", "u8"),
        5: ("indices", "union indices"),
    },
    "VariantSubType": {0: ("shape", "[i32]"), 1: ("type", "i8"), 2: ("has_rank", "bool")},
    "Operator": {
        0: ("code", "u32"),
        1: ("inputs", "[i32]"),
        2: ("outputs", "[i32]"),
        3: ("options_type", "u8"),
        4: ("options", "union options"),
        5: ("custom_options", "[u8]"),
        6: ("custom_format", "i8"),
        7: ("mutating", "[u8]"),
        8: ("intermediates", "[i32]"),
        9: ("large_offset", "u64"),
        10: ("large_size", "u64"),
        11: ("options2_type", "u8"),
        12: ("options2", "union options2"),
    },
    "Buffer": {0: ("data", "[u8]"), 1: ("offset", "u64"), 2: ("size", "u64")},
    "Metadata": {0: ("name", "str"), 1: ("buffer", "u32")},
    "SignatureDef": {
        0: ("inputs", "[TensorMap]"),
        1: ("outputs", "[TensorMap]"),
        2: ("key", "str"),
        4: ("subgraph", "u32"),
    },
    "TensorMap": {0: ("name", "str"), 1: ("tensor", "u32")},
    "ExternalBufferGroup": {0: ("name", "str")},
    "ExternalBuffer": {},
    "CustomQuantization": {0: ("custom", "[u8]")},
    "BlockwiseQuantization": {
        0: ("scales", "i32"),
        1: ("zero_points", "i32"),
        2: ("block_size", "i32"),
        3: ("block_shape", "[i32]"),
    },
    "MultiAxisQuantization": {3: ("dimensions", "[i32]")},
    "Int32Vector": {0: ("values", "[i32]")},
    "Uint16Vector": {0: ("values", "[u16]")},
    "Uint8Vector": {0: ("values", "[u8]")},
    # Options of operators: those that hold more than numbers, and those whose numbers are looked at.
    "Conv2D": {1: ("stride_w", "i32"), 2: ("stride_h", "i32"), 4: ("dilation_w", "i32"), 5: ("dilation_h", "i32")},
    "DepthwiseConv2D": {
        1: ("stride_w", "i32"),
        2: ("stride_h", "i32"),
        5: ("dilation_w", "i32"),
        6: ("dilation_h", "i32"),
    },
    "ConcatEmbeddings": {1: ("columns", "[i32]"), 2: ("dimensions", "[i32]")},
    "Pool2D": {1: ("stride_w", "i32"), 2: ("stride_h", "i32"), 3: ("filter_w", "i32"), 4: ("filter_h", "i32")},
    "FullyConnected": {5: ("quant_spec", "[u8]")},
    "Call": {0: ("subgraph", "u32")},
    "Reshape": {0: ("new_shape", "[i32]")},
    "Squeeze": {0: ("dims", "[i32]")},
    "TransposeConv": {1: ("stride_w", "i32"), 2: ("stride_h", "i32")},
    "If": {0: ("then", "i32"), 1: ("else", "i32")},
    "While": {0: ("cond", "i32"), 1: ("body", "i32")},
    "CallOnce": {0: ("init", "i32")},
    "VarHandle": {0: ("container", "str"), 1: ("shared_name", "str")},
    "Bucketize": {0: ("boundaries", "[f32]")},
    "StablehloBroadcastInDim": {0: ("dimensions", "[i64]")},
    "StablehloSlice": {0: ("start", "[i64]"), 1: ("limit", "[i64]"), 2: ("strides", "[i64]")},
    "StablehloConvolution": {
        0: ("strides", "[i64]"),
        1: ("padding", "[i64]"),
        2: ("lhs_dilation", "[i64]"),
        3: ("rhs_dilation", "[i64]"),
        4: ("reversal", "[u8]"),
        7: ("input_dimensions", "[i64]"),
        10: ("kernel_dimensions", "[i64]"),
        13: ("output_dimensions", "[i64]"),
        16: ("precision", "[u32]"),
    },
    "StablehloCustomCall": {0: ("target", "str"), 2: ("config", "str"), 4: ("called", "[i32]"), 5: ("custom", "[u8]")},
    "StablehloReduce": {0: ("dimensions", "[i64]"), 1: ("body", "i32")},
    "StablehloScatter": {1: ("window", "[i64]"), 2: ("inserted", "[i64]"), 3: ("scatter", "[i64]"), 6: ("body", "i32")},
    "StablehloDynamicSlice": {0: ("sizes", "[i64]")},
    "StablehloPad": {0: ("low", "[i64]"), 1: ("high", "[i64]"), 2: ("interior", "[i64]")},
    "StablehloDotGeneral": {
        0: ("lhs_batch", "[i64]"),
        1: ("rhs_batch", "[i64]"),
        2: ("lhs_contracting", "[i64]"),
        3: ("rhs_contracting", "[i64]"),
        4: ("precision", "[u32]"),
    },
    "StablehloReduceWindow": {
        0: ("window", "[i64]"),
        1: ("strides", "[i64]"),
        2: ("base_dilations", "[i64]"),
        3: ("window_dilations", "[i64]"),
        4: ("padding", "[i64]"),
        5: ("body", "i32"),
    },
    "StablehloSort": {2: ("body", "i32")},
    "StablehloWhile": {0: ("cond", "i32"), 1: ("body", "i32")},
    "StablehloGather": {
        0: ("offset", "[i64]"),
        1: ("collapsed", "[i64]"),
        2: ("start_map", "[i64]"),
        4: ("sizes", "[i64]"),
    },
    "StablehloTranspose": {0: ("permutation", "[i64]")},
    "StableHLOComposite": {0: ("name", "str"), 1: ("body", "i32"), 2: ("attributes", "[u8]")},
    "StablehloCase": {0: ("branches", "[i32]")},
}
#: What a union holds, by the number beside it; operators' options that are not named hold numbers only.
_UNIONS: Final[dict[str, dict[int, str]]] = {
    "quantization": {1: "CustomQuantization", 2: "BlockwiseQuantization", 3: "MultiAxisQuantization"},
    "indices": {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"},
    "options": {
        1: "Conv2D",
        2: "DepthwiseConv2D",
        3: "ConcatEmbeddings",
        5: "Pool2D",
        8: "FullyConnected",
        16: "Call",
        17: "Reshape",
        30: "Squeeze",
        49: "TransposeConv",
        92: "If",
        93: "While",
        103: "CallOnce",
        111: "VarHandle",
        115: "Bucketize",
    },
    "options2": {
        2: "StablehloBroadcastInDim",
        3: "StablehloSlice",
        4: "StablehloConvolution",
        5: "StablehloCustomCall",
        6: "StablehloReduce",
        7: "StablehloScatter",
        9: "StablehloDynamicSlice",
        10: "StablehloPad",
        12: "StablehloDotGeneral",
        13: "StablehloReduceWindow",
        14: "StablehloSort",
        15: "StablehloWhile",
        16: "StablehloGather",
        17: "StablehloTranspose",
        21: "StableHLOComposite",
        23: "StablehloCase",
    },
}
_CLOSED: Final = frozenset({"quantization", "indices"})

Table = dict[str, Any]


class DamagedError(ValueError):
    """An offset, a length or a number cannot be right."""


class Flatbuffer:
    """Reads the tables of one file.

    Parameters
    ----------
    data
        The whole file.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self._known: dict[tuple[int, str], Table] = {}
        # An entry of a vector and the table that it refers to take eight bytes at least.
        self._references_left = self._size // 4 + 16

    def model(self) -> Table:
        """Return the root table and all that hangs on it: numbers, strings, arrays, tables and lists of tables.

        A field that is left out is missing.

        Raises
        ------
        DamagedError
        """
        if self._size < 8 or self._data[4:8] != IDENTIFIER:
            raise DamagedError("it lacks the identifier of the format")
        return self._table(self._number(0, "<I"), "Model")

    def _number(self, position: int, layout: str) -> Any:
        if not 0 <= position <= self._size - struct.calcsize(layout):
            raise DamagedError("an offset leads out of the file")
        return struct.unpack_from(layout, self._data, position)[0]

    def _table(self, position: int, kind: str) -> Table:
        known = self._known.get((position, kind))
        if known is not None:
            return known
        self._references_left -= 1
        if self._references_left < 0:
            raise DamagedError("its tables refer to each other without end")
        layout = position - self._number(position, "<i")
        layout_size, size = self._number(layout, "<H"), self._number(layout + 2, "<H")
        if layout_size < 4 or layout_size % 2 or size < 4:
            raise DamagedError("the layout of a table is too small")
        if layout + layout_size > self._size or position + size > self._size:
            raise DamagedError("a table leads out of the file")
        slots = struct.unpack_from(f"<{(layout_size - 4) // 2}H", self._data, layout + 4)
        if any(0 < slot < 4 or slot >= size for slot in slots):
            raise DamagedError("a field lies outside of its table")
        read: Table = {}
        fields = _TABLES.get(kind, {})
        for slot, offset in enumerate(slots):
            if not offset or slot not in fields:
                continue
            name, field = fields[slot]
            layout_of = _NUMBERS.get(field)
            if offset + (struct.calcsize(layout_of) if layout_of else 4) > size:
                raise DamagedError("a field leads out of its table")
            if layout_of is not None:
                read[name] = self._number(position + offset, layout_of)
            elif field.startswith("union "):
                choice = read.get(fields[slot - 1][0], 0)
                self._union(read, name, position + offset, field.removeprefix("union "), choice)
            else:
                read[name] = self._referred(position + offset, field)
        self._known[position, kind] = read
        return read

    def _union(self, read: Table, name: str, position: int, union: str, choice: int) -> None:
        if choice == 0:
            return
        kind = _UNIONS[union].get(choice)
        if kind is None and union in _CLOSED:
            raise DamagedError("a table is of a kind that the format does not have")
        read[name] = self._referred(position, kind or "")
        read[f"{name}_kind"] = kind

    def _referred(self, position: int, kind: str) -> Any:
        """Return what the offset at ``position`` leads to."""
        target = position + self._number(position, "<I")
        if kind == "str":
            return self._string(target)
        if kind in _ARRAYS:
            return self._array(target, np.dtype(_ARRAYS[kind]))
        if not kind.startswith("["):
            return self._table(target, kind)
        length = self._number(target, "<I")
        if target + 4 + 4 * length > self._size:
            raise DamagedError("a list leads out of the file")
        self._references_left -= length
        if self._references_left < 0:
            raise DamagedError("its tables refer to each other without end")
        places = range(target + 4, target + 4 + 4 * length, 4)
        return [self._table(place + self._number(place, "<I"), kind[1:-1]) for place in places]

    def _string(self, target: int) -> str:
        length = self._number(target, "<I")
        # The runtime takes it for a string of C, which a zero ends.
        if length > MAX_NAME_BYTES or self._number(target + 4 + length, "<B") != 0:
            raise DamagedError("a name has no end")
        return bytes(self._data[target + 4 : target + 4 + length]).decode("utf-8", "replace")

    def _array(self, target: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        length = self._number(target, "<I")
        if target + 4 + length * dtype.itemsize > self._size:
            raise DamagedError("a list of numbers leads out of the file")
        return np.frombuffer(self._data, dtype, count=length, offset=target + 4)
