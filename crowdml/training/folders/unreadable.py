"""Find the images that cannot be read, before a training and not in the middle of it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

from crowdml.training.folders.decoding import UnreadableImageError, check_header, read_centre

Check = Literal["decode", "header"]
"""How images are checked: "header" opens each image; "decode" also decodes it, which finds files that are cut short."""

# JPEG decodes at this small side much faster than at its own, and all bytes of the file are still read.
_SIDE = 8
# The threads take this many paths at a time, so that a million paths do not make a million waiting tasks.
_AT_A_TIME = 4096


def unreadable_images(paths: Iterable[Path], threads: int = 2, *, check: Check = "decode") -> dict[Path, str]:
    """Return the images that cannot be read, in the given order, each with the reason.

    Args:
        paths: the images to check.
        threads: number of threads that check.
        check: see Check.

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
