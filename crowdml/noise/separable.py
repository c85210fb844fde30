"""The synthetic annotators of GeoCrowdNet (Ibrahim, Nguyen, Fu, ICLR 2023) as worker models.

The paper's matrices are made of the identity and of U, whose entries are uniform on [0, 1): I + gamma U, each row
divided by its sum.  Here the pattern's matrix takes the place of the identity, so that these models go with every
pattern; the paper's own are those of a noise rate of 0.  The paper picks the one good annotator of its separable crowds
at random; here he is the first, so that the workers of a small crowd are the first of a larger one.  Where all workers
are asked equally often that makes no difference; in a power law he is the busiest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdml.noise.patterns import NoisePattern
from crowdml.noise.worker_model import Matrices, Workers

_BARELY = 1e-4
"""By how much the uninformed annotators of a separable and uniform crowd favour the true class."""


@dataclass(frozen=True)
class RandomMatrices:
    """Nobody follows the pattern: a worker's matrix is U, rows divided by their sums, right by chance alone."""

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel; neither the pattern nor its rate changes anything."""
        return Workers(np.stack([_random(n_classes, stream) for stream in rng.spawn(n_workers)]))


@dataclass(frozen=True)
class DiagonallyDominant:
    """Every worker has the pattern's matrix and gamma U, rows divided by their sums; U is each worker's own.

    Args:
        gamma: weight of the random part, at least 0; a worker's error is near gamma n_classes / 2 where that is small.
    """

    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check_gamma(self.gamma)

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        return Workers(np.stack([_near(pattern, self.gamma, n_classes, stream) for stream in rng.spawn(n_workers)]))


@dataclass(frozen=True)
class SeparableUniform:
    """The first worker is DiagonallyDominant; the others answer evenly, but for 1e-4 in favour of the true class.

    Args:
        gamma: of the first worker; the paper has 0.01 to 0.3.
    """

    gamma: float = 0.01

    def __post_init__(self) -> None:
        _check_gamma(self.gamma)

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        barely = _rows_to_one(np.full((n_classes, n_classes), 1 / n_classes) + _BARELY * np.eye(n_classes))
        (first,) = rng.spawn(1)
        return Workers(np.stack([_near(pattern, self.gamma, n_classes, first), *[barely] * (n_workers - 1)]))


@dataclass(frozen=True)
class SeparableRandom:
    """The first worker is DiagonallyDominant; the others have RandomMatrices.

    Args:
        gamma: of the first worker; the paper has 0.01 to 0.3.
    """

    gamma: float = 0.01

    def __post_init__(self) -> None:
        _check_gamma(self.gamma)

    def workers(self, pattern: NoisePattern, n_workers: int, n_classes: int, rng: np.random.Generator) -> Workers:
        """See WorkerModel."""
        first, *others = rng.spawn(n_workers)
        return Workers(
            np.stack([_near(pattern, self.gamma, n_classes, first), *(_random(n_classes, stream) for stream in others)])
        )


def _near(pattern: NoisePattern, gamma: float, n_classes: int, stream: np.random.Generator) -> Matrices:
    return _rows_to_one(pattern.transition(n_classes, stream) + gamma * stream.random((n_classes, n_classes)))


def _random(n_classes: int, stream: np.random.Generator) -> Matrices:
    return _rows_to_one(stream.random((n_classes, n_classes)))


def _rows_to_one(matrix: Matrices) -> Matrices:
    return matrix / matrix.sum(axis=1, keepdims=True)


def _check_gamma(gamma: float) -> None:
    if not 0 <= gamma < np.inf:
        raise ValueError(f"gamma must be at least 0 and finite, got {gamma}")
