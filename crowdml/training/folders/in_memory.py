"""Read the images of a folder into memory, unchanged or resized, and list the images that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crowdml.training.folders.decoding import Channels, Head, UnreadableImageError, read_centre, read_head, read_whole
from crowdml.training.items import Items

MOST_BYTES = 4 << 30
"""Images are not read into memory if they would take more bytes."""

_THREADS = 4


def read_images(
    source: str,
    paths: Sequence[Path],
    ids: Sequence[str] | NDArray[Any],
    *,
    side: int | None = None,
    channels: int | None = None,
) -> Items:
    """Return the images as items whose values are (n_items, channels, height, width) uint8.

    Args:
        source: where the images are, for messages.
        paths: the image files.
        ids: the id of each image.
        side: take the square in the middle with this side in pixels, as streamed images do, see `decoding.centre_box`.
            None keeps the size of the images, which must then be equal.
        channels: 1 (grey) or 3 (RGB); None is 1 if every image is grey, else 3.

    Raises:
        ValueError: no image can be read, the images differ in size, or they do not fit into memory.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        heads = list(pool.map(_head, paths, [side is None] * len(paths)))
        shape = _shape(source, heads, side, channels)
        n_bytes = len(paths) * int(np.prod(shape))
        if n_bytes > MOST_BYTES:
            raise ValueError(
                f"{source}: {len(paths):,} images of {shape} would take {n_bytes / 1e9:.0f} GB of memory; "
                "choose a smaller --side, or --stream"
            )
        values = np.empty((len(paths), *shape), np.uint8)
        faults = list(pool.map(_decode, paths, values, [side] * len(paths)))
    faulty = {path: fault for path, fault in zip(paths, faults, strict=True) if fault is not None}
    return Items(source, np.asarray(ids), values, tuple(paths)).without(faulty)


def _head(path: Path, upright: bool) -> Head | None:
    """Return the head of an image, or None if the image cannot be read."""
    try:
        return read_head(path, upright=upright)
    except UnreadableImageError:
        return None


def _shape(source: str, heads: Sequence[Head | None], side: int | None, channels: int | None) -> tuple[int, int, int]:
    """Return the (channels, height, width) that every image has in memory."""
    readable = [head for head in heads if head is not None]
    if channels is None:
        channels = 1 if readable and all(head.grey for head in readable) else 3
    if side is not None or not readable:
        return channels, side or 1, side or 1
    sizes = Counter((head.width, head.height) for head in readable)
    if len(sizes) > 1:
        common = ", ".join(f"{width} x {height} ({count:,})" for (width, height), count in sizes.most_common(3))
        raise ValueError(f"{source}: images have {len(sizes)} sizes, such as {common}; give --side PIXELS")
    width, height = next(iter(sizes))
    return channels, height, width


def _decode(path: Path, into: NDArray[np.uint8], side: int | None) -> str | None:
    """Write an image into (channels, height, width) pixels, or return why the image cannot be read."""
    channels: Channels = 1 if len(into) == 1 else 3
    try:
        pixels = read_whole(path, channels) if side is None else read_centre(path, side, channels)
    except UnreadableImageError as error:
        return error.reason
    into[:] = pixels.transpose(2, 0, 1)
    return None
