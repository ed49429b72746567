"""NCNN on the CPU, to compare what pnnx made with its source. It is not measured here: NCNN is for other processors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import ncnn
import numpy as np

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.installed import version_of
from edge_ai.engine.runtime.base import Array, Feed, Tensor
from edge_ai.engine.spec import Format

PARAM_NAME: Final = "model.ncnn.param"
BIN_NAME: Final = "model.ncnn.bin"
_INPUT: Final = re.compile(r"^Input\s+\S+\s+0\s+1\s+(\S+)", re.MULTILINE)


class NcnnSession:
    """A loaded network; see :class:`~edge_ai.engine.runtime.base.Session`. NCNN knows no batch: it takes one sample."""

    runtime: Final = "ncnn"
    provider: Final = "CPU"
    concurrent: Final = False

    def __init__(self, net: ncnn.Net, param: str, threads: int) -> None:
        self._net = net
        self._threads = threads
        self.runtime_version: str = version_of("ncnn")
        # Shapes are not in the file; the order is that of the source.
        self.inputs: Sequence[Tensor] = [
            Tensor(name=name, dtype="float32", shape=None) for name in _INPUT.findall(param)
        ]
        self.outputs: Sequence[Tensor] = [
            Tensor(name=name, dtype="float32", shape=None) for name in _output_names(param)
        ]

    def run(self, feed: Feed) -> list[Array]:
        """Answer one feed; the answers come without their batch axis."""
        extractor = self._net.create_extractor()
        for tensor in self.inputs:
            value = np.ascontiguousarray(feed[tensor.name], dtype=np.float32)
            if value.ndim and value.shape[0] == 1:
                value = np.ascontiguousarray(value[0])
            extractor.input(tensor.name, ncnn.Mat(value.reshape(1) if value.ndim == 0 else value).clone())
        answers: list[Array] = []
        for tensor in self.outputs:
            status, found = extractor.extract(tensor.name)
            if status != 0:
                raise UnsupportedError(
                    f"NCNN cannot run the network (status {status} at {tensor.name!r}).",
                    code="unsupported_operator",
                    fix="Choose another target format.",
                )
            answers.append(np.array(found))
        return answers


def open_session(path: Path, format: Format, *, threads: int, optimize: bool = True) -> NcnnSession:
    """Load a network; see :func:`edge_ai.engine.runtime.open_model`.

    Parameters
    ----------
    path
        The ``.param`` with its ``.bin`` beside it, or the folder that holds both.
    """
    param = path / PARAM_NAME if path.is_dir() else path
    net: Any = ncnn.Net()
    net.opt.use_vulkan_compute = False
    # The comparison is about what the file says, not about shortcuts of the arithmetic.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if threads:
        net.opt.num_threads = threads
    if net.load_param(str(param)) != 0 or net.load_model(str(param.with_suffix(".bin"))) != 0:
        raise UnsupportedError(
            "NCNN cannot load the network: it lacks one of the operators, or the weights are cut short.",
            code="unsupported_operator",
            fix="Choose another target format.",
        )
    return NcnnSession(net, param.read_text(encoding="utf-8", errors="replace"), threads)


def _output_names(param: str) -> list[str]:
    """Return the blobs that no layer reads, in pnnx's numbering."""
    made: list[str] = []
    read: set[str] = set()
    for line in param.splitlines()[2:]:
        words = line.split()
        if len(words) < 4:
            continue
        inputs, outputs = int(words[2]), int(words[3])
        read |= set(words[4 : 4 + inputs])
        made += words[4 + inputs : 4 + inputs + outputs]
    return sorted((name for name in made if name not in read), key=lambda name: (len(name), name))
