"""The steps of all forms of minimax entropy: expected counts, Newton steps and posterior.

Worker w gives item i of class c the label l with probability

    pi_iw(l | c) = exp(worker_logits[w, c, l] + item_logits[i, r, l]) / Z_iw(c).

The index r is c if an item has a matrix of logits, and 0 if an item has one row for all classes.  The largest logit of
a row is subtracted from the row, which does not change pi.  Threads process items in blocks that fit in the cache.  The
only arrays over all items are the terms and the posterior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numba import njit

from crowdml.aggregation.inference.confusion import FLOOR, known_only, normalise_log
from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels

ItemLogits = Callable[[slice], Array]
"""Maps a range of items to their logits (n, 1, n_classes) or (n, n_classes, n_classes)."""

BLOCK_CELLS = 32_768
"""Logits per block of items: 256 KiB, which fit in the second-level cache of a core."""


def expected_by_worker(crowd: CrowdLabels, posterior: Array, worker_logits: Array, item_logits: ItemLogits) -> Array:
    """Return (n_workers, n_classes, n_classes) with [w, c, l] = sum_i q_ic pi_iw(l | c): the model's `given_counts`."""
    weight = np.exp(below_top(worker_logits))
    start, worker, _ = crowd.by_item

    def process(first: int, last: int) -> Array:
        total = np.zeros_like(weight)
        for block in _blocks(first, last, crowd.n_classes):
            item_weight = np.exp(below_top(item_logits(block)))
            _add_by_worker(start, worker, weight, item_weight, posterior, block.start, total)
        return total

    return np.sum(run_parts(process, cut(start, crowd.n_classes**2, weight.size)), axis=0) * weight


def visit_expected_by_item(
    crowd: CrowdLabels,
    posterior: Array,
    worker_logits: Array,
    item_logits: ItemLogits,
    visit: Callable[[slice, Array], float],
) -> float:
    """Call visit(items, expected) for blocks of items, in threads, and return the largest result.

    `expected` has the shape of the items' logits: sum_w q_ic pi_iw(l | c), also summed over c if an item has one row of
    logits.  `visit` may change an item only if `item_logits` of other items stay the same.
    """
    weight = np.exp(below_top(worker_logits))
    start, worker, _ = crowd.by_item

    def process(first: int, last: int) -> float:
        largest = 0.0
        for block in _blocks(first, last, crowd.n_classes):
            item_weight = np.exp(below_top(item_logits(block)))
            expected = np.zeros_like(item_weight)
            _add_by_item(start, worker, weight, item_weight, posterior, block.start, expected)
            expected *= item_weight
            largest = max(largest, visit(block, expected))
        return largest

    return max(run_parts(process, cut(start, crowd.n_classes**2, 0)))


def infer(crowd: CrowdLabels, worker_logits: Array, item_logits: ItemLogits, prior: Array) -> tuple[Array, Array]:
    """E-step: return the posterior (n_items, n_classes), and the log likelihood of each item's annotations (n_items,).

    For a gold item, this is the log likelihood of the annotations and the class.  The worker logits are (n_workers,
    n_classes, n_classes), the prior is (n_classes,) or (n_items, n_classes).
    """
    shifted = below_top(worker_logits)
    weight = np.exp(shifted)
    start, worker, label = crowd.by_item
    log_posterior = np.empty((crowd.n_items, crowd.n_classes))
    log_posterior[:] = np.log(np.maximum(prior, FLOOR))

    def process(first: int, last: int) -> None:
        for block in _blocks(first, last, crowd.n_classes):
            logits = below_top(item_logits(block))
            item_weight = np.exp(logits)
            _add_logs(start, worker, label, shifted, weight, logits, item_weight, block.start, log_posterior)

    run_parts(process, cut(start, crowd.n_classes**2, 0))
    return normalise_log(known_only(crowd, log_posterior))


def newton_step(term: Array, expected: Array, given: Array, penalty: float) -> float:
    """Make one Newton step on every row of logits of `term`, in place.  The penalised loss of no row can rise.

    The Hessian of a row is a mean of softmax curvatures.  It is at most the curvature of the mean distribution
    (Jensen): diag(expected) - expected expected.T / n + penalty.  The inverse has a closed form (Sherman-Morrison).  A
    softmax curvature changes by at most a factor exp(spread of the step).  So a step with this bound as the Hessian,
    shortened to `safe_length`, cannot raise the loss (F. Bach, "Self-concordant analysis for logistic regression",
    2010).

    Args:
        term: (..., n_classes), contiguous.
        expected, given: of the same shape, the number of each label that the model expects, and that the items got.
        penalty: weight of half the sum of squares.

    Returns:
        The largest spread of a step (largest minus smallest entry of a row) before it was shortened.
    """
    n_classes = term.shape[-1]
    expected_rows, given_rows = (np.ascontiguousarray(part).reshape(-1, n_classes) for part in (expected, given))
    return _newton_step(term.reshape(-1, n_classes), expected_rows, given_rows, penalty)


def below_top(logits: Array) -> Array:
    """Return the logits minus the largest logit of their row."""
    shifted = np.empty_like(logits, order="C")
    _below_top(np.ascontiguousarray(logits).reshape(-1, logits.shape[-1]), shifted.reshape(-1, logits.shape[-1]))
    return shifted


def softmax(logits: Array) -> Array:
    """Return exp(logits), normalised over the last axis."""
    weight = np.exp(below_top(logits))
    weight /= weight.sum(axis=-1, keepdims=True)
    return weight


def _blocks(first: int, last: int, n_classes: int) -> Iterator[slice]:
    size = max(1, BLOCK_CELLS // n_classes**2)
    for at in range(first, last, size):
        yield slice(at, min(at + size, last))


@njit(cache=True, nogil=True)
def safe_length(spread):
    """Return the share of a Newton step of this spread that cannot raise the loss."""
    return np.log1p(spread) / spread if spread > 0 else 1.0


# ---------------------------------------------------------------- kernels
# Sums may be reordered ("reassoc").  Otherwise, no loop over the labels would use vector instructions.


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _normaliser(weight, item_weight):
    total = 0.0
    for label in range(len(weight)):
        total += weight[label] * item_weight[label]
    return total


@njit(cache=True, nogil=True)
def _add_by_worker(start, worker, weight, item_weight, posterior, first, total):
    """Add q_ic item_weight[i, r, l] / Z_iw(c) to total[w, c, l], over the annotations of a block of items."""
    n_items, n_rows, n_classes = item_weight.shape
    for position in range(n_items):
        for at in range(start[first + position], start[first + position + 1]):
            who = worker[at]
            for c in range(n_classes):
                row = item_weight[position, c if n_rows > 1 else 0]
                share = posterior[first + position, c] / _normaliser(weight[who, c], row)
                target = total[who, c]
                for label in range(n_classes):
                    target[label] += share * row[label]


@njit(cache=True, nogil=True)
def _add_by_item(start, worker, weight, item_weight, posterior, first, total):
    """Add q_ic weight[w, c, l] / Z_iw(c) to total[i, r, l], over the annotations of a block of items."""
    n_items, n_rows, n_classes = item_weight.shape
    for position in range(n_items):
        for at in range(start[first + position], start[first + position + 1]):
            for c in range(n_classes):
                r = c if n_rows > 1 else 0
                row = weight[worker[at], c]
                share = posterior[first + position, c] / _normaliser(row, item_weight[position, r])
                target = total[position, r]
                for label in range(n_classes):
                    target[label] += share * row[label]


@njit(cache=True, nogil=True)
def _add_logs(start, worker, label, logits, weight, item_logits, item_weight, first, log_posterior):
    """Add log pi_iw(label given | c) to log_posterior[i, c], over the annotations of a block of items."""
    n_items, n_rows, n_classes = item_weight.shape
    for position in range(n_items):
        for at in range(start[first + position], start[first + position + 1]):
            who, given = worker[at], label[at]
            for c in range(n_classes):
                r = c if n_rows > 1 else 0
                normaliser = _normaliser(weight[who, c], item_weight[position, r])
                log_posterior[first + position, c] += (
                    logits[who, c, given] + item_logits[position, r, given] - np.log(normaliser)
                )


@njit(cache=True, nogil=True)
def _below_top(logits, shifted):
    n_classes = logits.shape[1]
    for index in range(len(logits)):
        top = logits[index, 0]
        for label in range(1, n_classes):
            top = max(top, logits[index, label])
        for label in range(n_classes):
            shifted[index, label] = logits[index, label] - top


@njit(cache=True, nogil=True)
def _newton_step(term, expected, given, penalty):
    n_classes = term.shape[1]
    step, share = np.empty(n_classes), np.empty(n_classes)
    largest = 0.0
    for index in range(len(term)):
        along = weight = 0.0
        for label in range(n_classes):
            mean = expected[index, label]
            step[label] = (given[index, label] - mean - penalty * term[index, label]) / (mean + penalty)
            share[label] = mean / (mean + penalty)
            along += mean * step[label]
            weight += share[label]
        if weight > 0:  # a row of zeros has no curvature except the penalty
            along /= penalty * weight
            for label in range(n_classes):
                step[label] += share[label] * along
        spread = step.max() - step.min()
        largest = max(largest, spread)
        length = safe_length(spread)
        for label in range(n_classes):
            term[index, label] += length * step[label]
    return largest
