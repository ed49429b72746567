"""Time by operator of a TensorFlow Lite model, from the profiler of LiteRT's C interface, which Python's does not reach.

The library is the one that the Python package brings and runs models with; XNNPACK's operators are told one by one.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ai_edge_litert

from edge_ai.engine.measure.loaded import Feed
from edge_ai.engine.measure.profile import Node, Told

#: Kinds of events: an operator of LiteRT's own, and one of a delegate's.
_OPERATOR: Final = 2
_DELEGATED: Final = 8
_CPU: Final = 1
_WRITE: Final = 1
_MAX_RANK: Final = 8
_RANK: Final = 0x7F
#: What runs other operators, whose time is told as well.
_HOLDERS: Final = frozenset({"CALL_ONCE", "IF", "WHILE", "DELEGATE"})
_DTYPES: Final[Mapping[str, str]] = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "QC8": "int8",
    "QS8": "int8",
    "QD8": "int8",
    "QU8": "uint8",
    "S32": "int32",
}
_TAG: Final = re.compile(r"(?P<type>[^(]+?) \((?P<facts>[^)]*)\)(?: (?P<kernel>.+))?")


class NotProfiledError(Exception):
    """The profiler does not take a model; the text says why, for people."""


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("allocated", "in_use", "private")]


class _Event(ctypes.Structure):
    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory_before", _Memory),
        ("memory_after", _Memory),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    ]


class _TensorType(ctypes.Structure):
    _fields_ = [
        ("element", ctypes.c_int32),
        ("packed", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * _MAX_RANK),
        ("strides", ctypes.c_uint32 * _MAX_RANK),
    ]


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """What the profiler calls an operator: ``Convolution (NHWC, QC8) IGEMM``, or ``AVERAGE_POOL_2D``."""

    name: str
    type: str
    told: Told

    @classmethod
    def of(cls, tag: str) -> Tagged:
        """Read a tag: XNNPACK's has layout and types in brackets and then the kernel, LiteRT's is the operator's name."""
        found = _TAG.fullmatch(tag)
        if found is None:
            return cls(name=tag, type=tag, told=Told(provider="LiteRT"))
        # A W at the end says that these are weights.
        facts = (fact.removesuffix("W") for fact in re.split(r",\s*", found["facts"]))
        dtypes = [_DTYPES[fact] for fact in facts if fact in _DTYPES]
        reads, dtype = (dtypes[0], dtypes[-1]) if dtypes else (None, None)
        kind = found["type"]
        if kind == "Convert" and reads != dtype:
            kind = "QUANTIZE" if reads in {"float32", "float16"} else "DEQUANTIZE"
        elif kind != "Convert" and len(dtypes) > 1:
            # Of what it computes with, the weights come last: it answers in the type that it reads.
            dtype = reads
        kernel = f"XNNPACK, {found['kernel']}" if found["kernel"] else "XNNPACK"
        return cls(name=tag, type=kind, told=Told(dtype=dtype, reads=reads, provider=kernel))


class Profiled:
    """A model that tells the time of each of its operators.

    Parameters
    ----------
    path
        The file, which must have been verified.
    names
        Of the inputs, in the order of a feed.

    Raises
    ------
    NotProfiledError
    """

    def __init__(self, path: Path, names: Sequence[str], *, threads: int) -> None:
        self._library = ctypes.CDLL(str(Path(ai_edge_litert.__file__).with_name("libLiteRt.so")))
        self._c = ctypes.CDLL(None)
        self._c.strdup.restype = ctypes.c_void_p
        environment = self._made("LiteRtCreateEnvironment", 0, None)
        self._environment = environment
        self._model = self._made("LiteRtCreateModelFromFile", environment, str(path).encode())
        options = self._made("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        self._add(options, "runtime_options_string", "enable_profiling = true\n")
        self._add(options, "xnnpack", f"num_threads = {threads}\n")
        self._compiled = self._made("LiteRtCreateCompiledModel", environment, self._model, options)
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._compiled)
        signature = self._made("LiteRtGetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs = self._buffers(signature, "Input")
        self._outputs = self._buffers(signature, "Output")
        self._order = self._places(signature, names)

    def fill(self, feed: Feed) -> None:
        """Put a feed into the inputs."""
        values = list(feed.values())
        for place, buffer in zip(self._order, self._inputs, strict=True):
            data = values[place].tobytes()
            memory = ctypes.c_void_p()
            self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(memory), _WRITE)
            size = ctypes.c_size_t()
            self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
            if len(data) > size.value:
                raise NotProfiledError("LiteRT's profiler takes other sizes of inputs than these.")
            ctypes.memmove(memory, data, len(data))
            self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Answer what is in the inputs."""
        self._call(
            "LiteRtRunCompiledModel",
            self._compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)),
            (ctypes.c_void_p * len(self._inputs))(*self._inputs),
            ctypes.c_size_t(len(self._outputs)),
            (ctypes.c_void_p * len(self._outputs))(*self._outputs),
        )

    def profiled(self, run: Callable[[], Any]) -> list[tuple[str, int, int]]:
        """Return the tag, the index within its subgraph or delegate, and the microseconds of each operator that ran."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        told = ((str(each.tag, "utf-8", "replace"), each) for each in events if each.kind in {_OPERATOR, _DELEGATED})
        return [(tag, int(each.index), int(each.elapsed_us)) for tag, each in told if tag not in _HOLDERS]

    def _places(self, signature: ctypes.c_void_p, names: Sequence[str]) -> list[int]:
        """Return for each input of the signature its place in a feed."""
        if len(names) != len(self._inputs):
            raise NotProfiledError("LiteRT's profiler takes other inputs than the model's first signature.")
        told = ctypes.c_char_p()
        found = []
        for place in range(len(names)):
            self._call("LiteRtGetSignatureInputName", signature, ctypes.c_size_t(place), ctypes.byref(told))
            found.append(str(told.value or b"", "utf-8", "replace"))
        return [names.index(name) for name in found] if set(found) == set(names) else list(range(len(names)))

    def _buffers(self, signature: ctypes.c_void_p, side: str) -> list[ctypes.c_void_p]:
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
        made = []
        for place in range(count.value):
            index = ctypes.c_size_t(place)
            tensor = self._made(f"LiteRtGetSignature{side}TensorByIndex", signature, index)
            kind = _TensorType()
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            if any(axis < 1 for axis in kind.dimensions[: kind.packed & _RANK]):
                raise NotProfiledError("LiteRT's profiler takes no model with free sizes.")
            needs = self._made(
                f"LiteRtGetCompiledModel{side}BufferRequirements", self._compiled, ctypes.c_size_t(0), index
            )
            made.append(
                self._made(
                    "LiteRtCreateManagedTensorBufferFromRequirements", self._environment, ctypes.byref(kind), needs
                )
            )
        return made

    def _add(self, options: ctypes.c_void_p, kind: str, text: str) -> None:
        """Add options, which the library reads as TOML and frees."""
        held = ctypes.c_void_p(self._c.strdup(text.encode()))
        self._call(
            "LiteRtAddOpaqueOptions",
            options,
            self._made("LiteRtCreateOpaqueOptions", kind.encode(), held, self._c.free),
        )

    def _made(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function that answers by its last argument."""
        made = ctypes.c_void_p()
        self._call(function, *arguments, ctypes.byref(made))
        if made.value is None:
            raise NotProfiledError(f"LiteRT's profiler does not take the model ({function} answers nothing).")
        return made

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, function)(*arguments)
        except AttributeError:
            raise NotProfiledError("This version of LiteRT tells no times by operator.") from None
        if status:
            raise NotProfiledError(f"LiteRT's profiler does not take the model ({function}: status {status}).")


def runs_by_operator(
    runs: Iterable[Sequence[tuple[str, int, int]]],
) -> tuple[dict[Node, list[float]], dict[Node, Told]]:
    """Return the times of each operator, in microseconds, and what its tag tells.

    Parameters
    ----------
    runs
        For each inference its operators in the order in which they ran; see `Profiled.profiled`.
    """
    times: dict[Node, list[float]] = {}
    told: dict[Node, Told] = {}
    for run in runs:
        for place, (tag, index, elapsed_us) in enumerate(run):
            tagged = Tagged.of(tag)
            # Delegates count theirs from nought, each: their place in the run tells them apart.
            node = (tagged.name, tagged.type, f"{place}.{index}")
            times.setdefault(node, []).append(float(elapsed_us))
            told[node] = tagged.told
    return times, told
