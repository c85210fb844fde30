"""Decode an image file into pixels, by one set of rules for images in memory and for streamed images.

- The first frame of an animation and the first page of a file with several pages are the image.
- An image is turned upright by its EXIF orientation.
- Transparent parts become white, because the workers probably saw them so.
- Channels of more than 8 bits keep their highest 8 bits.  Pixels whose range is unknown (floats, 32-bit integers) are
  refused.
- An image of a wanted side is the square in the middle, see `centre_box`.

Pillow decodes, because torchvision installs Pillow, Pillow reads all common formats, and other threads run while Pillow
works.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from crowdml.training.folders.formats import FORMATS

TrainCrop = Literal["shift", "area"]
"""How a random crop is drawn: "shift" moves a square of fixed size; "area" also varies the size and the shape."""

Crop = Literal["centre"] | TrainCrop
"""The part of an image that a view shows."""

Channels = Literal[1, 3]
"""Grey or RGB."""

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

_ORIENTATION = 0x0112
# Section 4.6.4 of the EXIF standard: what makes an image of each orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow decodes only these formats at a part of their size, and knows their orientation before it decodes.
_REDUCIBLE = ("JPEG", "MPO")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0

# Pillow warns about images of more than 89 million pixels, which are large photos, and refuses twice as many.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Pillow's warnings about damaged files do not name the file.  Our notes name each file that cannot be read.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class UnreadableImageError(ValueError):
    """The file at `path` cannot be decoded as an image."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


@dataclass(frozen=True)
class Head:
    """The size of an image in pixels, and whether the image has no colours."""

    width: int
    height: int
    grey: bool


def read_head(path: Path, *, upright: bool = True) -> Head:
    """Return what an image says before it is decoded.

    Args:
        path: the image file.
        upright: return the size of the upright image.  A PNG must be decoded to know whether it is upright.

    Raises:
        UnreadableImageError: the file is not an image, it is damaged, or the range of its pixels is unknown.
    """
    with _opened(path) as image:
        _check_range(image)
        width, height = (image.height, image.width) if upright and _is_lying(image) else image.size
        return Head(width, height, _is_grey(image))


def read_whole(path: Path, channels: Channels = 3) -> NDArray[np.uint8]:
    """Return all pixels of an image, (height, width, channels).

    Raises:
        UnreadableImageError: the file is not an image, it is damaged, or the range of its pixels is unknown.
    """
    with _opened(path) as image:
        image.load()
        return _array(_upright(image, channels))


def read_centre(path: Path, side: int, channels: Channels = 3) -> NDArray[np.uint8]:
    """Return the square in the middle of an image, see `centre_box`, as (side, side, channels) pixels.

    Raises:
        UnreadableImageError: the file is not an image, it is damaged, or the range of its pixels is unknown.
    """
    return _read(path, side, channels, lambda width, height: [centre_box(width, height, side)])[0]


def read_views(path: Path, side: int, draws: NDArray[np.float32], crop: Crop, *, flip: bool) -> list[NDArray[np.uint8]]:
    """Return augmented versions of an image, each (side, side, 3) RGB pixels.

    Args:
        path: the image file.
        side: side of the returned squares.
        draws: (n_views, N_DRAWS) numbers in [0, 1), the only source of randomness.
        crop: how a part of the image is chosen.
        flip: mirror half of the views.

    Raises:
        UnreadableImageError: the file is not an image, it is damaged, or the range of its pixels is unknown.
    """
    views = _read(path, side, 3, lambda width, height: [random_box(width, height, row, crop, side) for row in draws])
    return [view[:, ::-1] if flip and row[0] < 0.5 else view for view, row in zip(views, draws, strict=True)]


def check_header(path: Path) -> None:
    """Raise UnreadableImageError if a file does not begin like an image that can be read; decode nothing."""
    with _opened(path) as image:
        _check_range(image)


Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a part of an image, in pixels."""


def centre_box(width: int, height: int, side: int = 1) -> Box:
    """Return the square in the middle that is resized to `side` pixels.

    The square is 7/8 of the short side, as when ImageNet's images are resized to 256 pixels and cut to 224.  An image
    that has no pixels to spare loses fewer: the square keeps at least `side` pixels if the image has so many, so an
    image of `side` by `side` pixels stays as it is.
    """
    short = min(width, height)
    edge = min(short, max(short * _CENTRE_SHARE, side))
    return _placed(width, height, edge, edge, 0.5, 0.5)


def random_box(width: int, height: int, draws: Sequence[float] | NDArray[np.float32], crop: Crop, side: int = 1) -> Box:
    """Return the part of an image that an augmented view shows, from (N_DRAWS,) numbers in [0, 1)."""
    if crop == "centre":
        return centre_box(width, height, side)
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


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, and turn every error of the block into an UnreadableImageError."""
    try:
        if not path.is_file() and path.exists():  # the reader of a pipe would wait for ever
            raise ValueError("not a file")
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except UnreadableImageError:
        raise
    except Exception as error:  # a damaged file makes decoders raise almost anything
        raise UnreadableImageError(path, _fault_of(error)) from error


def _read(
    path: Path, side: int, channels: Channels, boxes_of: Callable[[int, int], list[Box]]
) -> list[NDArray[np.uint8]]:
    """Return (side, side, channels) pixels of each part, which `boxes_of` chooses by the upright width and height."""
    with _opened(path) as image:
        if image.format not in _REDUCIBLE:
            image.load()
        lying = _is_lying(image)
        width, height = (image.height, image.width) if lying else image.size
        boxes = boxes_of(width, height)
        if image.format in _REDUCIBLE:
            needed = side * _DECODE_GAP
            narrowest = min(right - left for left, _, right, _ in boxes)
            lowest = min(bottom - top for _, top, _, bottom in boxes)
            wide, high = math.ceil(width * needed / narrowest), math.ceil(height * needed / lowest)
            image.draft("RGB", (high, wide) if lying else (wide, high))
            image.load()
        pixels = _upright(image, channels)
        across, down = pixels.size[0] / width, pixels.size[1] / height
        parts = [(left * across, top * down, right * across, bottom * down) for left, top, right, bottom in boxes]
        return [_array(pixels.resize((side, side), Image.Resampling.BILINEAR, box=part)) for part in parts]


def _array(pixels: Image.Image) -> NDArray[np.uint8]:
    """Return (height, width, channels) pixels of a grey or RGB image."""
    return np.atleast_3d(np.asarray(pixels))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return how to turn an image upright; None if it is upright."""
    if image.format == "TIFF":  # Pillow turns these images itself
        return None
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the picture of a file with damaged EXIF data is in order
        return None


def _is_lying(image: Image.Image) -> bool:
    """Return whether turning an image upright swaps its width and its height."""
    return _turn(image) in (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])


def _upright(image: Image.Image, channels: Channels) -> Image.Image:
    """Return a decoded image upright, in grey ("L") or RGB, with 8 bits per channel, on white.

    Raises:
        ValueError: the range of the pixels is unknown.
    """
    _check_range(image)
    turn = _turn(image)
    if image.mode.startswith("I"):
        pixels = _highest_bits(image)
    elif image.has_transparency_data:
        # Pillow converts these two modes only to the same mode without the factor alpha.
        plain = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
        pixels = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain).convert("RGB")
    else:
        pixels = image if image.mode in ("1", "L") else image.convert("RGB")
    pixels = pixels.convert("L" if channels == 1 else "RGB")
    return pixels if turn is None else pixels.transpose(turn)


def _check_range(image: Image.Image) -> None:
    """Raise ValueError if the range of the pixels is unknown."""
    # Pillow scales the pixels of PGM files to 16 bits.
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; save the image with 8 or 16 bits a channel")


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _highest_bits(image: Image.Image) -> Image.Image:
    """Return an image with up to 16 bits in grey with 8 bits; Pillow itself would clip the values at 255."""
    tags = getattr(image, "tag_v2", {})
    n_bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
    values = np.asarray(image).astype(np.int64)
    highest = (values >> (n_bits - 8)).clip(0, 255).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        highest = 255 - highest
    # A PNG may name one value whose pixels are transparent.
    transparent = image.info.get("transparency")
    return Image.fromarray(highest if transparent is None else np.where(values == transparent, np.uint8(255), highest))


def _fault_of(error: Exception) -> str:
    """Say in a few words why an image cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return said or type(error).__name__


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
