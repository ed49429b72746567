"""The parts of TensorFlow's protocol buffers that are read here, so that a SavedModel is looked into without TensorFlow.

Fields that are not declared are skipped. Enumerations are read as integers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

_PACKAGE: Final = "edge_ai.tensorflow"
_SCALARS: Final = {"string": 9, "bytes": 12, "int32": 5, "int64": 3, "bool": 8, "float": 2, "double": 1}

#: For each message its fields: number and type; ``*`` for a list, ``%`` for a map from strings.
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "SavedModel": {"meta_graphs": (2, "*MetaGraphDef")},
    "MetaGraphDef": {
        "meta_info_def": (1, "MetaInfoDef"),
        "graph_def": (2, "GraphDef"),
        "saver_def": (3, "SaverDef"),
        "signature_def": (5, "%SignatureDef"),
        "asset_file_def": (6, "*AssetFileDef"),
    },
    "MetaInfoDef": {"tags": (4, "*string"), "tensorflow_version": (5, "string")},
    "SaverDef": {"save_tensor_name": (2, "string"), "restore_op_name": (3, "string")},
    "SignatureDef": {"inputs": (1, "%TensorInfo"), "outputs": (2, "%TensorInfo"), "method_name": (3, "string")},
    "TensorInfo": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "TensorShapeProto")},
    "AssetFileDef": {"tensor_info": (1, "TensorInfo"), "filename": (2, "string")},
    "GraphDef": {"node": (1, "*NodeDef"), "library": (2, "FunctionDefLibrary")},
    "FunctionDefLibrary": {"function": (1, "*FunctionDef")},
    "FunctionDef": {"signature": (1, "OpDef"), "node_def": (3, "*NodeDef"), "ret": (4, "%string")},
    "OpDef": {"name": (1, "string"), "input_arg": (2, "*ArgDef"), "output_arg": (3, "*ArgDef")},
    "ArgDef": {"name": (1, "string"), "type": (3, "int32")},
    "NodeDef": {"name": (1, "string"), "op": (2, "string"), "input": (3, "*string"), "attr": (5, "%AttrValue")},
    "AttrValue": {
        "list": (1, "ListValue"),
        "s": (2, "bytes"),
        "i": (3, "int64"),
        "f": (4, "float"),
        "b": (5, "bool"),
        "type": (6, "int32"),
        "shape": (7, "TensorShapeProto"),
        "tensor": (8, "TensorProto"),
        "func": (10, "NameAttrList"),
    },
    "ListValue": {
        "s": (2, "*bytes"),
        "i": (3, "*int64"),
        "type": (6, "*int32"),
        "shape": (7, "*TensorShapeProto"),
        "tensor": (8, "*TensorProto"),
        "func": (9, "*NameAttrList"),
    },
    "NameAttrList": {"name": (1, "string"), "attr": (2, "%AttrValue")},
    "TensorShapeProto": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
    },
}

#: What TensorFlow's enumeration of types calls them.
DTYPES: Final = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "int8",
    12: "uint8",
    13: "int32",
    14: "bfloat16",
    15: "int16",
    16: "uint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    29: "int4",
    30: "uint4",
}
#: Bytes of an element; 4-bit integers take half of one.
ITEM_BYTES: Final = {
    "float64": 8.0,
    "int64": 8.0,
    "uint64": 8.0,
    "complex64": 8.0,
    "complex128": 16.0,
    "float32": 4.0,
    "int32": 4.0,
    "uint32": 4.0,
    "float16": 2.0,
    "bfloat16": 2.0,
    "int16": 2.0,
    "uint16": 2.0,
    "int8": 1.0,
    "uint8": 1.0,
    "bool": 1.0,
    "int4": 0.5,
    "uint4": 0.5,
}


def saved_model_message() -> Any:
    """Return an empty ``SavedModel`` message."""
    return _classes()[f"{_PACKAGE}.SavedModel"]()


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="edge_ai/tensorflow.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, name, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return dict(message_factory.GetMessageClassesForFiles([file.name], pool))


def _add_field(message: Any, owner: str, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=3 if kind[0] in "*%" else 1)
    plain = kind.lstrip("*%")
    if kind[0] == "%":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=_SCALARS["string"])
        _set_type(entry.field.add(name="value", number=2, label=1), plain)
        field.type, field.type_name = 11, f".{_PACKAGE}.{owner}.{entry.name}"
    else:
        _set_type(field, plain)


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = 11, f".{_PACKAGE}.{kind}"
