"""Patterns in which the wrong label of a true class is always the same class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crowdml.noise.spread import EveryClass

# The permutation of Reed et al. (2014) for ten classes.
_REED = (7, 9, 0, 4, 2, 1, 3, 5, 6, 8)


@dataclass(frozen=True)
class Flip:
    """With probability `rate`, the label of a source class becomes its target class.  Other classes stay clean.

    The pattern "flip" uses the pairs of LABNET.  The pattern "asymmetric" uses the pairs of Patrini et al. (CVPR
    2017), which for CIFAR-100 form a cycle within each super-class.

    Args:
        rate: probability of a flip, in [0, 1).
        pairs: (source, target) class indices; each source appears once.
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
            ValueError: a pair names a class that does not exist.
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
class Pair(EveryClass):
    """With probability `rate`, class c becomes class c + 1, and the last class becomes the first.

    Source: Han et al., Co-teaching, NeurIPS 2018.

    Args:
        rate: probability of a wrong label, in [0, 1).
    """

    rate: float

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used."""
        identity = np.eye(n_classes)
        return (1 - self.rate) * identity + self.rate * np.roll(identity, 1, axis=1)


@dataclass(frozen=True)
class Permutation:
    """With probability `rate`, class c becomes permutation[c].

    Sources: Reed et al., 2014; Goldberger and Ben-Reuven, ICLR 2017.  This pattern draws each label independently.
    Goldberger and Ben-Reuven instead change exactly the share `rate` of each class.

    Args:
        rate: probability of a wrong label, in [0, 1).
        permutation: (n_classes,) the class that replaces each class; a class that replaces itself stays clean.  The
            default is the permutation of Reed et al. for ten classes, and otherwise a random permutation that leaves
            no class in its place.
    """

    rate: float
    permutation: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.permutation is None:
            return
        permutation = tuple(int(target) for target in self.permutation)
        object.__setattr__(self, "permutation", permutation)
        classes = list(range(len(permutation)))
        if sorted(permutation) != classes or list(permutation) == classes:
            raise ValueError(
                f"permutation must name each class from 0 once and move at least one class, got {permutation}"
            )

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern.

        Raises:
            ValueError: the permutation has another number of classes, or there is only one class.
        """
        identity = np.eye(n_classes)
        return (1 - self.rate) * identity + self.rate * identity[self._targets(n_classes, rng)]

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: the classes that are replaced by another class."""
        if self.permutation is None:
            return np.ones(n_classes, bool)
        return self._given(n_classes) != np.arange(n_classes)

    def _targets(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if self.permutation is not None:
            return self._given(n_classes)
        return np.array(_REED) if n_classes == len(_REED) else _derangement(n_classes, rng)

    def _given(self, n_classes: int) -> NDArray[np.int64]:
        targets = np.array(self.permutation)
        if len(targets) != n_classes:
            raise ValueError(f"permutation has {len(targets)} classes, but there are {n_classes}")
        return targets


def _derangement(n_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw permutations until one has no fixed point.  About one permutation in e (2.7) has no fixed point."""
    if n_classes < 2:
        raise ValueError(f"pattern permutation needs at least 2 classes, got {n_classes}")
    while True:
        drawn = rng.permutation(n_classes)
        if (drawn != np.arange(n_classes)).all():
            return drawn
