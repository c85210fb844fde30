"""Patterns in which a class is taken for one certain other class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Flip:
    """With probability `rate` the label of a source class becomes its target class; other classes stay clean.

    As "flip" with LABNET's pairs; as "asymmetric" with those of Patrini et al. (CVPR 2017), which for CIFAR-100 go
    round within each super-class.

    Args:
        rate: probability of a flip, in [0, 1).
        pairs: (source, target) class indices; a source stands once.
    """

    rate: float
    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        pairs = tuple((int(source), int(target)) for source, target in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        sources = [source for source, _ in pairs]
        if not pairs or len(set(sources)) < len(sources) or any(source == target for source, target in pairs):
            raise ValueError(f"flip pairs must be distinct sources with another class as target, got {pairs}")

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used.

        Raises:
            ValueError: a pair names a class that is not there.
        """
        source, target = self._indices(n_classes)
        matrix = np.eye(n_classes)
        matrix[source, source] = 1 - self.rate
        matrix[source, target] = self.rate
        return matrix

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: the source classes."""
        mask = np.zeros(n_classes, bool)
        mask[self._indices(n_classes)[0]] = True
        return mask

    def _indices(self, n_classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        pairs = np.array(self.pairs)
        if pairs.min() < 0 or pairs.max() >= n_classes:
            raise ValueError(f"flip pairs name class {pairs.max()}, but there are {n_classes} classes")
        return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True)
class Pair:
    """With probability `rate` class c becomes class c + 1, the last the first (Han et al., Co-teaching, NeurIPS 2018).

    Args:
        rate: probability of a wrong label, in [0, 1).
    """

    rate: float

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used."""
        identity = np.eye(n_classes)
        return (1 - self.rate) * identity + self.rate * np.roll(identity, 1, axis=1)

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: all classes."""
        return np.ones(n_classes, bool)
