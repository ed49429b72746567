"""Images of strangers as arrays: decoded, resized, and in the numbers that a model wants. For the engine's own process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from edge_ai.engine.dataset_files import bad_files
from edge_ai.engine.dataset_preprocess import ImageSteps
from edge_ai.engine.image_header import image_size

MAX_PIXELS: Final = 64_000_000
_HOW: Final[dict[str, int]] = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where an image went: a point (x, y) of the file is at (x × across + left, y × down + top) of the input."""

    across: float
    down: float
    left: float
    top: float

    def boxes(self, boxes: Array) -> Array:
        """Return boxes [n, 4] as left, top, width, height, where they went."""
        return boxes * [self.across, self.down, self.across, self.down] + [self.left, self.top, 0, 0]


def decode_image(data: bytes, name: str, *, gray: bool) -> npt.NDArray[np.uint8]:
    """Return an image as it is stored, [height, width] or [height, width, 3] in the order red, green, blue.

    How the camera was held is not considered, as training programs do not; an alpha channel is left out.

    Raises
    ------
    UserInputError
        ``dataset_unreadable`` naming the file: damaged, cut short, or larger than 64 million pixels.
    """
    size = image_size(data)
    if size is None:
        raise bad_files(f"{name[:100]!r} does not begin like an image, or is damaged")
    if size[0] * size[1] > MAX_PIXELS:
        raise bad_files(f"{name[:100]!r} says that it has {size[0]:,} × {size[1]:,} pixels, more than can be used")
    mode = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise bad_files(f"{name[:100]!r} cannot be decoded ({str(error)[:100]})") from None
    if found is None or found.shape[:2] != size:
        raise bad_files(
            f"{name[:100]!r} is damaged: it cannot be decoded to the {size[0]} × {size[1]} pixels that it says"
        )
    return np.asarray(found if gray else found[:, :, ::-1], dtype=np.uint8)


def place_image(
    image: Array, steps: ImageSteps, *, mask: bool = False, fill: int | None = None
) -> tuple[Array, Placement]:
    """Resize an image as ``preprocess.json`` says.

    Parameters
    ----------
    image
        uint8 [height, width] or [height, width, 3].
    mask
        Whether its values are classes, between which there is nothing.
    fill
        What the border of mode ``pad`` is filled with; ``None``: as the steps say.
    """
    height, width = image.shape[:2]
    if steps.size is None:
        return image, Placement(across=1, down=1, left=0, top=0)
    high, wide = steps.size
    if steps.mode == "stretch":
        return (
            _resized(image, high, wide, steps, mask=mask),
            Placement(across=wide / width, down=high / height, left=0, top=0),
        )
    if steps.mode == "crop":
        factor = max(high / height, wide / width) if steps.shorter is None else steps.shorter / min(height, width)
    else:
        factor = min(high / height, wide / width)
    new = max(1, round(height * factor)), max(1, round(width * factor))
    if steps.mode == "crop":
        new = max(new[0], high), max(new[1], wide)
    scaled = _resized(image, *new, steps, mask=mask)
    top, left = (high - new[0]) // 2, (wide - new[1]) // 2
    where = Placement(across=new[1] / width, down=new[0] / height, left=left, top=top)
    if steps.mode == "crop":
        return scaled[-top : -top + high, -left : -left + wide], where
    whole = np.full((high, wide, *image.shape[2:]), steps.pad_value if fill is None else fill, np.uint8)
    whole[top : top + new[0], left : left + new[1]] = scaled
    return whole, where


def to_numbers(image: Array, steps: ImageSteps) -> Array:
    """Return a placed image as a sample of the model's input."""
    pixels = image[:, :, np.newaxis] if image.ndim == 2 else image
    if steps.color_order == "bgr":
        pixels = pixels[:, :, ::-1]
    if steps.dtype != "uint8":
        numbers = pixels.astype(np.float32) * np.float32(steps.scale)
        pixels = (numbers - np.array(steps.mean, np.float32)) / np.array(steps.std, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if steps.layout == "nchw" else pixels)


def _resized(image: Array, height: int, width: int, steps: ImageSteps, *, mask: bool) -> Array:
    if (height, width) == image.shape[:2]:
        return image
    # Modes crop and pad may ask for an extreme ratio of sides.
    if height * width > MAX_PIXELS:
        raise bad_files(
            f"An image of {image.shape[0]} × {image.shape[1]} pixels would be resized to {height} × {width}"
        )
    name = "nearest" if mask else steps.interpolation
    if name == "auto":
        name = "area" if height < image.shape[0] or width < image.shape[1] else "bilinear"
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=_HOW[name]))
