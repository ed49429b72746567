"""Shapes and multiply-accumulates of Keras' layers, from their configurations alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod
from typing import Any, Final

import numpy as np

Shape = tuple[int | None, ...]
Config = Mapping[str, Any]
#: The shape that a layer answers with, and its multiply-accumulates.
Answer = tuple[Shape, int]


class UnknownShapeError(Exception):
    """A size that matters cannot be known before the model runs, or the layer is not known here."""


def layer_answer(kind: str, config: Config, shapes: Sequence[Shape]) -> Answer:
    """Return what a layer answers with, for a batch of one.

    Parameters
    ----------
    kind
        The layer's class.
    shapes
        Of its inputs.

    Raises
    ------
    UnknownShapeError
        For layers and sizes that are not known.
    """
    if not shapes:
        raise UnknownShapeError(kind)
    if kind in SAME:
        return shapes[0], 0
    rule = RULES.get(kind) or RULES.get(kind.rstrip("123D"))
    if rule is None:
        raise UnknownShapeError(kind)
    try:
        return rule(config, shapes)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UnknownShapeError(kind) from error


def sizes(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return a shape that must be fully known.

    Raises
    ------
    UnknownShapeError
        When it is not.
    """
    known = tuple(axis for axis in shape if axis is not None)
    if len(known) != len(shape):
        raise UnknownShapeError
    return known


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * rank


def _divide(config: Config, shape: Shape) -> tuple[Shape, int]:
    """Return the spatial axes and the number of channels."""
    if config.get("data_format") == "channels_first":
        return shape[2:], sizes(shape[1:2])[0]
    return shape[1:-1], sizes(shape[-1:])[0]


def _join(config: Config, batch: int | None, spatial: Sequence[int | None], channels: int) -> Shape:
    if config.get("data_format") == "channels_first":
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)


def _slide(config: Config, spatial: Shape, kernel: Sequence[int]) -> tuple[int | None, ...]:
    """Return how often a window fits along each axis."""
    rank = len(spatial)
    # A pool steps by its own size where nothing else is said.
    steps = _tuple(config.get("strides") or config.get("pool_size") or 1, rank)
    gaps = _tuple(config.get("dilation_rate", 1), rank)
    whole = config.get("padding", "valid") in {"same", "causal"}
    return tuple(
        None if size is None else ceil(size / step) if whole else (size - (width - 1) * gap - 1) // step + 1
        for size, step, gap, width in zip(spatial, steps, gaps, kernel, strict=True)
    )


def _conv(config: Config, shapes: Sequence[Shape]) -> Answer:
    spatial, channels = _divide(config, shapes[0])
    kernel = _tuple(config["kernel_size"], len(spatial))
    after = _slide(config, spatial, kernel)
    work = prod(sizes(after)) * config["filters"] * prod(kernel) * channels // (config.get("groups") or 1)
    return _join(config, shapes[0][0], after, config["filters"]), work


def _depthwise(config: Config, shapes: Sequence[Shape]) -> Answer:
    spatial, channels = _divide(config, shapes[0])
    kernel = _tuple(config["kernel_size"], len(spatial))
    after = _slide(config, spatial, kernel)
    made = channels * config.get("depth_multiplier", 1)
    return _join(config, shapes[0][0], after, made), prod(sizes(after)) * made * prod(kernel)


def _separable(config: Config, shapes: Sequence[Shape]) -> Answer:
    between, work = _depthwise(config, shapes)
    spatial, channels = _divide(config, between)
    work += prod(sizes(spatial)) * channels * config["filters"]
    return _join(config, shapes[0][0], spatial, config["filters"]), work


def _conv_transpose(config: Config, shapes: Sequence[Shape]) -> Answer:
    spatial, channels = _divide(config, shapes[0])
    rank = len(spatial)
    kernel, steps = _tuple(config["kernel_size"], rank), _tuple(config.get("strides", 1), rank)
    if config.get("output_padding") is not None:
        raise UnknownShapeError
    grown = 0 if config.get("padding", "valid") == "same" else 1
    after = tuple(
        size * step + grown * max(width - step, 0)
        for size, step, width in zip(sizes(spatial), steps, kernel, strict=True)
    )
    work = prod(sizes(spatial)) * channels * config["filters"] * prod(kernel)
    return _join(config, shapes[0][0], after, config["filters"]), work


def _pool(config: Config, shapes: Sequence[Shape]) -> Answer:
    spatial, channels = _divide(config, shapes[0])
    return _join(config, shapes[0][0], _slide(config, spatial, _tuple(config["pool_size"], len(spatial))), channels), 0


def _global_pool(config: Config, shapes: Sequence[Shape]) -> Answer:
    spatial, channels = _divide(config, shapes[0])
    if config.get("keepdims"):
        return _join(config, shapes[0][0], (1,) * len(spatial), channels), 0
    return (shapes[0][0], channels), 0


def _resize(sign: int, field: str) -> Callable[[Config, Sequence[Shape]], Answer]:
    def rule(config: Config, shapes: Sequence[Shape]) -> Answer:
        spatial, channels = _divide(config, shapes[0])
        pairs = [_tuple(pair, 2) for pair in _tuple(config[field], len(spatial) if len(spatial) > 1 else 2)]
        if len(spatial) == 1:
            pairs = [(pairs[0][0], pairs[1][0])] if isinstance(config[field], (list, tuple)) else pairs[:1]
        after = [n + sign * sum(pair) for n, pair in zip(sizes(spatial), pairs, strict=True)]
        return _join(config, shapes[0][0], after, channels), 0

    return rule


def _upsample(config: Config, shapes: Sequence[Shape]) -> Answer:
    spatial, channels = _divide(config, shapes[0])
    factors = _tuple(config["size"], len(spatial))
    return _join(config, shapes[0][0], [n * f for n, f in zip(sizes(spatial), factors, strict=True)], channels), 0


def _dense(config: Config, shapes: Sequence[Shape]) -> Answer:
    return (*shapes[0][:-1], config["units"]), prod(sizes(shapes[0])) * config["units"]


def _einsum(config: Config, shapes: Sequence[Shape]) -> Answer:
    left, right = config["equation"].replace(" ", "").split("->")
    first, second = left.split(",")
    if "." in config["equation"]:
        raise UnknownShapeError
    known = dict(zip(first, sizes(shapes[0]), strict=True))
    given = _tuple(config["output_shape"], 1)
    for letter, size in zip(reversed(right), reversed(given), strict=False):
        if size is not None:
            known.setdefault(letter, size)
    return tuple(known[letter] for letter in right), prod(known[letter] for letter in set(first + second + right))


def _recurrent(gates: int) -> Callable[[Config, Sequence[Shape]], Answer]:
    def rule(config: Config, shapes: Sequence[Shape]) -> Answer:
        batch, steps, size = sizes(shapes[0])
        units = config["units"]
        answer = (batch, steps, units) if config.get("return_sequences") else (batch, units)
        return answer, steps * gates * units * (size + units)

    return rule


def _bidirectional(config: Config, shapes: Sequence[Shape]) -> Answer:
    shape, work = layer_answer(config["layer"]["class_name"], config["layer"]["config"], shapes)
    if config.get("merge_mode", "concat") == "concat":
        shape = (*shape[:-1], 2 * sizes(shape[-1:])[0])
    return shape, 2 * work


def _time_distributed(config: Config, shapes: Sequence[Shape]) -> Answer:
    batch, steps = sizes(shapes[0][:2])
    shape, work = layer_answer(config["layer"]["class_name"], config["layer"]["config"], [(batch, *shapes[0][2:])])
    return (batch, steps, *shape[1:]), steps * work


def _attention_heads(config: Config, shapes: Sequence[Shape]) -> Answer:
    queries, size = sizes(shapes[0][1:])
    values, value_size = sizes(shapes[min(1, len(shapes) - 1)][1:])
    heads, key = config["num_heads"], config["key_dim"]
    value = config.get("value_dim") or key
    work = heads * key * (queries * size + values * value_size) + heads * value * values * value_size
    work += heads * queries * values * (key + value) + heads * value * queries * size
    return shapes[0], work


def _attention(config: Config, shapes: Sequence[Shape]) -> Answer:
    queries, size = sizes(shapes[0][1:])
    values, value_size = sizes(shapes[1][1:])
    return (*shapes[0][:-1], value_size), queries * values * (size + value_size)


def _reshape(config: Config, shapes: Sequence[Shape]) -> Answer:
    wanted = list(config["target_shape"])
    if -1 in wanted:
        place = wanted.index(-1)
        wanted[place] = prod(sizes(shapes[0][1:])) // prod(wanted[:place] + wanted[place + 1 :])
    return (shapes[0][0], *wanted), 0


def _concatenate(config: Config, shapes: Sequence[Shape]) -> Answer:
    axis = config.get("axis", -1) % len(shapes[0])
    joined = list(shapes[0])
    joined[axis] = sum(sizes([shape[axis] for shape in shapes]))
    return tuple(joined), 0


def _merge(config: Config, shapes: Sequence[Shape]) -> Answer:
    return tuple(np.broadcast_shapes(*(sizes(shape) for shape in shapes))), 0


def _table(config: Config, shapes: Sequence[Shape]) -> Answer:
    return (*shapes[0], config["output_dim"]), 0


#: Layers that keep their first input's shape.
SAME: Final = frozenset(
    {
        *("Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "ELU", "Identity"),
        *("GaussianDropout", "GaussianNoise", "GroupNormalization", "LayerNormalization", "LeakyReLU", "Masking"),
        *("Normalization", "PReLU", "RMSNormalization", "ReLU", "Rescaling", "Softmax", "SpatialDropout1D"),
        *("SpatialDropout2D", "SpatialDropout3D", "ThresholdedReLU", "UnitNormalization", "BatchNormalizationV1"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness", "RandomTranslation"),
        *("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu", "HardSwish", "HardSigmoid", "Negative", "Exp", "Sqrt"),
    }
)
RULES: Final[Mapping[str, Callable[[Config, Sequence[Shape]], Answer]]] = {
    "Conv": _conv,
    "Convolution": _conv,
    "DepthwiseConv": _depthwise,
    "SeparableConv": _separable,
    **{f"Conv{rank}DTranspose": _conv_transpose for rank in (1, 2, 3)},
    "MaxPooling": _pool,
    "AveragePooling": _pool,
    "GlobalMaxPooling": _global_pool,
    "GlobalAveragePooling": _global_pool,
    "ZeroPadding": _resize(1, "padding"),
    "Cropping": _resize(-1, "cropping"),
    "UpSampling": _upsample,
    "Dense": _dense,
    "EinsumDense": _einsum,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "SimpleRNN": _recurrent(1),
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "MultiHeadAttention": _attention_heads,
    "Attention": _attention,
    "AdditiveAttention": _attention,
    "Embedding": _table,
    "Flatten": lambda config, shapes: ((shapes[0][0], prod(sizes(shapes[0][1:]))), 0),
    "Reshape": _reshape,
    "Permute": lambda config, shapes: ((shapes[0][0], *(shapes[0][axis] for axis in config["dims"])), 0),
    "RepeatVector": lambda config, shapes: ((shapes[0][0], config["n"], *shapes[0][1:]), 0),
    "Concatenate": _concatenate,
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Divide", "Average", "Maximum", "Minimum"), _merge),
}
