"""An image file to pixels of the size a network takes: decoded once, cut and resized in one step.

Pillow decodes: it comes with every torchvision, reads every common format, and works while other threads do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

TrainCrop = Literal["shift", "area"]
"""What a random crop is: "shift" moves a square of the centre's size; "area" also varies its size and shape."""

Crop = Literal["centre"] | TrainCrop
"""Which part of an image a view is."""

N_DRAWS = 5
"""How many numbers in [0, 1) one augmented view takes: flip, two of the place, area, aspect ratio."""

# The usual protocol on ImageNet and Clothing1M: the short side becomes 256 pixels, of which 224 are taken.
_CENTRE_SHARE = 224 / 256
# Szegedy et al., CVPR 2015, section 6: 8 to 100 % of the area, the aspect ratio between 3/4 and 4/3.
_LEAST_AREA, _MOST_ASPECT = 0.08, 4 / 3
# JPEG is decoded at a half, a quarter or an eighth of its size where that leaves twice the pixels needed each way:
# much faster for large images, and the resizing that follows still averages enough of them to show no difference.
_DECODE_GAP = 2.0


class UnreadableImageError(ValueError):
    """A file cannot be decoded as an image."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}")
        self.path, self.reason = path, reason


def read_centre(path: Path, side: int) -> NDArray[np.uint8]:
    """(side, side, 3) RGB pixels of the centre of an image.

    The short side is resized to 8/7 of `side` and a square of that cut from the middle.

    Raises:
        UnreadableImageError: the file is no image, or is damaged.
    """
    return _read(path, side, lambda width, height: [centre_box(width, height)])[0]


def read_views(path: Path, side: int, draws: NDArray[np.float32], crop: Crop, *, flip: bool) -> list[NDArray[np.uint8]]:
    """Augmented versions of an image, (side, side, 3) RGB pixels each.

    Args:
        path: of the image.
        side: of the square that is returned.
        draws: (n_views, N_DRAWS) numbers in [0, 1); they alone decide what each view is.
        crop: how a part of the image is chosen.
        flip: mirror half of the views.

    Raises:
        UnreadableImageError: the file is no image, or is damaged.
    """
    views = _read(path, side, lambda width, height: [random_box(width, height, row, crop) for row in draws])
    return [view[:, ::-1] if flip and row[0] < 0.5 else view for view, row in zip(views, draws, strict=True)]


def check_header(path: Path) -> None:
    """Raise UnreadableImageError where a file does not begin as an image does; decodes nothing."""
    try:
        with Image.open(path):
            pass
    except Exception as error:
        raise UnreadableImageError(path, _reason(error)) from error


Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a part of an image, in pixels."""


def centre_box(width: int, height: int) -> Box:
    """The part of an image that `read_centre` takes."""
    edge = min(width, height) * _CENTRE_SHARE
    return _placed(width, height, edge, edge, 0.5, 0.5)


def random_box(width: int, height: int, draws: Sequence[float] | NDArray[np.float32], crop: Crop) -> Box:
    """The part of an image that an augmented view takes, by (N_DRAWS,) numbers in [0, 1)."""
    if crop == "centre":
        return centre_box(width, height)
    _, across, down, area, aspect = (float(draw) for draw in draws)
    if crop == "shift":
        edge = min(width, height) * _CENTRE_SHARE
        return _placed(width, height, edge, edge, across, down)
    n_pixels = width * height * (_LEAST_AREA + (1 - _LEAST_AREA) * area)
    ratio = _MOST_ASPECT ** (2 * aspect - 1)
    wide, high = min(width, math.sqrt(n_pixels * ratio)), min(height, math.sqrt(n_pixels / ratio))
    return _placed(width, height, wide, high, across, down)


def _placed(width: int, height: int, wide: float, high: float, across: float, down: float) -> Box:
    left, top = (width - wide) * across, (height - high) * down
    return left, top, min(left + wide, width), min(top + high, height)


def _read(path: Path, side: int, boxes_of: Callable[[int, int], list[Box]]) -> list[NDArray[np.uint8]]:
    """(side, side, 3) pixels of each of the parts that are chosen by the width and height of the image."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            boxes = boxes_of(width, height)
            needed = side * _DECODE_GAP
            narrowest = min(right - left for left, _, right, _ in boxes)
            lowest = min(bottom - top for _, top, _, bottom in boxes)
            image.draft("RGB", (math.ceil(width * needed / narrowest), math.ceil(height * needed / lowest)))
            across, down = image.size[0] / width, image.size[1] / height
            pixels = _as_rgb(image)
        parts = [(left * across, top * down, right * across, bottom * down) for left, top, right, bottom in boxes]
        return [np.asarray(pixels.resize((side, side), Image.Resampling.BILINEAR, box=part)) for part in parts]
    except Exception as error:  # a damaged file makes decoders raise almost anything
        raise UnreadableImageError(path, _reason(error)) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would cut 16 bits off at 255 instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; save it with 8 or 16 bits a channel")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    return str(error) or type(error).__name__
