"""NCNN: a zip archive of a ``.param``, which is the network as text, and its ``.bin``, which holds the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.archive import pack_folder, unpack_archive
from edge_ai.engine.formats.kept import KeptFormat, damaged
from edge_ai.engine.sniff import NCNN_MAGIC
from edge_ai.engine.spec import Format

MAX_LAYERS: Final = 100_000
MAX_PARAM_BYTES: Final = 64 << 20
#: What the weights of a layer begin with in the ``.bin``. Source: ModelBinFromDataReader of ncnn's modelbin.cpp.
MARKS: Final = {0: "fp32", 0x0002C056: "fp32", 0x01306B47: "fp16", 0x000D4B38: "int8"}
#: Layers whose weights begin with such a mark.
MARKED: Final = (
    "Convolution",
    "ConvolutionDepthWise",
    "Deconvolution",
    "DeconvolutionDepthWise",
    "InnerProduct",
    "Gemm",
)
#: Layers that have weights without a mark.
UNMARKED: Final = ("BatchNorm", "Scale", "PReLU", "MemoryData", "LayerNorm", "GroupNorm", "Bias")


class NcnnFormat(KeptFormat):
    """See :class:`~edge_ai.engine.formats.kept.KeptFormat`."""

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the path of the ``.param``, its ``.bin`` beside it."""
        folder = path if path.is_dir() else unpack_archive(path, workdir / f"{path.name}.unpacked")
        found = sorted(folder.rglob("*.param"))
        if len(found) != 1 or not found[0].with_suffix(".bin").is_file():
            raise _damaged("the archive must hold one .param and its .bin")
        return found[0]

    def facts(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Read the lines of the ``.param``; weights are counted as the bytes of the ``.bin``."""
        param = self.unpack(path, workdir)
        if param.stat().st_size > MAX_PARAM_BYTES:
            raise _damaged("its .param is larger than 64 MB")
        lines = param.read_text(encoding="utf-8", errors="replace").splitlines()
        if not lines or lines[0].strip() != NCNN_MAGIC or len(lines) < 3:
            raise _damaged("its .param does not begin as one does")
        try:
            layers = int(lines[1].split()[0])
            rows = [line.split() for line in lines[2:] if line.strip()]
            if not 0 < layers <= MAX_LAYERS or len(rows) < layers:
                raise _damaged("its .param was cut short")
            operators = Counter(row[0] for row in rows)
            inputs = [name for row in rows if row[0] == "Input" for name in row[4 : 4 + int(row[3])]]
            read = {name for row in rows for name in row[4 : 4 + int(row[2])]}
            made = [name for row in rows for name in row[4 + int(row[2]) : 4 + int(row[2]) + int(row[3])]]
        except (ValueError, IndexError):
            raise _damaged("a line of its .param is damaged") from None
        operators.pop("Input", None)
        weights = param.with_suffix(".bin")
        return {
            "inputs": [{"name": name, "dtype": "float32", "shape": None} for name in inputs],
            "outputs": [{"name": name, "dtype": "float32", "shape": None} for name in made if name not in read],
            "operators": dict(operators.most_common()),
            "node_count": sum(operators.values()),
            "weight_bytes": weights.stat().st_size,
            "precision": _precision(weights, [row[0] for row in rows]),
            "producer": "NCNN",
        }

    def save(self, made: Path, target: Path) -> int:
        """Pack the folder with the ``.param`` and its ``.bin``."""
        return pack_folder(made if made.is_dir() else made.parent, target)


HANDLER: Final = NcnnFormat(
    Format.NCNN,
    "variant.zip",
    reason="NCNN is for phones and boards; it is loaded here only to compare what pnnx made.",
    fix="Run it on the device; to optimize the network here, start from the model that it was made from.",
)


def _precision(weights: Path, layers: Sequence[str]) -> str | None:
    """Return how the first weights are kept, where what they begin with tells."""
    first = next((layer for layer in layers if layer in MARKED + UNMARKED), None)
    if first not in MARKED:
        return None
    with weights.open("rb") as stream:
        return MARKS.get(int.from_bytes(stream.read(4), "little"))


def _damaged(reason: str) -> UserInputError:
    return damaged("NCNN model", reason, "Zip the .param and its .bin from one conversion, and upload that.")
