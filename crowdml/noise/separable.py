"""The synthetic annotators of GeoCrowdNet (Ibrahim, Nguyen, Fu, ICLR 2023) as worker models.

The paper's matrices are I + gamma U with each row divided by its sum, where the entries of U are uniform on [0, 1).
Here the pattern's matrix replaces the identity I, so that these models work with every pattern.  A noise rate of 0
gives the paper's own matrices.  A separable crowd has one good annotator.  The paper picks him at random; here he is
the first worker, so that a small crowd is the start of a larger crowd.  If all workers are asked equally often, this
makes no difference.  With the assignment "power_law" the first worker is the busiest worker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdml.noise.patterns import NoisePattern
from crowdml.noise.worker_model import Matrices, Workers


@dataclass(frozen=True)
class RandomMatrices:
    """The matrix of each worker is U with each row divided by its sum: labels are right by chance only."""

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel; the pattern and its rate are not used."""
        return Workers(np.stack([_random(n_classes, stream) for stream in rng.spawn(n_workers)]))


@dataclass(frozen=True)
class DiagonallyDominant:
    """The matrix of each worker is the pattern's matrix plus gamma U, with each row divided by its sum.

    Args:
        gamma: weight of the worker's own U, at least 0.  A small gamma gives an error near gamma n_classes / 2.
    """

    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < np.inf:
            raise ValueError(f"gamma must be at least 0 and finite, got {self.gamma}")

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        return Workers(np.stack([_near(pattern, self.gamma, n_classes, stream) for stream in rng.spawn(n_workers)]))


@dataclass(frozen=True)
class SeparableUniform(DiagonallyDominant):
    """The first worker is DiagonallyDominant.  The other workers answer uniformly, plus 1e-4 for the true class.

    Args:
        gamma: the gamma of the first worker.  The paper uses 0.01 to 0.3.
    """

    gamma: float = 0.01

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        barely = _rows_to_one(np.full((n_classes, n_classes), 1 / n_classes) + 1e-4 * np.eye(n_classes))
        (first,) = rng.spawn(1)
        return Workers(np.stack([_near(pattern, self.gamma, n_classes, first), *[barely] * (n_workers - 1)]))


@dataclass(frozen=True)
class SeparableRandom(DiagonallyDominant):
    """The first worker is DiagonallyDominant.  The other workers have RandomMatrices.

    Args:
        gamma: the gamma of the first worker.  The paper uses 0.01 to 0.3.
    """

    gamma: float = 0.01

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        first, *others = rng.spawn(n_workers)
        made = [_near(pattern, self.gamma, n_classes, first), *(_random(n_classes, stream) for stream in others)]
        return Workers(np.stack(made))


def _near(pattern: NoisePattern, gamma: float, n_classes: int, stream: np.random.Generator) -> Matrices:
    return _rows_to_one(pattern.transition(n_classes, stream) + gamma * stream.random((n_classes, n_classes)))


def _random(n_classes: int, stream: np.random.Generator) -> Matrices:
    return _rows_to_one(stream.random((n_classes, n_classes)))


def _rows_to_one(matrix: Matrices) -> Matrices:
    return matrix / matrix.sum(axis=1, keepdims=True)
