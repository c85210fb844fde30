"""BWA: Bayesian weighted average.

Y. Li, B. I. P. Rubinstein and T. Cohn, "Truth Inference at Scale: A Bayesian Model for Adjudicating Highly Redundant
Crowd Annotations", WWW 2019.  The defaults are taken from the authors' code (yuan-li/truth-inference-at-scale).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import (
    Aggregation,
    Sizes,
    TieRule,
    check_least,
    check_positive,
    checked,
    dense_cells,
    first_posterior,
)
from crowdml.aggregation.inference.confusion import FLOOR
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Choice, Float, Space


@dataclass(frozen=True)
class Bwa(TieRule):
    """Bayesian weighted average.  For each class, an answer is the number 1 (this class) or 0 (another class).

    For class k, item i has a value z_ik ~ N(mu_k, 1 / mean_weight), and the answer of worker w is N(z_ik, 1 / v_wk).
    The worker's precision v_wk has a Gamma prior.  Every step maximises the joint density over mu, v or z.  So z is an
    average of mu and the answers, weighted by the workers' precisions.

    Args:
        mean_weight: weight of the class mean in an item's average (lambda in the paper).
        worker_pseudo_count: number of answers of an average worker that each worker's precision starts with (a_v in
            the paper).
        prior_correction: multiply the variance of the average worker by 4 (1 - 1 / n_classes), as the authors' code
            does.
        max_iter, tol: stop after max_iter iterations, or when no item's value changes by more than tol.
    """

    mean_weight: float = 1.0
    worker_pseudo_count: float = 15.0
    prior_correction: bool = True
    max_iter: int = 500
    tol: float = 1e-5

    SPACE: ClassVar[Space] = {
        "mean_weight": Float(0.1, 10, log=True),
        "worker_pseudo_count": Float(1, 100, log=True),
        "prior_correction": Choice(False, True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "mean_weight", "worker_pseudo_count")
        check_least(self, 1, "max_iter")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=7, tables=10)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Maximise over class means, precisions and values in turn, starting from the vote shares.

        Args:
            crowd: the annotations.  A worker's history adds to the answers and errors of the worker's precisions.
            prior: (n_classes,) or (n_items, n_classes), normalised here; replaces the class means.

        Returns:
            The Aggregation; `posterior` holds each item's values divided by their sum, and `objective` is the logarithm
            of the joint density, up to a constant.
        """
        fixed_prior = check_prior(prior, crowd)
        values = first_posterior(crowd, fixed_prior)
        answers, errors = past_answers(crowd)
        answers = answers + crowd.labels_per_worker[:, None] + self.worker_pseudo_count
        errors = errors + self.worker_pseudo_count * self.average_variance(crowd)
        squares = np.zeros((crowd.n_workers, crowd.n_classes))
        _add_squares(*crowd.by_item, values, squares, 0, crowd.n_items)
        means = np.empty(0)
        objective: list[float] = []
        converged = False
        while len(objective) < self.max_iter and not converged:
            means = values.mean(axis=0) if fixed_prior is None else fixed_prior
            precisions = answers / (errors + squares)
            step = average(crowd, means, self.mean_weight, precisions, values)
            squares = step.squares
            weighted = answers * np.log(precisions) - precisions * (errors + squares)
            objective.append((float(weighted.sum()) - self.mean_weight * step.spread) / 2)
            converged = step.moved <= self.tol
        return self.conclude(
            crowd,
            values / values.sum(axis=1, keepdims=True),
            means / means.sum(axis=-1, keepdims=True),
            converged=converged,
            objective=objective,
        )

    def average_variance(self, crowd: CrowdLabels) -> Array:
        """Return the (n_classes,) squared error of an average worker's answers.  It is above 0 even if all agree."""
        shares = crowd.votes / np.maximum(crowd.labels_per_item, 1)[:, None]
        variance = (crowd.votes * (1 - shares)).sum(axis=0) / crowd.n_annotations
        correction = 4 * (1 - 1 / crowd.n_classes) if self.prior_correction else 1.0
        return np.maximum(correction * variance, FLOOR)


class Step(NamedTuple):
    """The result of an update of the values.

    Attributes:
        squares: (n_workers, n_classes) sum of squared differences between the workers' answers and the values.
        spread: sum of squared differences between values and means.
        moved: largest change of a value.
    """

    squares: Array
    spread: float
    moved: float


def past_answers(crowd: CrowdLabels) -> tuple[Array, Array]:
    """Return the numbers of earlier answers (n_workers, 1), and of earlier errors per class (n_workers, n_classes).

    Without a history, both arrays are zeros of shape (1, 1).
    """
    if crowd.history is None:
        return np.zeros((1, 1)), np.zeros((1, 1))
    right = np.diagonal(crowd.history, axis1=1, axis2=2)
    wrong = crowd.history.sum(axis=1) + crowd.history.sum(axis=2) - 2 * right
    return crowd.history.sum(axis=(1, 2))[:, None], wrong


def average(crowd: CrowdLabels, means: Array, mean_weight: float, precisions: Array, values: Array) -> Step:
    """Update the values (n_items, n_classes) in place.  Gold items keep their values.

    The means are (n_classes,) or (n_items, n_classes), the precisions (n_workers, n_classes).
    """
    gold = np.empty(0, np.int64) if crowd.gold is None else crowd.gold.astype(np.int64)
    start, worker, label = crowd.by_item
    table = np.ascontiguousarray(np.broadcast_to(precisions, (crowd.n_workers, crowd.n_classes)))

    def process(first: int, last: int) -> Step:
        squares = np.zeros_like(table)
        rows = start, worker, label, np.atleast_2d(means), mean_weight, table, gold, values, squares
        return Step(squares, *_average(*rows, first, last))

    parts = run_parts(process, cut(start, 2 * crowd.n_classes, table.size))
    squares = np.sum([part.squares for part in parts], axis=0)
    return Step(squares, sum(part.spread for part in parts), max(part.moved for part in parts))


@njit(cache=True, nogil=True)
def _average(start, worker, label, means, mean_weight, precisions, gold, values, squares, first, last):
    n_classes = values.shape[1]
    given, total = np.empty(n_classes), np.empty(n_classes)
    same_mean = len(means) == 1
    spread = moved = 0.0
    for item in range(first, last):
        mean = means[0 if same_mean else item]
        if len(gold) == 0 or gold[item] < 0:
            for k in range(n_classes):
                given[k] = mean_weight * mean[k]
                total[k] = mean_weight
            for at in range(start[item], start[item + 1]):
                weights = precisions[worker[at]]
                for k in range(n_classes):
                    total[k] += weights[k]
                given[label[at]] += weights[label[at]]
            for k in range(n_classes):
                value = given[k] / total[k]
                moved = max(moved, abs(value - values[item, k]))
                values[item, k] = value
        for k in range(n_classes):
            spread += (values[item, k] - mean[k]) ** 2
        _add_squares(start, worker, label, values, squares, item, item + 1)
    return spread, moved


@njit(cache=True, nogil=True)
def _add_squares(start, worker, label, values, squares, first, last):
    for item in range(first, last):
        row = values[item]
        for at in range(start[item], start[item + 1]):
            target = squares[worker[at]]
            for k in range(len(row)):
                error = row[k] - (1.0 if k == label[at] else 0.0)
                target[k] += error * error
