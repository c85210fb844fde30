"""How the cores of one process share a walk over the items."""

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

Result = TypeVar("Result")

MAX_PARTS = 8
"""A walk is cut in at most this many parts, whatever the number of threads, so that sums do not depend on it."""

POOL = "crowdml-walk"

SMALL = 200_000
"""Multiplications below which starting threads costs more than they save."""


def n_threads() -> int:
    """Threads that a walk may use: OMP_NUM_THREADS (Ray sets it to the CPUs of a task), else the cores at hand."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cut(start: NDArray[np.int64], work_per_annotation: int, result_size: int) -> list[tuple[int, int]]:
    """Ranges of items with nearly equal numbers of annotations.

    Args:
        start: (n_items + 1,) as in `CrowdLabels.by_item`.
        work_per_annotation: multiplications each.
        result_size: cells that each part sums up on its own; where they are many, fewer parts pay.
    """
    work = int(start[-1]) * work_per_annotation
    n_parts = 1 if work < SMALL else int(np.clip(work // (2 * max(result_size, 1)), 1, MAX_PARTS))
    edges = np.searchsorted(start, np.linspace(0, start[-1], n_parts + 1)[1:-1])
    bounds = [0, *edges.tolist(), len(start) - 1]
    return [(first, last) for first, last in pairwise(bounds) if last > first]


def run_parts(walk: Callable[[int, int], Result], parts: Sequence[tuple[int, int]]) -> list[Result]:
    """walk(first, last) of every part, in their order; in threads where there are several of both."""
    threads = min(n_threads(), len(parts))
    # A thread of the pool that waited for its own pool would wait for ever.
    if threads <= 1 or threading.current_thread().name.startswith(POOL):
        return [walk(*part) for part in parts]
    return list(_pool(threads, os.getpid()).map(lambda part: walk(*part), parts))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    # Keyed by process: a forked child has none of its parent's threads.
    return ThreadPoolExecutor(threads, thread_name_prefix=POOL)
