"""Split a pass over the items among the cores of one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crowdml.support.processors import usable_processors

Result = TypeVar("Result")

MAX_PARTS = 8
"""Maximum number of parts of a pass.  A fixed number, so that the sums do not depend on the number of threads."""

POOL = "crowdml-process"

SMALL = 200_000
"""Number of multiplications below which threads cost more time than they save."""


def n_threads() -> int:
    """Return OMP_NUM_THREADS, which Ray sets to the CPUs of a task, or else the number of usable processors."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return usable_processors()


def cut(start: NDArray[np.int64], work_per_annotation: int, result_size: int) -> list[tuple[int, int]]:
    """Return ranges of items with nearly equal numbers of annotations.

    Args:
        start: (n_items + 1,) as in `CrowdLabels.by_item`.
        work_per_annotation: multiplications per annotation.
        result_size: number of cells that each part sums up separately.  With many cells, fewer parts are faster.
    """
    work = int(start[-1]) * work_per_annotation
    n_parts = 1 if work < SMALL else int(np.clip(work // (2 * max(result_size, 1)), 1, MAX_PARTS))
    edges = np.searchsorted(start, np.linspace(0, start[-1], n_parts + 1)[1:-1])
    bounds = [0, *edges.tolist(), len(start) - 1]
    return [(first, last) for first, last in pairwise(bounds) if last > first]


def run_parts(process: Callable[[int, int], Result], parts: Sequence[tuple[int, int]]) -> list[Result]:
    """Return process(first, last) for every part, in order.  Use threads if there are several threads and parts."""
    threads = min(n_threads(), len(parts))
    # A thread that waits for its own pool would wait forever.
    if threads <= 1 or threading.current_thread().name.startswith(POOL):
        return [process(*part) for part in parts]
    return list(_pool(threads, os.getpid()).map(lambda part: process(*part), parts))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    # One pool per process, because a forked child has no threads of its parent.
    return ThreadPoolExecutor(threads, thread_name_prefix=POOL)
