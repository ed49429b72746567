"""How files of a data set become a model's input: its ``preprocess.json``. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_ai.engine.dataset_json import Fields

PREPROCESS_FILE: Final = "preprocess.json"
MAX_SIDE: Final = 8192
MAX_LENGTH: Final = 1 << 26
#: What stands for "the model's only input" where a data set does not name it.
ONLY_INPUT: Final = "*"
IMAGE_FIELDS: Final = (
    *("input", "resize", "mode", "shorter", "interpolation", "pad_value"),
    *("layout", "color_order", "scale", "mean", "std", "dtype"),
)
AUDIO_FIELDS: Final = ("input", "sample_rate", "length", "layout", "scale", "mean", "std")
CHANNELS: Final = {"rgb": 3, "bgr": 3, "gray": 1}


@dataclass(frozen=True, kw_only=True)
class ImageSteps:
    """How an image becomes an input: resized, in an order of colours, as ``(value × scale − mean) / std``.

    Parameters
    ----------
    input
        The input's name; ``"*"`` for the model's only one.
    size
        Height and width; ``None``: as the files are, which must all be of one size.
    mode
        ``stretch``; ``crop``: the shorter side to ``shorter`` (or as little as fills the size), then the middle; ``pad``:
        within the size, the rest filled with ``pad_value``.
    interpolation
        ``auto`` is ``area`` to shrink, ``bilinear`` to enlarge.
    layout, color_order
        ``nchw`` or ``nhwc``; ``rgb``, ``bgr`` or ``gray``.
    scale, mean, std
        One number, or one for each channel; of ``uint8`` none is applied.
    """

    input: str = ONLY_INPUT
    size: tuple[int, int] | None = None
    mode: str = "stretch"
    shorter: int | None = None
    interpolation: str = "auto"
    pad_value: int = 0
    layout: str = "nchw"
    color_order: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"

    @property
    def channels(self) -> int:
        """How many there are."""
        return CHANNELS[self.color_order]

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of a sample."""
        return (self.channels, height, width) if self.layout == "nchw" else (height, width, self.channels)


@dataclass(frozen=True, kw_only=True)
class AudioSteps:
    """How a sound becomes an input: one channel, values from -1 to 1, as ``(value × scale − mean) / std``.

    Parameters
    ----------
    sample_rate
        What every file must have, in Hz; ``None``: any, the same in all.
    length
        Samples of each sound: longer ones are cut, shorter ones filled with silence. ``None``: as the files are, which
        must all be of one length.
    layout
        ``nt``: [sounds, samples]; ``nct``: [sounds, 1, samples]; ``ntc``: [sounds, samples, 1].
    """

    input: str = ONLY_INPUT
    sample_rate: int | None = None
    length: int | None = None
    layout: str = "nt"
    scale: float = 1.0
    mean: float = 0.0
    std: float = 1.0

    def shape(self, length: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return {"nt": (length,), "nct": (1, length), "ntc": (length, 1)}[self.layout]


def read_image_steps(text: bytes | str | None) -> ImageSteps:
    """Read a ``preprocess.json`` for images; without one every field has its default.

    Raises
    ------
    UserInputError
        ``preprocess_invalid`` naming the field.
    """
    given = _fields(text)
    size = given.take("resize")
    if isinstance(size, int) and not isinstance(size, bool):
        size = [size, size]
    if size is not None and (
        not isinstance(size, list)
        or len(size) != 2
        or any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in size)
    ):
        raise given.refuse(f"must have [height, width] of 1 to {MAX_SIDE:,} for “resize”")
    defaults = ImageSteps()
    dtype = given.choice("dtype", ("float32", "uint8"), "float32")
    layout = given.choice("layout", ("nchw", "nhwc"), "nchw")
    order = given.choice("color_order", tuple(CHANNELS), "rgb")
    mode = given.choice("mode", ("stretch", "crop", "pad"), "stretch")
    shorter = given.integer("shorter", 1, MAX_SIDE)
    if size is None and (mode != "stretch" or shorter is not None):
        raise given.refuse("has “mode” or “shorter” without “resize”")
    if shorter is not None and (mode != "crop" or shorter < max(size or (0,))):
        raise given.refuse("may have “shorter” with mode crop only, and no smaller than the sides of “resize”")
    scale, mean, std = given.number("scale", -1e6, 1e6), _each(given, "mean", order), _each(given, "std", order)
    if dtype == "uint8" and (scale, mean, std) != (None, None, None):
        raise given.refuse("has “scale”, “mean” or “std”, which are not applied to uint8")
    if scale == 0 or (std is not None and min(map(abs, std)) < 1e-12):
        raise given.refuse("has 0 for “scale” or “std”, by which every image would be the same or endless")
    pad_value = given.integer("pad_value", 0, 255)
    found = ImageSteps(
        input=given.text("input") or ONLY_INPUT,
        size=None if size is None else (size[0], size[1]),
        mode=mode,
        shorter=shorter,
        interpolation=given.choice("interpolation", ("auto", "nearest", "bilinear", "bicubic", "area"), "auto"),
        pad_value=pad_value or 0,
        layout=layout,
        color_order=order,
        scale=defaults.scale if scale is None else scale,
        mean=mean or defaults.mean,
        std=std or defaults.std,
        dtype=dtype,
    )
    given.done(IMAGE_FIELDS)
    return found


def read_audio_steps(text: bytes | str | None) -> AudioSteps:
    """Read a ``preprocess.json`` for sounds; without one every field has its default.

    Raises
    ------
    UserInputError
        ``preprocess_invalid`` naming the field.
    """
    given = _fields(text)
    scale, mean, std = given.number("scale", -1e6, 1e6), given.number("mean", -1e6, 1e6), given.number("std", 0, 1e6)
    if scale == 0 or (std is not None and std < 1e-12):
        raise given.refuse("has 0 for “scale” or “std”, by which every sound would be the same or endless")
    found = AudioSteps(
        input=given.text("input") or ONLY_INPUT,
        sample_rate=given.integer("sample_rate", 1, 1_000_000),
        length=given.integer("length", 1, MAX_LENGTH),
        layout=given.choice("layout", ("nt", "nct", "ntc"), "nt"),
        scale=1.0 if scale is None else scale,
        mean=mean or 0.0,
        std=1.0 if std is None else std,
    )
    given.done(AUDIO_FIELDS)
    return found


def _fields(text: bytes | str | None) -> Fields:
    return Fields.read(b"{}" if text is None else text, file=PREPROCESS_FILE, code="preprocess_invalid")


def _each(given: Fields, name: str, order: str) -> tuple[float, ...] | None:
    values = given.numbers(name, -1e6, 1e6, most=3)
    if values is not None and len(values) not in (1, CHANNELS[order]):
        raise given.refuse(
            f"has {len(values)} numbers for “{name}”, and {order} images have {CHANNELS[order]} channels"
        )
    return values
