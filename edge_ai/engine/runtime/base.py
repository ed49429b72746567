"""What every runtime looks like from the engine: tensors by name, and a session that answers feeds. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
Shape = tuple[int | str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of a model.

    Parameters
    ----------
    name
        What it is fed or answered under.
    dtype
        Such as ``float32``, ``int8``, ``bool`` or ``string``.
    shape
        A free dimension is its name, or ``None`` where it has none; ``None`` instead of a shape: of any rank.
    scale, zero_point
        Of an integer tensor that stands for real numbers: ``real = scale × (integer − zero_point)``.
    """

    name: str
    dtype: str
    shape: Shape | None
    scale: float | None = None
    zero_point: int | None = None

    @property
    def quantized(self) -> bool:
        """Its integers stand for real numbers."""
        return self.scale is not None and self.dtype.startswith(("int", "uint"))

    def to_json(self) -> dict[str, Any]:
        """Return the description that an analysis gives."""
        described: dict[str, Any] = {
            "name": self.name,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
        }
        if self.quantized:
            described["quantization"] = {"scale": self.scale, "zero_point": self.zero_point or 0}
        return described


class Session(Protocol):
    """A model that is loaded and ready to run."""

    @property
    def runtime(self) -> str:
        """Which runtime it is, such as ``onnxruntime``."""

    @property
    def runtime_version(self) -> str:
        """The runtime's version."""

    @property
    def provider(self) -> str:
        """What of the runtime computes, such as ``CPUExecutionProvider`` or ``XNNPACK``."""

    @property
    def concurrent(self) -> bool:
        """Several threads may call :meth:`run` at once."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """What must be fed, in the model's order."""

    @property
    def outputs(self) -> Sequence[Tensor]:
        """What it answers, in the model's order."""

    def run(self, feed: Feed) -> list[Any]:
        """Answer one feed: an array for each of :attr:`inputs` in, one for each of :attr:`outputs` out, in their order.

        A free dimension takes the size that the feed has. An answer is an array, but for ONNX's sequences and maps.
        """
