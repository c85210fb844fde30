"""Compiled passes over the annotations, where methods with confusion matrices spend most of their time.

An EM iteration is one pass over blocks of items.  For each block, a kernel adds up log probabilities, numpy computes
exponentials, and a kernel normalises and adds up the workers' expected counts.  So a block is read from memory only
once.  Kernels release the interpreter lock, and parts of the items run in threads.

A table has the layout that the pass reads: [worker * n_classes + label given, true class].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels

BLOCK_CELLS = 16_384
"""Posterior cells per block: 128 KiB, which fit in the second-level cache of a core, together with the table."""

TIED = 1e-9
"""Classes whose probabilities differ by at most this much are tied, because of rounding errors."""

LARGEST_PRODUCT = 1e200
"""A larger product of normalisers is replaced by its logarithm."""

REORDER = {"reassoc", "nnan", "nsz"}
"""Lets the compiler use vector registers for sums and maxima over the classes."""


class Tables(NamedTuple):
    """The result of an M-step, and all that an E-step needs to know about other items.

    Attributes:
        confusion: (n_workers, n_classes, n_classes) P(label given | true class); rows sum to one.
        class_prior: (n_classes,), or the fixed prior.
        log_confusion: (n_workers, n_classes, n_classes) logarithms for the E-step.  A variational method need not
            normalise the rows.
        log_prior: (n_classes,) or (n_items, n_classes) logarithms for the E-step.
        log_density: the part of the objective that is not log evidence: the log density of the tables under their
            prior, or minus the divergence of their distribution from the prior.
    """

    confusion: Array
    class_prior: Array
    log_confusion: Array
    log_prior: Array
    log_density: float


class Expectation(NamedTuple):
    """The result of an E-step, without the posterior.

    Attributes:
        counts: (n_workers, n_classes, n_classes) expected number of labels [w, true, given], without history.
        class_counts: (n_classes,) expected number of items.
        log_evidence: log likelihood of the annotations (for gold items, jointly with their class).
        moved: largest change of a posterior probability.
    """

    counts: Array
    class_counts: Array
    log_evidence: float
    moved: float


def expectation(
    crowd: CrowdLabels, log_confusion: Array, log_prior: Array, posterior: Array, *, hard: bool = False
) -> Expectation:
    """E-step: update the posterior in place, and add up the counts of the next M-step in the same pass.

    Args:
        crowd: the annotations; items in `crowd.gold` keep their class.
        log_confusion: (n_workers, n_classes, n_classes) at [w, true, given]; rows need not be normalised.
        log_prior: (n_classes,) or (n_items, n_classes).
        posterior: (n_items, n_classes), overwritten.
        hard: put the whole weight of an item on its most probable class; ties go to the lowest class.
    """
    table = by_answer(log_confusion)
    start, answer = crowd.by_item.start, crowd.answers
    binary = crowd.n_classes == 2 and crowd.gold is None and log_prior.ndim == 1 and not hard
    gold = np.empty(0, np.int64) if crowd.gold is None else crowd.gold.astype(np.int64)

    def process(first: int, last: int) -> _Sums:
        if binary:
            return _process_binary(start, answer, table, log_prior, posterior, first, last)
        return _process(start, answer, table, np.atleast_2d(log_prior), gold, posterior, hard, first, last)

    parts = run_parts(process, cut(start, crowd.n_classes, table.size))
    counts, class_counts = (np.sum([getattr(part, name) for part in parts], axis=0) for name in ("counts", "classes"))
    evidence = float(sum(part.evidence for part in parts))
    if binary:
        # The pass adds up only the weight of class 1.  The rest of an answer's total belongs to class 0.
        counts = np.stack([crowd.labels_given.ravel() - counts, counts], axis=1)
        evidence += float((counts * table).sum() + class_counts @ log_prior)
    by_worker = counts.reshape(crowd.n_workers, crowd.n_classes, crowd.n_classes).transpose(0, 2, 1)
    return Expectation(by_worker, class_counts, evidence, max(part.moved for part in parts))


def log_joint(crowd: CrowdLabels, log_confusion: Array) -> Array:
    """Return (n_items, n_classes) the sum over each item's annotations of log P(label given | true class)."""
    table = by_answer(log_confusion)
    start, answer = crowd.by_item.start, crowd.answers
    total = np.empty((crowd.n_items, crowd.n_classes))
    zero = np.zeros((1, crowd.n_classes))
    parts = cut(start, crowd.n_classes, 0)
    run_parts(lambda first, last: _add_logs(start, answer, table, zero, first, last, total[first:last]), parts)
    return total


def expected_counts(crowd: CrowdLabels, posterior: Array) -> Array:
    """Return (n_workers, n_classes, n_classes) expected number of labels [w, true, given], without history."""
    start, answer = crowd.by_item.start, crowd.answers
    shape = (crowd.n_workers * crowd.n_classes, crowd.n_classes)

    def process(first: int, last: int) -> Array:
        counts = np.zeros(shape)
        _add_counts(start, answer, first, last, posterior, counts)
        return counts

    counts = np.sum(run_parts(process, cut(start, crowd.n_classes, shape[0] * shape[1])), axis=0)
    return counts.reshape(crowd.n_workers, crowd.n_classes, crowd.n_classes).transpose(0, 2, 1)


def by_answer(log_confusion: Array) -> Array:
    """Return the (n_workers * n_classes, n_classes) table of a pass, from [w, true, given]."""
    return np.ascontiguousarray(log_confusion.transpose(0, 2, 1)).reshape(-1, log_confusion.shape[1])


class _Sums(NamedTuple):
    counts: Array
    classes: Array
    evidence: float
    moved: float


def _process(start, answer, table, log_prior, gold, posterior, hard, first, last) -> _Sums:
    n_classes = table.shape[1]
    counts, classes = np.zeros_like(table), np.zeros(n_classes)
    size = max(1, BLOCK_CELLS // n_classes)
    buffer = np.empty((size, n_classes))
    evidence = moved = 0.0
    for at in range(first, last, size):
        end = min(at + size, last)
        block = buffer[: end - at]
        _add_logs(start, answer, table, log_prior, at, end, block)
        _keep_known(gold, at, block)
        evidence += _shift_to_top(block)
        np.exp(block, out=block)
        log_total, change = (_decide if hard else _normalise)(block, posterior, classes, at)
        evidence += log_total
        moved = max(moved, change)
        _add_counts(start, answer, at, end, posterior, counts)
    return _Sums(counts, classes, evidence, moved)


def _process_binary(start, answer, table, log_prior, posterior, first, last) -> _Sums:
    """Do `_process` for two classes with one prior: an item is one log odds, and an answer's count is one number."""
    odds = table[:, 1] - table[:, 0]
    shift = log_prior[1] - log_prior[0]
    counts = np.zeros(len(table))
    log_odds, small = np.empty(BLOCK_CELLS), np.empty(BLOCK_CELLS)
    entropy = moved = ones = 0.0
    for at in range(first, last, BLOCK_CELLS):
        end = min(at + BLOCK_CELLS, last)
        _add_odds(start, answer, odds, shift, at, end, log_odds, small)
        np.exp(small[: end - at], out=small[: end - at])
        added, weight, change = _add_binary_counts(start, answer, log_odds, small, posterior, counts, at, end)
        entropy += added
        ones += weight
        moved = max(moved, change)
    return _Sums(counts, np.array([last - first - ones, ones]), entropy, moved)


# ---------------------------------------------------------------- kernels
# Indices are unsigned, because a signed index is tested for a negative value at every access.


@njit(cache=True, nogil=True)
def _add_logs(start, answer, table, log_prior, first, last, block):
    n_classes = np.uintp(table.shape[1])
    same_prior = len(log_prior) == 1
    for item in range(first, last):
        row = block[item - first]
        prior = log_prior[0 if same_prior else item]
        for c in range(n_classes):
            row[c] = prior[c]
        for at in range(np.uintp(start[item]), np.uintp(start[item + 1])):
            given = np.uintp(answer[at])
            for c in range(n_classes):
                row[c] += table[given, c]


@njit(cache=True, nogil=True)
def _keep_known(gold, first, block):
    if len(gold) == 0:
        return
    for position in range(len(block)):
        known = gold[first + position]
        if known >= 0:
            kept = block[position, known]
            block[position] = -np.inf
            block[position, known] = kept


@njit(cache=True, nogil=True, fastmath=REORDER)
def _shift_to_top(block):
    """Subtract each row's largest entry, and return the sum of the subtracted values."""
    total = 0.0
    n_classes = np.uintp(block.shape[1])
    for row in block:
        top = row[0]
        for c in range(n_classes):
            top = max(top, row[c])
        for c in range(n_classes):
            row[c] -= top
        total += top
    return total


@njit(cache=True, nogil=True, fastmath=REORDER)
def _normalise(block, posterior, classes, first):
    """Write the normalised rows, add them to `classes`, and return sum of log normalisers and largest change."""
    n_classes = np.uintp(block.shape[1])
    evidence, product, moved = 0.0, 1.0, 0.0
    for position in range(len(block)):
        row = block[position]
        target = posterior[first + position]
        total = 0.0
        for c in range(n_classes):
            total += row[c]
        # Take one logarithm for many items, because normalisers lie in [1, n_classes].
        product *= total
        if product > LARGEST_PRODUCT:
            evidence += np.log(product)
            product = 1.0
        scale = 1 / total
        for c in range(n_classes):
            value = row[c] * scale
            moved = max(moved, abs(value - target[c]))
            target[c] = value
            classes[c] += value
    return evidence + np.log(product), moved


@njit(cache=True, nogil=True)
def _decide(block, posterior, classes, first):
    """Do `_normalise` with the whole weight of a row on its largest entry, which is 1; ties go to the lowest class."""
    evidence, moved = 0.0, 0.0
    for position in range(len(block)):
        best = 0
        while block[position, best] < 1 - TIED:
            best += 1
        evidence += np.log(block[position].sum())
        moved = max(moved, 1 - posterior[first + position, best])
        posterior[first + position] = 0.0
        posterior[first + position, best] = 1.0
        classes[best] += 1
    return evidence, moved


@njit(cache=True, nogil=True)
def _add_counts(start, answer, first, last, posterior, counts):
    n_classes = np.uintp(posterior.shape[1])
    for item in range(first, last):
        row = posterior[item]
        for at in range(np.uintp(start[item]), np.uintp(start[item + 1])):
            given = np.uintp(answer[at])
            for c in range(n_classes):
                counts[given, c] += row[c]


@njit(cache=True, nogil=True)
def _add_odds(start, answer, odds, shift, first, last, log_odds, negated):
    """Write each item's log odds, and minus their absolute value."""
    for item in range(np.uintp(first), np.uintp(last)):
        at, end = np.uintp(start[item]), np.uintp(start[item + np.uintp(1)])
        # Use two sums, because each addition must wait for the previous addition to the same sum.
        total, other = shift, 0.0
        while at + np.uintp(1) < end:
            total += odds[np.uintp(answer[at])]
            other += odds[np.uintp(answer[at + np.uintp(1)])]
            at += np.uintp(2)
        if at < end:
            total += odds[np.uintp(answer[at])]
        total += other
        log_odds[item - np.uintp(first)] = total
        negated[item - np.uintp(first)] = -abs(total)


@njit(cache=True, nogil=True)
def _add_binary_counts(start, answer, log_odds, small, posterior, counts, first, last):
    """Write the posterior and add up the counts of class 1, from e^-|log odds|.

    Return the sum of the entropies, the weight of class 1, and the largest change.
    """
    entropy, product, weight, moved = 0.0, 1.0, 0.0, 0.0
    for item in range(np.uintp(first), np.uintp(last)):
        odds, less = log_odds[item - np.uintp(first)], small[item - np.uintp(first)]
        likely = 1 / (1 + less)
        one = likely if odds > 0 else less * likely
        # H(q) = log(1 + e^odds) - q odds.  Take one logarithm for many items, because 1 + e^-|odds| lies in (1, 2].
        entropy += max(odds, 0.0) - one * odds
        product *= 1 + less
        if product > LARGEST_PRODUCT:
            entropy += np.log(product)
            product = 1.0
        weight += one
        moved = max(moved, abs(one - posterior[item, np.uintp(1)]))
        posterior[item, np.uintp(0)] = 1 - one
        posterior[item, np.uintp(1)] = one
        for at in range(np.uintp(start[item]), np.uintp(start[item + np.uintp(1)])):
            counts[np.uintp(answer[at])] += one
    return entropy + np.log(product), weight, moved
