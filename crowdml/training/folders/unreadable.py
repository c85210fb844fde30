"""Which images cannot be read: found before a training, not in the middle of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np

from crowdml.training.folders.decoding import UnreadableImageError, check_header, read_centre
from crowdml.training.folders.layouts import FolderItems

Check = Literal["header", "decode"]
"""How images are checked: "header" opens each, "decode" also decodes it, which finds files that were cut short."""

# Images are decoded at this side: JPEG then takes a fraction of its usual time, and still all of its bytes are read.
_SIDE = 8
# Paths handed to the threads at a time, so that a million of them are not a million waiting tasks.
_AT_A_TIME = 4096


def unreadable_images(paths: Iterable[Path], workers: int = 2, *, check: Check = "decode") -> list[tuple[Path, str]]:
    """The images that cannot be read, in the given order, each with the reason.

    Args:
        paths: to look at.
        workers: threads.
        check: "decode" each image, or only look at its "header".

    Raises:
        ValueError: an unknown check, or no worker.
    """
    if check not in ("header", "decode"):
        raise ValueError(f'check must be "header" or "decode", got {check!r}')
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    todo = list(paths)
    look = _look_at_header if check == "header" else _decode
    found: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as pool:
        for first in range(0, len(todo), _AT_A_TIME):
            some = todo[first : first + _AT_A_TIME]
            reasons = pool.map(look, some)
            found += [(path, reason) for path, reason in zip(some, reasons, strict=True) if reason is not None]
    return found


def drop_unreadable(
    items: FolderItems, workers: int = 2, *, check: Check = "decode"
) -> tuple[FolderItems, list[tuple[Path, str]]]:
    """The items of a folder without those whose images cannot be read, and these with the reasons.

    Args:
        items: all of them.
        workers, check: see `unreadable_images`.

    Raises:
        ValueError: no training image can be read; names the first.
    """
    skipped = unreadable_images([*items.train_paths, *items.test_paths], workers, check=check)
    return leave_out(items, skipped), skipped


def leave_out(items: FolderItems, skipped: Sequence[tuple[Path, str]]) -> FolderItems:
    """The items without those of some images, which are given with reasons.

    Raises:
        ValueError: no training image would be left; names the first.
    """
    if not skipped:
        return items
    bad = {path for path, _ in skipped}
    train = np.array([path not in bad for path in items.train_paths], dtype=bool)
    test = np.array([path not in bad for path in items.test_paths], dtype=bool)
    if not train.any():
        raise ValueError(f"none of the {len(train)} training images can be read; {skipped[0][0]}: {skipped[0][1]}")
    return replace(
        items,
        train_paths=tuple(compress(items.train_paths, train)),
        train_ids=tuple(compress(items.train_ids, train)),
        train_labels=None if items.train_labels is None else items.train_labels[train],
        test_paths=tuple(compress(items.test_paths, test)),
        test_labels=None if items.test_labels is None or not test.any() else items.test_labels[test],
    )


def _look_at_header(path: Path) -> str | None:
    try:
        check_header(path)
    except UnreadableImageError as error:
        return error.reason
    return None


def _decode(path: Path) -> str | None:
    try:
        read_centre(path, _SIDE)
    except UnreadableImageError as error:
        return error.reason
    return None
