"""GLAD: each worker has an ability, and each item has a difficulty.

J. Whitehill, P. Ruvolo, T. Wu, J. Bergsma and J. Movellan, "Whose Vote Should Count More: Optimal Integration of Labels
from Labelers of Unknown Expertise", NIPS 2009.  The number of classes is free, as in their supplement.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, check_least, checked, dense_cells
from crowdml.aggregation.inference.confusion import FLOOR, even_errors
from crowdml.aggregation.inference.kernels import LARGEST_PRODUCT
from crowdml.aggregation.inference.prior_and_gold import check_prior, gold_answers
from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels

LONGEST_STEP = 2.0
"""Maximum length of a Newton step: twice the standard deviation of the prior."""

HALVINGS = 30
"""Maximum number of halvings.  A step that still lowers the objective is only rounding, and is not taken."""

FIRST_STEPS = 8
"""Number of Newton steps from ability 1.  This is more than enough for a concave function of one variable."""


@dataclass(frozen=True)
class Glad(TieRule):
    """GLAD: worker w is right on item i with probability 1 / (1 + exp(-a_w e^b_i)), and errs evenly.

    Ability a_w and log easiness b_i have the prior N(1, 1).  In each M-step of EM, all abilities and then all log
    easinesses make one Newton step.  A step that would lower the objective is halved, so the log posterior never falls.

    If few workers are right more often than wrong, and there are several classes, the posterior can be largest for
    negative abilities and for the classes with the fewest votes.  In that case, compare with another method.

    Args:
        max_iter, tol: stop after max_iter EM iterations, or when the log posterior rises by at most tol per annotation.
    """

    max_iter: int = 100
    tol: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "max_iter")
        check_least(self, 0, "tol")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=4)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM.

        Args:
            crowd: the annotations.  A worker's history counts as answers to items of mean difficulty (b = 1).
            prior: (n_classes,) or (n_items, n_classes).  By default uniform.  It is not estimated.

        Returns:
            The Aggregation; `objective` is the log likelihood of the annotations plus the log density of abilities and
            difficulties.  A worker's quality is the mean probability of a right answer, over the items that the worker
            labelled.
        """
        fixed_prior = check_prior(prior, crowd)
        class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes) if fixed_prior is None else fixed_prior
        log_prior = np.atleast_2d(np.log(np.maximum(class_prior, FLOOR)))
        workers, items = _sides(crowd)
        ability, log_ease = _first_ability(crowd, workers), np.ones(crowd.n_items)
        posterior = np.empty((crowd.n_items, crowd.n_classes))
        belief = np.empty(crowd.n_annotations)
        _infer(crowd, ability, log_ease, log_prior, posterior, belief)
        objective: list[float] = []
        converged = False
        while len(objective) < self.max_iter and not converged:
            _climb(workers, np.exp(log_ease)[workers.other], belief[workers.place], ability, log_scale=False)
            _climb(items, ability[items.other], belief, log_ease, log_scale=True)
            evidence = _infer(crowd, ability, log_ease, log_prior, posterior, belief)
            objective.append(evidence + _log_density(workers, ability, log_ease, crowd.n_classes))
            rise = objective[-1] - objective[-2] if len(objective) > 1 else np.inf
            converged = rise <= self.tol * crowd.n_annotations
        accuracy = _accuracy(crowd, ability, log_ease)
        return self.conclude(
            crowd,
            posterior,
            class_prior,
            confusion=partial(even_errors, accuracy, crowd.n_classes),
            quality=accuracy,
            converged=converged,
            objective=objective,
        )


class _Side(NamedTuple):
    """The annotations grouped by row (worker or item).  Row r has the positions start[r] to start[r + 1] - 1.

    Attributes:
        start: (n_rows + 1,).
        other: (n_annotations,) the item of an annotation if rows are workers, and the worker if rows are items.
        place: (n_annotations,) position of the annotation in the order of items.
        before: (n_rows, 2) number of right answers and of all answers, before this crowd.
    """

    start: NDArray[np.int64]
    other: NDArray[np.integer]
    place: NDArray[np.integer]
    before: Array


def _sides(crowd: CrowdLabels) -> tuple[_Side, _Side]:
    """Return the annotations grouped by worker and grouped by item."""
    start, worker, _ = crowd.by_item
    place = np.argsort(worker, kind="stable")
    item = np.repeat(np.arange(crowd.n_items), np.diff(start))
    before = np.zeros((crowd.n_workers, 2)) if crowd.history is None else _right_and_all(crowd.history)
    worker_start = np.concatenate([[0], np.cumsum(crowd.labels_per_worker)])
    return (
        _Side(worker_start, item[place], place, before),
        _Side(start, worker, np.arange(len(worker)), np.zeros((crowd.n_items, 2))),
    )


def _right_and_all(counts: Array) -> Array:
    """Return (n_workers, 2) right answers and all answers, from counts (n_workers, n_classes, n_classes)."""
    return np.stack([counts.trace(axis1=1, axis2=2), counts.sum(axis=(1, 2))], axis=1)


def _first_ability(crowd: CrowdLabels, workers: _Side) -> Array:
    """Return the (n_workers,) abilities from gold labels and histories alone, for items of mean difficulty; else 1.

    EM starts from these abilities because the many votes would outweigh the few known answers in the first M-step.
    """
    right, given = gold_answers(crowd)
    known = np.stack([right.sum(axis=1), given.sum(axis=1)], axis=1)
    nothing_else = workers._replace(start=np.zeros_like(workers.start), before=known)
    ability = np.ones(crowd.n_workers)
    for _ in range(FIRST_STEPS):
        _climb(nothing_else, np.empty(0), np.empty(0), ability, log_scale=False)
    return ability


def _climb(side: _Side, factor: Array, belief: Array, parameter: Array, *, log_scale: bool) -> None:
    """Make one Newton step on every row's parameter (n_rows,), in place.  A step that lowers the objective is halved.

    Args:
        side: the rows.
        factor: (n_annotations,) the number that multiplies the row's ability or easiness.
        belief: (n_annotations,) probability that the annotation is right.
        parameter: the ability or easiness, or its logarithm if `log_scale` is True.
    """
    run_parts(
        lambda first, last: _climb_rows(side.start, factor, belief, side.before, parameter, log_scale, first, last),
        cut(side.start, 8, 0),
    )


def _infer(
    crowd: CrowdLabels, ability: Array, log_ease: Array, log_prior: Array, posterior: Array, belief: Array
) -> float:
    """E-step: write the posterior and the belief in each annotation, and return the log likelihood."""
    start, worker, label = crowd.by_item
    gold = np.empty(0, np.int64) if crowd.gold is None else crowd.gold.astype(np.int64)
    ease = np.exp(log_ease)

    def process(first: int, last: int) -> float:
        return _infer_rows(start, worker, label, ability, ease, log_prior, gold, posterior, belief, first, last)

    return sum(run_parts(process, cut(start, 8, 0)))


def _log_density(workers: _Side, ability: Array, log_ease: Array, n_classes: int) -> float:
    """Return the log density of the parameters, plus the log likelihood of the workers' histories."""
    right, total = workers.before.T
    past = right * log_expit(np.e * ability) + (total - right) * (
        log_expit(-np.e * ability) - np.log(max(n_classes - 1, 1))
    )
    square = ((ability - 1) ** 2).sum() + ((log_ease - 1) ** 2).sum()
    return float(past.sum() - (square + (len(ability) + len(log_ease)) * np.log(2 * np.pi)) / 2)


def _accuracy(crowd: CrowdLabels, ability: Array, log_ease: Array) -> Array:
    """Return the (n_workers,) mean probability of a right answer on a worker's items, else on an average item."""
    right = expit(ability[crowd.worker] * np.exp(log_ease)[crowd.item])
    total = np.bincount(crowd.worker, weights=right, minlength=crowd.n_workers)
    return np.divide(total, crowd.labels_per_worker, out=expit(np.e * ability), where=crowd.labels_per_worker > 0)


# ---------------------------------------------------------------- kernels


@njit(cache=True, nogil=True)
def _value(first, last, factor, belief, right, total, parameter, log_scale):
    """Return the objective of one row, its slope and minus its curvature.

    The objective is the expected log likelihood of the row plus the log prior of its parameter.  The curvature is the
    expected curvature, because the actual curvature can have the wrong sign.
    """
    scale = np.exp(parameter) if log_scale else parameter
    x = np.e * scale
    decay = np.exp(-abs(x))
    sure = (1.0 if x >= 0 else decay) / (1 + decay)
    value = right * x - total * (max(x, 0.0) + np.log1p(decay))
    slope = (right - total * sure) * np.e
    curvature = total * sure * (1 - sure) * np.e**2
    product = 1.0
    for at in range(first, last):
        x = factor[at] * scale
        decay = np.exp(-abs(x))
        sure = (1.0 if x >= 0 else decay) / (1 + decay)
        value += belief[at] * x - max(x, 0.0)
        # Take one logarithm for many terms log(1 + e^-|x|), because every factor is in [1, 2].
        product *= 1 + decay
        if product > LARGEST_PRODUCT:
            value -= np.log(product)
            product = 1.0
        slope += (belief[at] - sure) * factor[at]
        curvature += sure * (1 - sure) * factor[at] ** 2
    value -= np.log(product)
    if log_scale:
        slope *= scale
        curvature *= scale**2
    off = parameter - 1
    return value - off**2 / 2, slope - off, curvature + 1


@njit(cache=True, nogil=True)
def _climb_rows(start, factor, belief, before, parameter, log_scale, first, last):
    for row in range(first, last):
        at, end = start[row], start[row + 1]
        right, total = before[row]
        here = parameter[row]
        value, slope, curvature = _value(at, end, factor, belief, right, total, here, log_scale)
        step = min(max(slope / curvature, -LONGEST_STEP), LONGEST_STEP)
        for _ in range(HALVINGS):
            there = _value(at, end, factor, belief, right, total, here + step, log_scale)[0]
            if there >= value:
                parameter[row] = here + step
                break
            step /= 2


@njit(cache=True, nogil=True)
def _infer_rows(start, worker, label, ability, ease, log_prior, gold, posterior, belief, first, last):
    n_classes = posterior.shape[1]
    wrong_ways = np.log(max(n_classes - 1, 1))
    same_prior = len(log_prior) == 1
    evidence = 0.0
    for item in range(first, last):
        row = posterior[item]
        row[:] = log_prior[0 if same_prior else item]
        product = 1.0
        # Each answer first counts as wrong for every class.  Then the class given gets the gain of a right answer.
        for at in range(start[item], start[item + 1]):
            x = ability[worker[at]] * ease[item]
            row[label[at]] += x + wrong_ways
            evidence -= max(x, 0.0) + wrong_ways
            product *= 1 + np.exp(-abs(x))
            if product > LARGEST_PRODUCT:
                evidence -= np.log(product)
                product = 1.0
        if len(gold) > 0 and gold[item] >= 0:
            evidence += row[gold[item]]
            row[:] = 0.0
            row[gold[item]] = 1.0
        else:
            top = row.max()
            total = 0.0
            for c in range(n_classes):
                row[c] = np.exp(row[c] - top)
                total += row[c]
            evidence += top + np.log(total)
            row /= total
        evidence -= np.log(product)
        for at in range(start[item], start[item + 1]):
            belief[at] = row[label[at]]
    return evidence
