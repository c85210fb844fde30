"""Images of a folder into memory, as they are or resized; those that cannot be read are left out and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from crowdml.training.items import Items

MOST_BYTES = 4 << 30
"""Images that take more are not read into memory."""

_GREY = ("1", "L", "LA", "I;16")
_WORKERS = 4


def read_images(
    source: str,
    paths: Sequence[Path],
    ids: Sequence[str] | NDArray[Any],
    *,
    side: int | None = None,
    channels: int | None = None,
) -> Items:
    """The images as (n_items, channels, height, width) uint8.

    Args:
        source: where they are, for messages.
        paths, ids: of each image.
        side: resize the short side to this many pixels and cut a square from the middle; by default images are taken
            as they are and must have one size.
        channels: 1 (grey) or 3 (RGB); by default 1 if every image is grey.

    Raises:
        ValueError: no image can be read, they differ in size, or they do not fit into memory.
    """
    if side is not None and side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    with ThreadPoolExecutor(_WORKERS) as pool:
        heads = list(pool.map(_head, paths))
        shape = _shape(source, heads, side, channels)
        n_bytes = len(paths) * int(np.prod(shape))
        if n_bytes > MOST_BYTES:
            raise ValueError(
                f"{source}: {len(paths):,} images of {shape} would take {n_bytes / 1e9:.0f} GB of memory; "
                "choose a smaller --side, or --stream"
            )
        values = np.empty((len(paths), *shape), np.uint8)
        faults = list(pool.map(_decode, paths, values, [side is not None] * len(paths)))
    good = np.array([fault is None for fault in faults])
    skipped = tuple((str(path), fault) for path, fault in zip(paths, faults, strict=True) if fault is not None)
    if not good.any():
        raise ValueError(f"{source}: none of the {len(paths)} images can be read; {skipped[0][0]}: {skipped[0][1]}")
    names = np.asarray(ids)
    if good.all():
        return Items(source, names, values, tuple(paths))
    return Items(source, names[good], values[good], tuple(compress(paths, good)), skipped=skipped)


def _head(path: Path) -> tuple[tuple[int, int], str] | None:
    """Width and height as they are shown, and the mode; None of a file that is no image, which is looked at again."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5
            return ((height, width) if turned else (width, height)), image.mode
    except Exception:  # a damaged file makes decoders raise almost anything
        return None


def _shape(
    source: str, heads: Sequence[tuple[tuple[int, int], str] | None], side: int | None, channels: int | None
) -> tuple[int, int, int]:
    """(channels, height, width) of every image in memory."""
    readable = [head for head in heads if head is not None]
    if channels is None:
        channels = 1 if readable and all(mode in _GREY for _, mode in readable) else 3
    if side is not None or not readable:
        return channels, side or 1, side or 1
    sizes = Counter(size for size, _ in readable)
    if len(sizes) > 1:
        common = ", ".join(f"{width} x {height} ({count:,})" for (width, height), count in sizes.most_common(3))
        raise ValueError(f"{source}: images have {len(sizes)} sizes, such as {common}; give --side PIXELS")
    width, height = next(iter(sizes))
    return channels, height, width


def _decode(path: Path, into: NDArray[np.uint8], resize: bool) -> str | None:
    """Fill (channels, height, width) with an image; what is wrong with one that cannot be read."""
    channels, height, width = into.shape
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode == "I;16":
                # Pillow cuts 16 bits off at 255 instead of scaling them.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("L" if channels == 1 else "RGB")
            if resize:
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            into[:] = np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
    except UnidentifiedImageError:
        return "not an image of a known format"
    except Exception as error:
        return str(error) or type(error).__name__
    return None
