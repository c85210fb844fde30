"""Worker models: from one noise pattern to one transition matrix a worker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crowdml.names import check_name
from crowdml.noise.patterns import NoisePattern

WorkerModel = Callable[[NoisePattern, int, int, np.random.Generator], NDArray[np.float64]]
"""(pattern, n_workers, n_classes, rng) -> (n_workers, n_classes, n_classes).

A model must draw worker by worker, so that fewer workers are the first of more workers.
"""


def homogeneous(pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Every worker errs alike (the reading that fits the LABNET tables)."""
    matrix = pattern.transition(n_classes, rng)
    return np.broadcast_to(matrix, (n_workers, n_classes, n_classes))


WORKER_MODELS: dict[str, WorkerModel] = {"homogeneous": homogeneous}


def worker_transitions(
    model: str, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(n_workers, n_classes, n_classes) transition matrices; rows sum to one.

    Raises:
        ValueError: unknown model, or fewer than one worker.
    """
    if n_workers < 1:
        raise ValueError(f"n_workers must be at least 1, got {n_workers}")
    return WORKER_MODELS[check_name("worker model", model, WORKER_MODELS)](pattern, n_workers, n_classes, rng)
