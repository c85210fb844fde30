"""M-MSR: the workers' skills, by robust rank-one completion of the pairwise agreement of the workers.

Q. Ma and A. Olshevsky, "Adversarial Crowdsourcing Through Robust Rank-One Matrix Completion", NeurIPS 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from crowdml.aggregation.aggregator import (
    Aggregation,
    Sizes,
    TieRule,
    check_least,
    checked,
    dense_cells,
    pair_cells,
    refuse,
)
from crowdml.aggregation.inference.confusion import FLOOR, even_errors, normalise_log
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.aggregation.inference.worker_colours import graph_colours
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Float, Space

UNKNOWN = 0.5
"""Skill of a worker who shares no item with anyone: half way between guessing and always right."""

NOISE, TINY = 1e-9, 1e-300
"""A share that can come from rounding errors alone, and a number that replaces zero in a quotient."""

SIGN_STEPS = 200
"""Number of power iterations for the signs.  Each iteration at most halves the vector, so 200 cannot underflow."""


@dataclass(frozen=True)
class MMsr(TieRule):
    """Matrix mean-subsequence-reduced: skills that adversarial workers cannot change much, then a weighted vote.

    A worker of skill s is right with probability s + (1 - s) / n_classes, and errs evenly.  The expected agreement of
    two workers, rescaled to 0 for guessing and 1 for always, is the product of their skills.

    Args:
        trim: share of a worker's fellows, in [0, 0.5).  A fellow is a worker who shares an item.  Each fellow gives a
            ratio.  The mean leaves out this share of the largest ratios, if they are above the worker's own value, and
            this share of the smallest, if they are below.  (The paper's F is one number for all workers.  A share suits
            crowds where some workers have hundreds of fellows and others have two.)
        max_iter, tol: stop after max_iter sweeps, or when the completed matrix changes by at most tol (Frobenius norm).
    """

    trim: float = 0.25
    max_iter: int = 10_000
    tol: float = 1e-10

    SPACE: ClassVar[Space] = {"trim": Float(0, 0.45)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim must be in [0, 0.5), got {self.trim}")
        check_least(self, 1, "max_iter")
        check_least(self, 0, "tol")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=7) + pair_cells(sizes)

    def check(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> None:
        """See TieRule."""
        refuse(crowd, "M-MSR", gold=False, history=False)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Estimate the skills, then vote.

        Args:
            crowd: annotations without gold labels and histories, which the method cannot use.
            prior: (n_classes,) or (n_items, n_classes).  By default uniform.

        Returns:
            The Aggregation.  Posterior and confusion matrices assume workers who have the estimated skills and
            err evenly.  A skill stays 1 / sqrt(1 + answers of the worker) away from always right and always wrong.  The
            paper uses the number of all items instead of the answers of the worker.  Then workers with one or two
            answers would outvote all others.

        Raises:
            ValueError: the crowd has gold labels or histories.
        """
        fixed_prior = check_prior(prior, crowd)
        class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes) if fixed_prior is None else fixed_prior
        agreement, shared = pair_agreement(crowd)
        size, n_iter, converged = self._complete(agreement, 1 / np.sqrt(crowd.n_items))
        skill = _signed(size, agreement, shared)
        skill[np.diff(agreement.indptr) == 0] = UNKNOWN
        resolution = 1 / np.sqrt(1 + crowd.labels_per_worker)
        lowest = np.minimum(resolution - 1 / max(crowd.n_classes - 1, 1), 0)
        accuracy = 1 / crowd.n_classes + np.clip(skill, lowest, 1 - resolution) * (1 - 1 / crowd.n_classes)
        n_classes = crowd.n_classes
        wrong = (1 - accuracy) / max(n_classes - 1, 1)
        weight = np.log(np.maximum(accuracy, FLOOR) / np.maximum(wrong, FLOOR))
        cell = crowd.item.astype(np.int64) * n_classes + crowd.label
        log_prior: Array = np.log(np.maximum(class_prior, FLOOR))
        score = np.bincount(cell, weights=weight[crowd.worker], minlength=crowd.n_items * n_classes)
        posterior, _ = normalise_log(score.reshape(crowd.n_items, n_classes) + log_prior)
        confusion = partial(even_errors, accuracy, n_classes)
        return self.conclude(
            crowd, posterior, class_prior, confusion=confusion, quality=accuracy, n_iter=n_iter, converged=converged
        )

    def _complete(self, agreement: sp.csr_array, lowest: float) -> tuple[Array, int, bool]:
        """Return the (n_workers,) sizes of the skills, at least `lowest`; the number of sweeps; and convergence."""
        start, fellow, size = agreement.indptr, agreement.indices, np.abs(agreement.data)
        order = np.arange(len(size))
        left, right = np.ones(len(start) - 1), np.ones(len(start) - 1)
        n_iter, converged = 0, False
        while n_iter < self.max_iter and not converged:
            n_iter += 1
            new_right = right.copy()
            _sweep(start, fellow, size, order, left, new_right, self.trim, lowest)
            new_left = left.copy()
            _sweep(start, fellow, size, order, new_right, new_left, self.trim, lowest)
            converged = _distance(left, right, new_left, new_right) <= self.tol
            left, right = new_left, new_right
        return left * np.sqrt(np.linalg.norm(right) / np.linalg.norm(left)), n_iter, converged


def pair_agreement(crowd: CrowdLabels) -> tuple[sp.csr_array, sp.csr_array]:
    """Return the agreement of each two workers on the items they share, and the number of shared items.

    Returns:
        Two symmetric (n_workers, n_workers) matrices, with entries for each pair that shares an item.  The first holds
        the share of agreement, rescaled to 0 for chance and 1 for always.  The second holds the number of shared items
        (with repeated answers, the number of pairs of answers).
    """
    n_classes = crowd.n_classes
    shared = _pairs(crowd.item, crowd)
    # A pair that never agrees has no entry among the agreements.  The sum with `shared` gives it an entry.
    agreed = shared + _pairs(crowd.item.astype(np.int64) * n_classes + crowd.label, crowd)
    agreed.data = (agreed.data / shared.data - 1) * n_classes
    agreed.data = (agreed.data - 1) / max(n_classes - 1, 1)
    return agreed, shared


def _pairs(key: NDArray[np.integer], crowd: CrowdLabels) -> sp.csr_array:
    """Return the (n_workers, n_workers) number of annotations with equal keys, for each two different workers."""
    used, row = np.unique(key, return_inverse=True)
    shape = (len(used), crowd.n_workers)
    having = sp.coo_array((np.ones(crowd.n_annotations), (row, crowd.worker)), shape=shape).tocsr()
    pairs = (having.T @ having).tocoo()
    two = pairs.row != pairs.col
    return sp.coo_array((pairs.data[two], (pairs.row[two], pairs.col[two])), shape=pairs.shape).tocsr()


def _distance(left: Array, right: Array, new_left: Array, new_right: Array) -> float:
    """Return the Frobenius norm of new_left new_right' - left right', without cancellation and the matrices."""
    a, b = new_left - left, new_right - right
    square = (a @ a) * (new_right @ new_right) + (left @ left) * (b @ b) + 2 * (a @ left) * (new_right @ b)
    return float(np.sqrt(max(square, 0.0)))


def _signed(size: Array, agreement: sp.csr_array, shared: sp.csr_array) -> Array:
    """Return the skills with the signs that match the signs of the agreements best.

    The signs come from the leading eigenvector of D^-1/2 E D^-1/2.  E is the rescaled agreement times the number of
    shared items, and D holds its absolute row sums.  Shared items link workers into groups.  In each group, the sum of
    the skills is taken to be positive.  If two factions of workers agree and disagree alike, no sign is better for
    one than for the other.  Then the eigenvector is searched among the vectors that are equal for such workers.
    """
    evidence = agreement * shared
    degree = abs(evidence).sum(axis=1)
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1))
    start = np.sqrt(degree)

    def step(vector: Array) -> Array:
        return (vector + scale * (evidence @ (scale * vector))) / 2

    before = vector = start
    for _ in range(SIGN_STEPS):
        before, vector = vector, step(vector)
    group = connected_components(shared, directed=False)[1]
    first, last, end = (np.sqrt(np.bincount(group, weights=part**2)) for part in (start, before, vector))
    growth = end / np.maximum(last, TINY)
    if (end <= NOISE * growth**SIGN_STEPS * first).any():
        # The start of a group had no share of the leading eigenvector; the result grew from rounding errors.
        _, colour, number = np.unique(graph_colours(evidence), return_inverse=True, return_counts=True)
        vector = start
        for _ in range(SIGN_STEPS):
            vector = (np.bincount(colour, weights=step(vector)) / number)[colour]
    largest = np.zeros(len(first))
    np.maximum.at(largest, group, np.abs(vector))
    skill = np.where(vector < -NOISE * largest[group], -size, size)
    total, most = (np.bincount(group, weights=part) for part in (skill, size))
    return np.where((total < -NOISE * most)[group], -skill, skill)


@njit(cache=True, nogil=True)
def _sweep(start, fellow, size, order, known, new, trim, lowest):
    """Set new[w] to the trimmed mean of size / known over the fellows of w.

    `order` holds each worker's entries in the order of the last call's ratios.  When the values converge, the order
    stays the same, and insertion sort takes linear time.
    """
    for worker in range(len(new)):
        first, last = start[worker], start[worker + 1]
        if first == last:
            continue
        ratio = np.empty(last - first)
        for at in range(first, last):
            entry = order[at]
            value = size[entry] / known[fellow[entry]]
            to = at
            while to > first and ratio[to - 1 - first] > value:
                ratio[to - first] = ratio[to - 1 - first]
                order[to] = order[to - 1]
                to -= 1
            ratio[to - first] = value
            order[to] = entry
        own = new[worker]
        most = int(trim * len(ratio))
        low = min(most, np.searchsorted(ratio, own))
        high = len(ratio) - min(most, len(ratio) - np.searchsorted(ratio, own, side="right"))
        new[worker] = max(ratio[low:high].mean(), lowest)
