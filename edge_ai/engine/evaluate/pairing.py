"""Which tensor of a converted model is which of its source: by name, and where converters rename, by place and shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.fit import plain_name
from edge_ai.engine.runtime.base import Array, Feed, Tensor


def pair(source: Sequence[Tensor], variant: Sequence[Tensor]) -> dict[str, str]:
    """Pair the tensors of a source with those of a variant.

    Parameters
    ----------
    source, variant
        Both all inputs, or both all outputs.

    Returns
    -------
    dict
        For each name of the source the variant's name: the same one, else the same one in plain form
        (:func:`~edge_ai.engine.fit.plain_name`), else, where converters have renamed, the next of the same rank and fixed
        sizes.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion`` for a tensor of the source that the variant does not have.
    """
    left = {tensor.name: tensor for tensor in variant}
    found: dict[str, str] = {}
    for same in (
        lambda x, y: x.name == y.name,
        lambda x, y: _spelled(x.name) == _spelled(y.name),
        lambda x, y: plain_name(x.name) == plain_name(y.name),
        _alike,
    ):
        for tensor in source:
            if tensor.name in found:
                continue
            match = next((other for other in left.values() if same(tensor, other)), None)
            if match is not None:
                found[tensor.name] = match.name
                del left[match.name]
    missing = [tensor.name for tensor in source if tensor.name not in found]
    if missing:
        raise UnsupportedError(
            f"The converted model lacks {', '.join(map(repr, missing[:5]))} of the original; it has "
            f"{', '.join(repr(tensor.name) for tensor in variant[:8])}.",
            code="unsupported_conversion",
            fix="Choose another target format.",
        )
    return found


def translate(
    feed: Feed, names: Mapping[str, str], source: Sequence[Tensor], variant: Sequence[Tensor]
) -> dict[str, Array]:
    """Return a source's feed as its variant takes it: under the variant's names and in its types.

    Integers that stand for real numbers become those numbers where the variant takes reals, and the other way round.

    Parameters
    ----------
    names
        What :func:`pair` found for the inputs.
    source, variant
        The inputs of both.
    """
    ours = {tensor.name: tensor for tensor in source}
    theirs = {tensor.name: tensor for tensor in variant}
    translated: dict[str, Array] = {}
    for name, value in feed.items():
        if name in names:
            target = theirs[names[name]]
            known = to_real(value, ours[name]) if target.quantized or target.dtype.startswith("float") else value
            translated[target.name] = to_input(known, target)
    return translated


def to_answer(value: Any, source: Tensor, variant: Tensor) -> Any:
    """Return a variant's answer as its source's real numbers.

    Integers of a variant that does not say what they stand for stand for what the source's do.
    """
    if variant.quantized:
        return to_real(value, variant)
    if source.quantized and variant.dtype == source.dtype:
        return to_real(value, source)
    return value


def to_input(value: Array, tensor: Tensor) -> Array:
    """Return an array in an input's type: real numbers are quantized for an integer input that stands for them."""
    if tensor.quantized and value.dtype.kind == "f":
        limits = np.iinfo(tensor.dtype)
        scaled = np.round(value / np.float64(tensor.scale or 1.0)) + (tensor.zero_point or 0)
        return np.asarray(np.clip(scaled, limits.min, limits.max).astype(tensor.dtype))
    if tensor.dtype == "string":
        return value
    return np.ascontiguousarray(value.astype(tensor.dtype, copy=False)) if value.ndim else value.astype(tensor.dtype)


def to_real(value: Any, tensor: Tensor) -> Any:
    """Return the real numbers that an integer output stands for; anything else is itself."""
    if not tensor.quantized or value.dtype.kind not in "iu":
        return value
    real = (value.astype(np.float64) - (tensor.zero_point or 0)) * (tensor.scale or 1.0)
    return np.asarray(real.astype(np.float32))


def _spelled(name: str) -> str:
    """Return a name as converters spell it that allow letters and underscores only."""
    return re.sub(r"\W", "_", name.replace(":", "__"))


def _alike(source: Tensor, variant: Tensor) -> bool:
    """The same rank, and the same sizes where both are fixed."""
    if source.shape is None or variant.shape is None:
        return True
    return len(source.shape) == len(variant.shape) and all(
        x == y for x, y in zip(source.shape, variant.shape, strict=True) if isinstance(x, int) and isinstance(y, int)
    )
