"""Hostile files of the other formats, and hostile data sets."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from typing import Any

import numpy as np

from benchmarks.fuzz.seeds import (
    PARAM,
    coreml_spec,
    dataset,
    floats,
    gguf,
    ncnn_model,
    openvino_model,
    safetensors,
    zipped,
)
from tests.hostile.keras_files import Payload
from tests.hostile.kinds import Bait, hostile


def with_doctype(doctype: str, encoding: str = "utf-8") -> bytes:
    # Between two comments, which a quick look takes for one.
    text = f'<?xml version="1.0"?><!-- -->{doctype}<!-- --><net name="&e;" version="11"><layers/></net>'
    return zipped({"model.xml": text.encode(encoding), "model.bin": bytes(48)})


@hostile("openvino-entity-bomb", "unfolds entities of XML without end", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 6))
    return with_doctype(f'<!DOCTYPE net [<!ENTITY e0 "hostile">{entities}<!ENTITY e "&e5;">]>')


@hostile("openvino-foreign-entity", "has XML include a file", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_doctype(f'<!DOCTYPE net [<!ENTITY e SYSTEM "file://{bait.secret_file}">]>')


@hostile("openvino-foreign-entity-utf16", "hides the same in another encoding", "analysis", "model_unsafe")
def _(bait: Bait) -> bytes:
    return with_doctype('<!DOCTYPE net [<!ENTITY e SYSTEM "secret">]>', "utf-16")


@hostile("openvino-plain-entity", "declares a document type openly", "upload", "model_unreadable")
def _(bait: Bait) -> bytes:
    return zipped({"model.xml": b"<!DOCTYPE net SYSTEM 'a'><net/>", "model.bin": bytes(48)})


def offset_to(place: str) -> bytes:
    return openvino_model(change=lambda text: re.sub(r'offset="\d+"', f'offset="{place}"', text, count=1))


@hostile("openvino-offset", "reads behind the end of its weights", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return offset_to("123456789")


@hostile("openvino-negative-offset", "reads before the beginning of its weights", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return offset_to("-4096")


@hostile("openvino-custom-layer", "asks for a layer of somebody's library", "benchmark", "unsupported_operator")
def _(bait: Bait) -> bytes:
    def change(text: str) -> str:
        text = text.replace('type="ReLU"', f'type="Evil" library="{bait.secret_file}"')
        return re.sub(r'(type="Evil"[^>]*version=")\w+', r"\1extension", text)

    return openvino_model(change=change)


@hostile("openvino-deep", "nests elements until a parser's stack is full", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return zipped({"model.xml": b"<net>" + b"<a>" * 500_000, "model.bin": bytes(48)})


@hostile("openvino-endless-shape", "multiplies ten thousand sizes", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    sizes = ", ".join(["9223372036854775807"] * 10_000)
    return openvino_model(change=lambda text: re.sub(r'shape="4, ?3"', f'shape="{sizes}"', text))


@hostile("openvino-giant-shape", "computes on 4 TB of numbers", "analysis", "resource_limit")
def _(bait: Bait) -> bytes:
    def change(text: str) -> str:
        return text.replace('shape="1,4"', 'shape="274877906944,4"').replace("<dim>1</dim>", "<dim>274877906944</dim>")

    return openvino_model(change=change)


@hostile("gguf-giant-counts", "claims 2^63 tensors", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return gguf(tensors=2**63, entries=2**63)


@hostile("gguf-giant-text", "claims a text of 16 EB", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return gguf().replace(struct.pack("<Q", 20), struct.pack("<Q", 2**63), 1)


@hostile("gguf-nested-lists", "nests lists in lists", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    return head + struct.pack("<IQ", 9, 1) * 10_000


@hostile("safetensors-giant-header", "claims a header of 2^62 bytes", "upload", "model_unreadable")
def _(bait: Bait) -> bytes:
    return struct.pack("<Q", 2**62) + b'{"w": {}}' + bytes(100)


@hostile("safetensors-endless-shape", "multiplies a million sizes", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    tensor = {"dtype": "ODD", "shape": [2**62] * 1_000_000, "data_offsets": [0, 48]}
    return safetensors({"w": tensor})


@hostile("safetensors-deep", "nests lists until a parser's stack is full", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    header = b'{"w": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    return struct.pack("<Q", len(header)) + header


@hostile("coreml-damaged", "is cut short inside its network", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return coreml_spec()[:-10]


@hostile("coreml-parent", "names its weights by ../", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return zipped({"m/Manifest.json": b"{}", "m/../../model.mlmodel": coreml_spec()})


@hostile("ncnn-giant-counts", "claims 2^63 layers", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return ncnn_model(PARAM.replace("3 3\n", f"{2**63} 3\n"))


@hostile("ncnn-giant-line", "claims a layer with 10^5000 inputs", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return ncnn_model(PARAM.replace("ReLU relu 1 1", f"ReLU relu {'9' * 5000} 1"))


@hostile("tensorrt-damaged", "is nothing but the mark of an engine", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    return b"ptrt\x01\x00"


def npz(**arrays: bytes) -> bytes:
    return zipped({f"{name}.npy": data for name, data in arrays.items()})


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4)}"


@hostile("npz-objects", "holds pickled objects", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    held = io.BytesIO()
    np.savez(held, x=np.array([Payload(str(bait.marker))] * 6, object), allow_pickle=True)
    return held.getvalue()


@hostile("npz-code-in-header", "has code for a header", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return npz(x=npy(f"__import__('os').system('touch {bait.marker}')"))


@hostile(
    "npz-deep-header", "nests a header until a parser's stack is full", "upload", "dataset_unreadable", dataset=True
)
def _(bait: Bait) -> bytes:
    return npz(x=npy("{'shape': " + "(" * 9000), y=npy("-" * 9900 + "1"), z=npy("+".join(["1"] * 4900)))


@hostile("npz-huge-shape", "claims 4 TB in 96 bytes", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return npz(x=npy(PLAIN.replace("(6, 4)", "(6, 200000000000)"), bytes(96)))


@hostile("npz-endless-shape", "claims sizes of 4,000 digits", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return npz(x=npy(PLAIN.replace("(6, 4)", f"(6, {'9' * 4000})"), bytes(96)))


@hostile("npz-negative-shape", "claims negative sizes", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return npz(x=npy(PLAIN.replace("(6, 4)", "(6, -4, -1)"), bytes(96)))


@hostile("npz-odd-type", "holds numbers of a type that there is not", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return npz(x=npy(PLAIN.replace("<f4", "|V4"), bytes(96)))


@hostile("npz-short-header", "ends inside a header", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return npz(x=b"\x93NUMPY")


@hostile("npz-bomb", "unpacks 100 KB to 100 MB", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return dataset(x=np.zeros((6, 4 << 20), np.float32))


@hostile("npz-parent", "has an array by ../", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    return zipped({f"../{bait.marker.name}.npy": npy(PLAIN, bytes(96))})


@hostile("npz-symlink", "has a symbolic link for an array", "upload", "dataset_unreadable", dataset=True)
def _(bait: Bait) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        link = zipfile.ZipInfo("x.npy")
        link.external_attr = 0o120777 << 16
        made.writestr(link, str(bait.secret_file))
    return held.getvalue()


def request(precision: str) -> dict[str, Any]:
    return {"target_format": "onnx", "precision": precision}


@hostile(
    "npz-no-numbers",
    "calibrates with NaN and infinity",
    "conversion",
    "dataset_mismatch",
    dataset=True,
    **request("int8"),
)
def _(bait: Bait) -> bytes:
    x = floats(64, 4)
    x[::2], x[1::2, 0] = np.nan, np.inf
    return dataset(x=x)


@hostile("npz-text", "calibrates with text", "conversion", "dataset_mismatch", dataset=True, **request("int8"))
def _(bait: Bait) -> bytes:
    return dataset(x=np.full((64, 4), "1e999"))


@hostile(
    "npz-checksum",
    "holds numbers that do not fit their checksum",
    "conversion",
    "dataset_unreadable",
    dataset=True,
    **request("int8"),
)
def _(bait: Bait) -> bytes:
    data = bytearray(npz(x=npy(PLAIN.replace("(6, 4)", "(8192, 4)"), bytes(8192 * 16))))
    data[data.index(b"PK\x01\x02") - 8] ^= 255
    return bytes(data)


@hostile("json", "is a document nested without end", "upload", "model_unreadable")
def _(bait: Bait) -> bytes:
    return json.dumps({"a": 1}).encode() + b"[" * 100_000
