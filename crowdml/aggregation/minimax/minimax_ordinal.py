"""Ordinal minimax conditional entropy: workers and items confuse neighbouring classes.

D. Zhou, Q. Liu, J. Platt, C. Meek, "Aggregating Ordinal Labels from Crowds by Minimax Conditional Entropy", ICML 2014,
and D. Zhou, Q. Liu, J. Platt, C. Meek, N. Shah, arXiv 1503.07240 (2015).  In the dual, the logits of a worker are

    logits[c, l] = sum over thresholds s of theta[s, c >= s, l >= s].

The logits of an item have the same form.  They depend only on whether class and label are on the same side of s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from crowdml.aggregation.aggregator import Sizes
from crowdml.aggregation.minimax.minimax_em import Minimax, Terms, item_terms_matter
from crowdml.aggregation.minimax.minimax_steps import safe_length
from crowdml.labels import Array, CrowdLabels


@dataclass(frozen=True)
class MinimaxOrdinal(Minimax):
    """Minimax entropy for ordered classes 0 < 1 < 2 < ...  `Minimax` describes the arguments.

    A worker and an item have 2 * (n_classes - 1) terms each.  An iteration costs n_classes**3 per worker and per item.
    With two classes, this is `MinimaxConditional`.
    """

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return super().peak_cells(sizes) + 2 * sizes.n_classes * sizes.n_items

    def first_terms(self, crowd: CrowdLabels) -> Terms:
        """Return terms of zero: (n_workers, 2 * (n_classes - 1)) and (n_items, 2 * (n_classes - 1))."""
        crowd.warn_if_unordered("minimax_ordinal")
        penalty = self.penalties(crowd)
        thresholds = Thresholds(crowd.n_classes)
        # A logit is a sum over the thresholds, so it can be that many times larger than item_terms_matter assumes.
        per_logit = penalty.item / max(crowd.n_classes - 1, 1)
        use_items = self.item_terms and item_terms_matter(crowd, per_logit, self.tol)
        item = np.zeros((crowd.n_items, thresholds.n_features)) if use_items else None
        return Terms(crowd, penalty, thresholds, np.zeros((crowd.n_workers, thresholds.n_features)), item)


class Thresholds:
    """Terms of each threshold and side of the class, (n, 2 * (n_classes - 1)) with [s - 1, c >= s] flattened.

    Only the difference of theta[s, a, 0] and theta[s, a, 1] changes a probability.  The penalty makes their sum zero.
    So the term is (theta[s, a, 1] - theta[s, a, 0]) / sqrt(2), which has the same sum of squares.  A term adds term /
    sqrt(2) to the logits of the labels l >= s, and subtracts term / sqrt(2) from the other logits.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self.n_features = 2 * (n_classes - 1)

    def logits(self, term: Array) -> Array:
        """Return (n, n_classes, n_classes) logits.  Each row is shifted to 0 for the lowest label."""
        logits = np.zeros((len(term), self.n_classes, self.n_classes))
        _add_up(term, logits)
        return logits

    def step(self, term: Array, expected: Array, given: Array, penalty: float) -> float:
        """Make one Newton step on the terms of every worker or item, in place, as `minimax_steps.newton_step` does."""
        return _newton_step(term, expected, given, penalty)


@njit(cache=True, nogil=True)
def _add_up(term, logits):
    n, n_classes, _ = logits.shape
    for index in range(n):
        for c in range(n_classes):
            for s in range(1, n_classes):
                logits[index, c, s] = logits[index, c, s - 1] + np.sqrt(2.0) * term[index, _feature(s, c)]


@njit(cache=True, nogil=True)
def _newton_step(term, expected, given, penalty):
    n, size = term.shape
    n_classes = expected.shape[1]
    hessian, step = np.empty((size, size)), np.empty(size)
    largest = 0.0
    for index in range(n):
        hessian[:] = 0.0
        for f in range(size):
            hessian[f, f] = penalty
            step[f] = -penalty * term[index, f]
        for c in range(n_classes):
            _add_row(expected[index, c], given[index, c], c, hessian, step)
        _solve(hessian, step)
        spread = _largest_spread(step, n_classes)
        largest = max(largest, spread)
        length = safe_length(spread)
        for f in range(size):
            term[index, f] += length * step[f]
    return largest


@njit(cache=True, nogil=True)
def _add_row(expected, given, c, hessian, gradient):
    """Add the contribution of the answers to class c.  Fill the lower triangle of the Hessian.

    The curvature of two thresholds s <= t is 2 n times the covariance of (l >= s) and (l >= t) under the mean
    distribution.  This is 2 * above[t] * (1 - above[s] / n), where above[s] is the expected number of labels l >= s.
    """
    n_classes = len(expected)
    above = np.empty(n_classes)
    total = missing = 0.0
    for s in range(n_classes - 1, -1, -1):
        total += expected[s]
        above[s] = total
    if total <= 0.0:
        return
    balance = given.sum() - total
    for t in range(n_classes - 1, 0, -1):
        missing += given[t] - expected[t]
        row = _feature(t, c)
        gradient[row] += np.sqrt(2.0) * missing - balance / np.sqrt(2.0)
        for s in range(1, t + 1):
            hessian[row, _feature(s, c)] += 2 * above[t] * (1 - above[s] / total)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _solve(matrix, right):
    """Solve a positive definite system in place, by Cholesky on the lower triangle."""
    size = len(right)
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(total) if i == j else total / matrix[j, j]
    for i in range(size):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]


@njit(cache=True, nogil=True)
def _largest_spread(term, n_classes):
    largest = 0.0
    for c in range(n_classes):
        logit = low = high = 0.0
        for s in range(1, n_classes):
            logit += np.sqrt(2.0) * term[_feature(s, c)]
            low, high = min(low, logit), max(high, logit)
        largest = max(largest, high - low)
    return largest


@njit(cache=True, nogil=True)
def _feature(s, c):
    """Return the position of the term of threshold s and the side of class c."""
    return 2 * (s - 1) + (1 if c >= s else 0)
