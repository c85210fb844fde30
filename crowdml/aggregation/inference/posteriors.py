"""Posteriors (n_items, n_classes), dense or sparse.

An item of a vote has as many probable classes as it has different labels.  A sparse posterior (CSR, sorted indices, at
least one cell per row) holds only these cells, so time and memory do not grow with the number of classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray
from scipy.special import entr

from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels

Rows = Array | sp.csr_array
"""A posterior, dense or sparse."""

MANY = 64
"""Insertion sort is fast for items with at most this many different labels."""

SMALL_TABLE = 1 << 22
"""A dense table of workers and classes is faster than a sparse table up to this number of cells."""


def count_votes(crowd: CrowdLabels) -> sp.csr_array:
    """Return the (n_items, n_classes) sparse numbers of votes.  An item without votes has no cells."""
    start, _, label = crowd.by_item
    most = min(crowd.n_annotations, crowd.n_items * crowd.n_classes)
    index_type = np.int32 if most <= np.iinfo(np.int32).max else np.int64
    first = np.zeros(crowd.n_items + 1, index_type)
    classes, votes = np.empty(most, index_type), np.empty(most)
    n_cells: Any = _count_votes(start, label, crowd.n_classes, first, classes, votes)
    return _csr(votes[:n_cells], classes[:n_cells], first, crowd.n_classes)


def add_weights(crowd: CrowdLabels, votes: sp.csr_array, weight: Array) -> sp.csr_array:
    """Return the (n_items, n_classes) sums of the weights (n_workers,) of the votes, with the cells of `votes`."""
    total = np.zeros(len(votes.data))
    rows: Any = *crowd.by_item, crowd.n_classes, votes.indptr, votes.indices, weight, total
    run_parts(lambda *part: _add_weights(*rows, *part), cut(crowd.by_item.start, 4, crowd.n_classes))
    return _csr(total, votes.indices, votes.indptr, crowd.n_classes)


def row_of_cell(rows: sp.csr_array) -> NDArray[np.int64]:
    """Return the (n_cells,) row of each cell."""
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def replace_rows(rows: sp.csr_array, at: NDArray[np.integer], new: sp.csr_array) -> sp.csr_array:
    """Return the matrix with the rows at the sorted positions `at` (n,) replaced by the rows of `new`."""
    if not len(at):
        return rows
    n_rows, n_classes = rows.shape
    length = np.diff(rows.indptr)
    replaced = np.zeros(n_rows, bool)
    replaced[at] = True
    kept = ~np.repeat(replaced, length)
    length[at] = np.diff(new.indptr)
    first = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    is_new = np.repeat(replaced, length)
    classes, data = np.empty(int(first[-1]), rows.indices.dtype), np.empty(int(first[-1]))
    for target, old, added in ((classes, rows.indices, new.indices), (data, rows.data, new.data)):
        target[~is_new], target[is_new] = old[kept], added
    return _csr(data, classes, first.astype(rows.indptr.dtype), n_classes)


def certain(labels: NDArray[np.integer], n_classes: int) -> sp.csr_array:
    """Return (n_items, n_classes) with one cell per row: probability 1 of the label (n_items,)."""
    first = np.arange(len(labels) + 1, dtype=np.int32)
    return _csr(np.ones(len(labels)), labels.astype(np.int32), first, n_classes)


def normalised(rows: sp.csr_array, otherwise: sp.csr_array | None = None) -> sp.csr_array:
    """Return the rows divided by their sums.

    A row of zeros gets the numbers of `otherwise`, which has the same cells.
    """
    shares = np.empty_like(rows.data)
    _divide_rows(rows.indptr, rows.data, (rows if otherwise is None else otherwise).data, shares)
    return _csr(shares, rows.indices, rows.indptr, rows.shape[1])


def dense(rows: Rows) -> Array:
    """Return the posterior as a dense array."""
    return rows.toarray() if isinstance(rows, sp.csr_array) else rows


def mean_of(rows: Rows) -> Array:
    """Return the (n_classes,) mean over the items."""
    if isinstance(rows, sp.csr_array):
        return np.bincount(rows.indices, rows.data, rows.shape[1]) / rows.shape[0]
    return rows.mean(axis=0)


def largest(rows: Rows) -> Array:
    """Return the (n_items,) largest probability of each item."""
    return _over_rows(np.maximum, rows, rows.data) if isinstance(rows, sp.csr_array) else rows.max(axis=1)


def entropies(rows: Rows) -> Array:
    """Return the (n_items,) entropy of each row in nats."""
    if isinstance(rows, sp.csr_array):
        return _over_rows(np.add, rows, entr(rows.data))
    return entr(rows).sum(axis=1)


def at(rows: Rows, item: NDArray[np.integer], label: NDArray[np.integer]) -> Array:
    """Return the (n,) probability of each pair of item and class."""
    if not isinstance(rows, sp.csr_array):
        return rows[item, label]
    found = np.zeros(len(item))
    _look_up(rows.indptr, rows.indices, rows.data, item, label, found)
    return found


def best_cells(rows: sp.csr_array, tolerance: float) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells within the tolerance of the largest cell of their row.

    Returns:
        (n_cells,) True for these cells; (n_rows,) the class of the first of them in each row; (n_rows,) their number.
    """
    best = np.empty(len(rows.data), np.bool_)
    lowest, number = np.empty((2, rows.shape[0]), np.int64)
    _find_best(rows.indptr, rows.indices, rows.data, tolerance, best, lowest, number)
    return best, lowest, number


def agreement_with_best(crowd: CrowdLabels, rows: sp.csr_array, tolerance: float) -> Array:
    """Return the (n_workers,) number of a worker's labels that are the best class of the item.

    The best classes are within the tolerance of the largest cell.  Each of k best classes counts 1 / k.
    """
    start, worker, label = crowd.by_item
    first_cell, classes, data = rows.indptr, rows.indices, rows.data

    def process(first: int, last: int) -> Array:
        right = np.zeros(crowd.n_workers)
        _add_agreement(start, worker, label, crowd.n_classes, first_cell, classes, data, tolerance, first, last, right)
        return right

    return np.sum(run_parts(process, cut(crowd.by_item.start, 4, crowd.n_workers)), axis=0)


def right_and_total(crowd: CrowdLabels, rows: Rows) -> tuple[Rows, Rows]:
    """Return two (n_workers, n_classes) tables of expected answers to items of each class: right answers, all answers.

    History is included.  Both tables are sparse if they would be large and the posterior is sparse.
    """
    right, total = _answers(crowd, rows)
    if crowd.history is not None:
        right = dense(right) + np.diagonal(crowd.history, axis1=1, axis2=2)
        total = dense(total) + crowd.history.sum(axis=2)
    return right, total


def _answers(crowd: CrowdLabels, rows: Rows) -> tuple[Rows, Rows]:
    start, worker, label = crowd.by_item
    shape = (crowd.n_workers, crowd.n_classes)
    if isinstance(rows, sp.csr_array) and shape[0] * shape[1] > SMALL_TABLE:
        item = np.repeat(np.arange(crowd.n_items), np.diff(start))
        by_worker = sp.coo_array((np.ones(len(item)), (worker, item)), shape=(shape[0], crowd.n_items)).tocsr()
        right = sp.coo_array((at(rows, item, label), (worker, label)), shape=shape).tocsr()
        return right, sp.csr_array(by_worker @ rows)

    def process(first: int, last: int) -> Array:
        sums = np.zeros((2, *shape))
        right, total = sums
        if isinstance(rows, sp.csr_array):
            _add_cells(start, worker, label, rows.indptr, rows.indices, rows.data, first, last, right, total)
        else:
            _add_rows(start, worker, label, rows, first, last, right, total)
        return sums

    width = 4 if isinstance(rows, sp.csr_array) else crowd.n_classes
    right, total = np.sum(run_parts(process, cut(start, width, 2 * shape[0] * shape[1])), axis=0)
    return right, total


def _csr(data: Array, indices: NDArray[np.integer], indptr: NDArray[np.integer], n_classes: int) -> sp.csr_array:
    rows = sp.csr_array((data, indices, indptr), shape=(len(indptr) - 1, n_classes))
    rows.has_canonical_format = True  # sorted, without repeats
    return rows


def _over_rows(function: np.ufunc, rows: sp.csr_array, values: Array) -> Array:
    """Return the (n_rows,) sum or maximum of the values (n_cells,) of each row, and 0 for a row without cells."""
    result = np.zeros(rows.shape[0])
    filled = np.diff(rows.indptr) > 0
    if filled.any():
        result[filled] = function.reduceat(values, rows.indptr[:-1][filled])
    return result


# ---------------------------------------------------------------- kernels


@njit(cache=True, nogil=True)
def _count_votes(start, label, n_classes, first, classes, votes):
    """Write the cells of each item, sorted by class, and return their number."""
    last_item, place = np.full(n_classes, -1, np.int64), np.empty(n_classes, np.int64)
    end = 0
    for item in range(len(start) - 1):
        begin = end
        for annotation in range(start[item], start[item + 1]):
            given = label[annotation]
            if last_item[given] != item:
                last_item[given] = item
                at = end
                while at > begin and end - begin <= MANY and classes[at - 1] > given:  # insertion sort
                    classes[at] = classes[at - 1]
                    at -= 1
                classes[at] = given
                end += 1
        if end - begin > MANY:
            classes[begin:end].sort()
        for cell in range(begin, end):
            place[classes[cell]] = cell
            votes[cell] = 0.0
        for annotation in range(start[item], start[item + 1]):
            votes[place[label[annotation]]] += 1.0
        first[item + 1] = end
    return end


@njit(cache=True, nogil=True)
def _add_weights(start, worker, label, n_classes, first, classes, weight, total, first_item, end_item):
    place = np.empty(n_classes, np.int64)
    for item in range(first_item, end_item):
        for cell in range(first[item], first[item + 1]):
            place[classes[cell]] = cell
        for annotation in range(start[item], start[item + 1]):
            total[place[label[annotation]]] += weight[worker[annotation]]


@njit(cache=True, nogil=True)
def _add_agreement(start, worker, label, n_classes, first, classes, data, tolerance, first_item, end_item, right):
    best_of = np.full(n_classes, -1, np.int64)  # the last item that has this class among its best
    for item in range(first_item, end_item):
        top = -np.inf
        for cell in range(first[item], first[item + 1]):
            top = max(top, data[cell])
        number = 0
        for cell in range(first[item], first[item + 1]):
            if data[cell] >= top - tolerance:
                best_of[classes[cell]] = item
                number += 1
        for annotation in range(start[item], start[item + 1]):
            if best_of[label[annotation]] == item:
                right[worker[annotation]] += 1 / number


@njit(cache=True, nogil=True)
def _divide_rows(first, data, otherwise, shares):
    for row in range(len(first) - 1):
        total = 0.0
        for cell in range(first[row], first[row + 1]):
            total += data[cell]
        for cell in range(first[row], first[row + 1]):
            shares[cell] = data[cell] / total if total > 0 else otherwise[cell]


@njit(cache=True, nogil=True)
def _find_best(first, classes, data, tolerance, best, lowest, number):
    for row in range(len(first) - 1):
        top = -np.inf
        for cell in range(first[row], first[row + 1]):
            top = max(top, data[cell])
        number[row] = 0
        for cell in range(first[row], first[row + 1]):
            best[cell] = data[cell] >= top - tolerance
            if best[cell]:
                if number[row] == 0:
                    lowest[row] = classes[cell]
                number[row] += 1


@njit(cache=True, nogil=True)
def _look_up(first, classes, data, item, label, found):
    for index in range(len(item)):
        low, high = first[item[index]], first[item[index] + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if classes[middle] < label[index]:
                low = middle + 1
            else:
                high = middle
        if low < end and classes[low] == label[index]:
            found[index] = data[low]


@njit(cache=True, nogil=True)
def _add_cells(start, worker, label, first, classes, data, first_item, last_item, right, total):
    for item in range(first_item, last_item):
        for annotation in range(start[item], start[item + 1]):
            who, given = worker[annotation], label[annotation]
            for cell in range(first[item], first[item + 1]):
                total[who, classes[cell]] += data[cell]
                if classes[cell] == given:
                    right[who, given] += data[cell]


@njit(cache=True, nogil=True)
def _add_rows(start, worker, label, rows, first_item, last_item, right, total):
    n_classes = rows.shape[1]
    for item in range(first_item, last_item):
        for annotation in range(start[item], start[item + 1]):
            who, given = worker[annotation], label[annotation]
            for c in range(n_classes):
                total[who, c] += rows[item, c]
            right[who, given] += rows[item, given]
