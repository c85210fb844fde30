"""Find the images that cannot be read before the training starts."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

from crowdml.training.folders.decoding import UnreadableImageError, check_header, read_centre

Check = Literal["decode", "header"]
"""How images are checked: "header" opens each image; "decode" also decodes the image, which finds truncated files."""

# Decoding a JPEG to this small side is much faster than to its full size, and still reads all bytes of the file.
_SIDE = 8
# Number of paths that wait for the threads at a time, so that a million paths do not make a million tasks.
_AT_A_TIME = 4096


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
            read_centre(path, _SIDE)
    except UnreadableImageError as error:
        return error.reason
    return None
