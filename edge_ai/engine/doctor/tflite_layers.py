"""TensorFlow Lite networks layer by layer: both keep every tensor, and tensors of the same name are compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edge_ai.engine.doctor.layers import LayerRow
from edge_ai.engine.evaluate.distance import compare_output
from edge_ai.engine.quiet import quiet_natively
from edge_ai.engine.runtime.base import Array, Feed
from edge_ai.engine.runtime.litert import LiteRtSession

SAMPLES: Final = 4
MAX_BYTES: Final = 256 << 20
CONVERSIONS: Final = frozenset({"QUANTIZE", "DEQUANTIZE"})


def tflite_rows(baseline: tuple[Path, Sequence[Feed]], variant: tuple[Path, Sequence[Feed]]) -> list[LayerRow]:
    """Return the layers of the variant with their errors; times are not told by LiteRT.

    Parameters
    ----------
    baseline, variant
        The files, which have been verified, and what each is fed.
    """
    ours, theirs = _Kept(baseline[0]), _Kept(variant[0])
    pairs: dict[str, list[tuple[Array, Array]]] = {}
    held_bytes = 0
    for ours_fed, theirs_fed in list(zip(baseline[1], variant[1], strict=True))[:SAMPLES]:
        ours.run(ours_fed)
        theirs.run(theirs_fed)
        for name in theirs.tensors.keys() & ours.tensors.keys():
            x, y = ours.value(name), theirs.value(name)
            if x is not None and y is not None and x.shape == y.shape and x.size:
                held_bytes += x.nbytes + y.nbytes
                pairs.setdefault(name, []).append((x, y))
        if held_bytes > MAX_BYTES:
            break
    rows: list[LayerRow] = []
    for operator in theirs.operators:
        outputs = [theirs.details[place] for place in operator["outputs"] if place in theirs.details]
        if not outputs:
            continue
        name, dtype = str(outputs[0]["name"]), np.dtype(outputs[0]["dtype"]).name
        compared = compare_output(name, pairs[name]) if name in pairs else None
        rows.append(
            LayerRow(
                name=name,
                type=operator["op_name"],
                sqnr_db=None if compared is None else compared.sqnr_db,
                cosine=None if compared is None else compared.cosine,
                precision=dtype,
                transition=operator["op_name"].lower() if operator["op_name"] in CONVERSIONS else None,
            )
        )
    return rows


class _Kept:
    """An interpreter that keeps every tensor."""

    def __init__(self, path: Path) -> None:
        with quiet_natively(), warnings.catch_warnings():
            # It warns of the memory that this takes.
            warnings.simplefilter("ignore", UserWarning)
            self._interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
            self._interpreter.allocate_tensors()
        self._session = LiteRtSession(self._interpreter)
        self.details: Mapping[int, Mapping[str, Any]] = {
            item["index"]: item for item in self._interpreter.get_tensor_details()
        }
        self.operators = [item for item in self._interpreter._get_ops_details() if item["op_name"] != "DELEGATE"]
        made = {place for operator in self.operators for place in operator["outputs"]}
        self.tensors = {str(item["name"]): index for index, item in self.details.items() if index in made}

    def run(self, feed: Feed) -> None:
        """Answer one feed."""
        self._session.run(feed)

    def value(self, name: str) -> Array | None:
        """Return a tensor as real numbers; ``None`` for one that is not there, or stands for none."""
        detail = self.details[self.tensors[name]]
        try:
            value: Array = self._interpreter.get_tensor(detail["index"])
        except ValueError:
            return None
        if value.dtype.kind == "f":
            return value.astype(np.float32)
        scales, zeros = detail["quantization_parameters"]["scales"], detail["quantization_parameters"]["zero_points"]
        if value.dtype.kind not in "iu" or len(scales) != 1:
            return None
        return np.asarray((value.astype(np.float64) - zeros[0]) * scales[0], dtype=np.float32)
