"""Patterns in which a wrong label can be any class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


class EveryClass:
    """A pattern in which the labels of every class can be wrong."""

    def affected(self, n_classes: int) -> NDArray[np.bool_]:
        """See NoisePattern."""
        return np.ones(n_classes, bool)


@dataclass(frozen=True)
class Uniform(EveryClass):
    """With probability `rate`, the label is drawn uniformly.

    LABNET calls this pattern "uniform"; other papers call it "symmetric".  By default each wrong class has the
    probability rate / (n_classes - 1) (Patrini et al., Co-teaching, JoCoR).  With `include_true` each class has the
    probability rate / n_classes (DivideMix).

    Args:
        rate: probability of a draw, in [0, 1).
        include_true: draw from all classes, so that a draw can be right; by default draw from the other classes.
    """

    rate: float
    include_true: bool = False

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used."""
        return _mix(np.ones((n_classes, n_classes)), self.rate, self.include_true)


@dataclass(frozen=True)
class Bimodal(EveryClass):
    """With probability `rate`, the label is drawn from two truncated normals over the class indices.

    Every true class has the same mixture, so wrong labels concentrate on few classes.

    Args:
        rate: probability of a draw, in [0, 1).
        centres, deviations: the means and standard deviations of the two normals, in class indices.  They do not
            depend on the number of classes.
        include_true: whether a draw can be the true class; True fits the numbers of the LABNET paper.
        discretise: "pdf" uses the density at each class index, "round" the probability within half a class of the
            index, "floor" the probability from the index up to the next index.
    """

    rate: float
    centres: tuple[float, float] = (3.0, 7.0)
    deviations: tuple[float, float] = (1.0, 0.5)
    include_true: bool = True
    discretise: Literal["pdf", "round", "floor"] = "pdf"

    def __post_init__(self) -> None:
        if not min(self.deviations) > 0:
            raise ValueError(f"deviations must be above 0, got {self.deviations}")

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern; `rng` is not used."""
        modes = [self._mode(n_classes, *mode) for mode in zip(self.centres, self.deviations, strict=True)]
        return _mix(np.tile(np.mean(modes, axis=0), (n_classes, 1)), self.rate, self.include_true)

    def _mode(self, n_classes: int, centre: float, deviation: float) -> NDArray[np.float64]:
        from scipy import stats  # imported here, because it takes half a second

        classes = np.arange(n_classes)
        normal = stats.norm(centre, deviation)
        if self.discretise == "pdf":
            weight = normal.pdf(classes)
        else:
            start = classes - 0.5 if self.discretise == "round" else classes
            weight = normal.cdf(start + 1) - normal.cdf(start)
        if not weight.sum() > 0:
            raise ValueError(f"bimodal centre {centre} is too far from the class indices 0..{n_classes - 1}")
        return weight / weight.sum()


@dataclass(frozen=True)
class RandomSimplex(EveryClass):
    """The matrix (1 - rate) I + rate D, where each row of D is uniform on the simplex of the other classes.

    Source: NNAQC (Jindal et al.), Eq. 1.  Each matrix has its own D.  Homogeneous workers share one matrix; the other
    worker models draw one matrix per worker.

    Args:
        rate: probability of a wrong label, in [0, 1).
        n_targets: the number of other classes that share the wrong labels, chosen at random for each class.  The
            default is all other classes; NNAQC uses 10 on ImageNet.
    """

    rate: float
    n_targets: int | None = None

    def __post_init__(self) -> None:
        if self.n_targets is not None and self.n_targets < 1:
            raise ValueError(f"n_targets must be at least 1, got {self.n_targets}")

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern."""
        # Exponential variates divided by their sum are uniform on the simplex.
        drawn = rng.standard_exponential((n_classes, n_classes))
        if self.n_targets is not None and self.n_targets < n_classes - 1:
            order = rng.random((n_classes, n_classes))
            np.fill_diagonal(order, 2.0)
            drawn[order > np.sort(order, axis=1)[:, self.n_targets - 1, None]] = 0.0
        return _mix(drawn, self.rate, include_true=False)


@dataclass(frozen=True)
class ItemDifficulty(EveryClass):
    """Uniform wrong labels whose probability depends on the item, so that workers err on the same items.

    Each item has a difficulty u, uniform in [0, 1].  A worker with mean error e errs on the item with probability
    (1 - spread) e + spread u**((1 - e) / e).  The power has mean e, because it follows Beta(e / (1 - e), 1), and the
    power grows with u.  So each worker keeps the mean error of his matrix, and an item that is hard for one worker is
    hard for all workers.

    Args:
        rate: mean probability of a wrong label, in [0, 1).
        spread: in [0, 1]; 0 makes the error independent of the item, 1 gives the widest spread.
    """

    rate: float
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.spread <= 1:
            raise ValueError(f"spread must be in [0, 1], got {self.spread}")

    def transition(self, n_classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """See NoisePattern: the mean over items; `rng` is not used."""
        return Uniform(self.rate).transition(n_classes, rng)


def _mix(drawn: NDArray[np.float64], rate: float, include_true: bool) -> NDArray[np.float64]:
    """Return (1 - rate) I + rate D, where D holds the rows `drawn`, normalised; `include_true` keeps its diagonal."""
    identity = np.eye(len(drawn))
    if not include_true:
        drawn = drawn * (1 - identity)
    return (1 - rate) * identity + rate * drawn / drawn.sum(axis=1, keepdims=True)
