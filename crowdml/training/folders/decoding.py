"""Decode an image file into pixels of the size that a network takes, and find the files that cannot be read.

Each image is decoded once, and one step cuts and resizes it.  Pillow decodes, because torchvision installs Pillow,
Pillow reads all common formats, and other threads run while Pillow works.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

TrainCrop = Literal["shift", "area"]
"""How a random crop is drawn: "shift" moves a square of fixed size; "area" also varies the size and the shape."""

Crop = Literal["centre"] | TrainCrop
"""The part of an image that a view shows."""

N_DRAWS = 5
"""Number of random numbers per augmented view: flip, place across, place down, area, aspect ratio."""

# The usual protocol on ImageNet and Clothing1M: resize the short side to 256 pixels, then cut 224 pixels.
_CENTRE_SHARE = 224 / 256
# Szegedy et al., CVPR 2015, section 6: 8 to 100 % of the area, the aspect ratio between 3/4 and 4/3.
_LEAST_AREA, _MOST_ASPECT = 0.08, 4 / 3
# A JPEG is decoded at a half, a quarter or an eighth of its size if each side keeps at least twice the needed pixels.
# This is much faster for large images, and the later resizing still averages enough pixels to show no difference.
_DECODE_GAP = 2.0

Check = Literal["decode", "header"]
"""How images are checked: "header" opens each image; "decode" also decodes the image, which finds truncated files."""

# Decoding a JPEG to this small side is much faster than to its full size, and still reads all bytes of the file.
_CHECKED_SIDE = 8
# Number of paths that wait for the threads at a time, so that a million paths do not make a million tasks.
_AT_A_TIME = 4096


class UnreadableImageError(ValueError):
    """A file cannot be decoded as an image."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}")
        self.path, self.reason = path, reason


def read_centre(path: Path, side: int) -> NDArray[np.uint8]:
    """Return (side, side, 3) RGB pixels: resize the short side to 8/7 of `side`, and cut a square from the middle.

    Raises:
        UnreadableImageError: the file is not an image, or it is damaged.
    """
    return _read(path, side, lambda width, height: [centre_box(width, height)])[0]


def read_views(path: Path, side: int, draws: NDArray[np.float32], crop: Crop, *, flip: bool) -> list[NDArray[np.uint8]]:
    """Return augmented versions of an image, each (side, side, 3) RGB pixels.

    Args:
        path: the image file.
        side: side of the returned squares.
        draws: (n_views, N_DRAWS) numbers in [0, 1), the only source of randomness.
        crop: how a part of the image is chosen.
        flip: mirror half of the views.

    Raises:
        UnreadableImageError: the file is not an image, or it is damaged.
    """
    views = _read(path, side, lambda width, height: [random_box(width, height, row, crop) for row in draws])
    return [view[:, ::-1] if flip and row[0] < 0.5 else view for view, row in zip(views, draws, strict=True)]


def check_header(path: Path) -> None:
    """Raise UnreadableImageError if a file does not begin like an image; decode nothing."""
    try:
        with Image.open(path):
            pass
    except Exception as error:
        raise UnreadableImageError(path, fault_of(error)) from error


Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a part of an image, in pixels."""


def centre_box(width: int, height: int) -> Box:
    """Return the part of an image that `read_centre` takes."""
    edge = min(width, height) * _CENTRE_SHARE
    return _placed(width, height, edge, edge, 0.5, 0.5)


def random_box(width: int, height: int, draws: Sequence[float] | NDArray[np.float32], crop: Crop) -> Box:
    """Return the part of an image that an augmented view shows, from (N_DRAWS,) numbers in [0, 1)."""
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
    """Return (side, side, 3) pixels of each part.  `boxes_of` chooses the parts from the image's width and height."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            boxes = boxes_of(width, height)
            needed = side * _DECODE_GAP
            narrowest = min(right - left for left, _, right, _ in boxes)
            lowest = min(bottom - top for _, top, _, bottom in boxes)
            image.draft("RGB", (math.ceil(width * needed / narrowest), math.ceil(height * needed / lowest)))
            across, down = image.size[0] / width, image.size[1] / height
            pixels = convert(image, "RGB")
        parts = [(left * across, top * down, right * across, bottom * down) for left, top, right, bottom in boxes]
        return [np.asarray(pixels.resize((side, side), Image.Resampling.BILINEAR, box=part)) for part in parts]
    except Exception as error:  # a damaged file makes decoders raise almost anything
        raise UnreadableImageError(path, fault_of(error)) from error


def convert(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    """Return an image in grey ("L") or colour, with 8 bits per channel.

    Raises:
        ValueError: the range of the pixels is unknown.
    """
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; save the image with 8 or 16 bits a channel")
    return image.convert(mode)


def fault_of(error: Exception) -> str:
    """Say in a few words why an image cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    return str(error) or type(error).__name__


def unreadable_images(paths: Iterable[Path], threads: int = 2, *, check: Check = "decode") -> dict[Path, str]:
    """Return the images that cannot be read, in the given order, each with the reason.

    Raises:
        ValueError: `check` is unknown, or `threads` is below 1.
    """
    if check not in get_args(Check):
        raise ValueError(f'check must be "header" or "decode", got {check!r}')
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    todo = list(paths)
    found: dict[Path, str] = {}
    with ThreadPoolExecutor(threads, thread_name_prefix="check") as pool:
        for first in range(0, len(todo), _AT_A_TIME):
            some = todo[first : first + _AT_A_TIME]
            reasons = pool.map(_fault, some, [check] * len(some))
            found |= {path: reason for path, reason in zip(some, reasons, strict=True) if reason is not None}
    return found


def _fault(path: Path, check: Check) -> str | None:
    try:
        if check == "header":
            check_header(path)
        else:
            read_centre(path, _CHECKED_SIDE)
    except UnreadableImageError as error:
        return error.reason
    return None
