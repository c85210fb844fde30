"""Patterns in which a wrong label can be any class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Uniform:
    """With probability `rate` the label is drawn uniformly.

    "uniform" in LABNET, "symmetric" elsewhere: there each other class gets rate / (n_classes - 1) (Patrini et al.,
    Co-teaching, JoCoR), or the rate is spread over all classes (DivideMix and kin): `include_true`.

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
class RandomSimplex:
    """(1 - rate) I + rate D, where each row of D is drawn evenly from the simplex of the other classes.

    NNAQC (Jindal et al.), Eq. 1.  D is drawn anew with each matrix: once for workers who are all alike, else worker by
    worker.

    Args:
        rate: probability of a wrong label, in [0, 1).
        n_targets: how many other classes, chosen at random for each class, share the wrong labels; all by default
            (NNAQC takes 10 on ImageNet).
    """

    rate: float
    n_targets: int | None = None

    def __post_init__(self) -> None:
        if self.n_targets is not None and self.n_targets < 1:
            raise ValueError(f"n_targets must be at least 1, got {self.n_targets}")

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern."""
        # Exponential variates over their sum are even on the simplex.
        drawn = rng.standard_exponential((n_classes, n_classes))
        if self.n_targets is not None and self.n_targets < n_classes - 1:
            order = rng.random((n_classes, n_classes))
            np.fill_diagonal(order, 2.0)
            drawn[order > np.sort(order, axis=1)[:, self.n_targets - 1, None]] = 0.0
        return _mix(drawn, self.rate, include_true=False)

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: all classes."""
        return np.ones(n_classes, bool)


@dataclass(frozen=True)
class ItemDifficulty:
    """Uniform wrong labels whose probability depends on the item, so that workers err on the same items.

    An item has a difficulty u, even in [0, 1]; a worker who errs with probability e on average errs on it with
    (1 - spread) e + spread u**((1 - e) / e).  The power has mean e (it follows Beta(e / (1 - e), 1)) and grows with u:
    each worker keeps the average error of his matrix, and an item hard for one is hard for all.

    Args:
        rate: mean probability of a wrong label, in [0, 1).
        spread: in [0, 1]; 0 is an error independent of the item, 1 the widest.
    """

    rate: float
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.spread <= 1:
            raise ValueError(f"spread must be in [0, 1], got {self.spread}")

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern: the mean over items; `rng` is not used."""
        return Uniform(self.rate).transition(n_classes, rng)

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern: all classes."""
        return np.ones(n_classes, bool)


def _mix(drawn: NDArray[np.float64], rate: float, include_true: bool) -> NDArray[np.float64]:
    """(1 - rate) identity + rate times the rows drawn from, normalised, without the true class unless included."""
    identity = np.eye(len(drawn))
    if not include_true:
        drawn = drawn * (1 - identity)
    return (1 - rate) * identity + rate * drawn / drawn.sum(axis=1, keepdims=True)
