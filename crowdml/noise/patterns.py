"""Noise patterns: the transition matrix of a worker who errs in a certain way.

The three patterns of LABNET (Ghiassi, Birke, Chen; VISAPP 2022).  The paper describes them in words; the readings
here are the ones that reproduce its label-only numbers, and the alternatives are options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crowdml.names import check_name
from crowdml.noise.class_pairs import FLIP_PAIRS


class NoisePattern(Protocol):
    """How a label is distributed, given the true class."""

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(n_classes, n_classes): row t is the distribution of the given label for true class t."""
        ...

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """(n_classes,): the classes whose labels can be wrong."""
        ...


@dataclass(frozen=True)
class Uniform:
    """With probability `rate` the label is drawn uniformly.

    Args:
        rate: probability of a draw, in [0, 1).
        include_true: draw from all classes, so that a draw can be right; by default from the others only.
    """

    rate: float
    include_true: bool = False

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used."""
        drawn = np.ones((n_classes, n_classes))
        return _mix(drawn, self.rate, self.include_true)

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: all classes."""
        return np.ones(n_classes, bool)


@dataclass(frozen=True)
class Bimodal:
    """With probability `rate` the label is drawn from two truncated normals over the class indices.

    The mixture is the same for every true class, so wrong labels pile up on few classes.

    Args:
        rate: probability of a draw, in [0, 1).
        centres, deviations: of the two normals; class indices, not rescaled with the number of classes.
        include_true: whether a draw can hit the true class (the reading that fits the paper).
        discretise: "pdf" takes the density at each class index, "round" the probability within half a class of it,
            "floor" the probability from it up to the next.
    """

    rate: float
    centres: tuple[float, float] = (3.0, 7.0)
    deviations: tuple[float, float] = (1.0, 0.5)
    include_true: bool = True
    discretise: Literal["pdf", "round", "floor"] = "pdf"

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used."""
        modes = [self._mode(n_classes, *mode) for mode in zip(self.centres, self.deviations, strict=True)]
        drawn = np.tile(np.mean(modes, axis=0), (n_classes, 1))
        return _mix(drawn, self.rate, self.include_true)

    def _mode(self, n_classes: int, centre: float, deviation: float) -> NDArray[np.float64]:
        classes = np.arange(n_classes)
        normal = stats.norm(centre, deviation)
        if self.discretise == "pdf":
            weight = normal.pdf(classes)
        else:
            start = classes - 0.5 if self.discretise == "round" else classes
            weight = normal.cdf(start + 1) - normal.cdf(start)
        if weight.sum() <= 0:
            raise ValueError(f"bimodal centre {centre} is too far from the class indices 0..{n_classes - 1}")
        return weight / weight.sum()

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: all classes."""
        return np.ones(n_classes, bool)


@dataclass(frozen=True)
class Flip:
    """With probability `rate` the label of a source class becomes its target class; other classes stay clean.

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


PATTERNS: dict[str, type[Uniform] | type[Bimodal] | type[Flip]] = {
    "uniform": Uniform,
    "bimodal": Bimodal,
    "flip": Flip,
}


def make_pattern(name: str, rate: float, dataset: str, options: Mapping[str, Any] | None = None) -> NoisePattern:
    """The pattern of that name.

    Args:
        name: one of PATTERNS.
        rate: noise rate in [0, 1).
        dataset: gives the class pairs of "flip" where the options name none.
        options: further fields of the pattern's class.

    Raises:
        ValueError: unknown name or option, rate out of range, or no class pairs known for the data set.
    """
    kind = PATTERNS[check_name("noise pattern", name, PATTERNS)]
    if not 0 <= rate < 1:
        raise ValueError(f"noise_rate must be in [0, 1), got {rate}")
    given = dict(options or {})
    if kind is Flip and "pairs" not in given:
        if dataset not in FLIP_PAIRS:
            raise ValueError(f"pattern flip has no class pairs for {dataset!r}; give the pattern option pairs")
        given["pairs"] = FLIP_PAIRS[dataset]
    for option in given:
        check_name(
            f"option of pattern {name}", option, [field for field in kind.__dataclass_fields__ if field != "rate"]
        )
    return kind(rate=rate, **given)


def _mix(drawn: NDArray[np.float64], rate: float, include_true: bool) -> NDArray[np.float64]:
    """(1 - rate) identity + rate times the rows drawn from, normalised, without the true class unless included."""
    identity = np.eye(len(drawn))
    if not include_true:
        drawn = drawn * (1 - identity)
    return (1 - rate) * identity + rate * drawn / drawn.sum(axis=1, keepdims=True)
