"""Measure how far the workers of a crowd agree, before any aggregation.

Agreement compares pairs of annotations of one item, so an item with one annotation has no effect.  `fleiss_kappa` and
`krippendorff_alpha` treat repeated answers of one worker (repeats="keep") like answers of different workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from crowdml.labels import Array, CrowdLabels
from crowdml.support.value_text import are_numbers

Level = Literal["nominal", "ordinal", "interval"]

CERTAIN = 1e-12
"""Chance agreement counts as perfect if the expected disagreement is at most this share, because of rounding errors."""


def fleiss_kappa(crowd: CrowdLabels) -> float:
    """Return Fleiss's kappa, generalised to items with different numbers of annotations.

    kappa = (P - E) / (1 - E) is at most 1, and 0 for agreement by chance.  P is the mean share of equal pairs, over the
    items with two annotations or more.  E = sum_l p_l**2, where p_l is the mean share of label l, over all labelled
    items (K. L. Gwet, Handbook of Inter-Rater Reliability, 2014).  If all items have the same number of annotations,
    this is the kappa of J. L. Fleiss, Psychological Bulletin 76 (1971).  The result is NaN if no item has two
    annotations.  It is also NaN if all labels are of one class, because agreement by chance is then perfect.
    """
    votes, size = _paired(crowd)
    if not len(votes):
        return float("nan")
    equal_pairs = (votes * (votes - 1)).sum(axis=1)
    observed = float((equal_pairs / (size * (size - 1))).mean())
    labelled = crowd.labels_per_item > 0
    shares = crowd.votes[labelled] / crowd.labels_per_item[labelled, None]
    by_chance = float((shares.mean(axis=0) ** 2).sum())
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 - CERTAIN else float("nan")


def krippendorff_alpha(crowd: CrowdLabels, level: Level = "nominal", *, values: ArrayLike | None = None) -> float:
    """Return Krippendorff's alpha: 1 - observed / expected disagreement of the pairs of annotations.

    K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).  A pair of annotations of an item has the
    weight 1 / (number of annotations of the item - 1), so each annotation counts once.

    Args:
        level: the difference of two labels.  "nominal": 0 if they are equal, else 1.  "ordinal": the square of the
            number of annotations between them.  "interval": the square of the difference of their values.
        values: (n_classes,) values of the classes for "interval".  None takes the class names if they are numbers, else
            0, 1, 2, ...

    Returns:
        At most 1; 0 for agreement by chance.  NaN if no item has two annotations, or if the expected disagreement is
        zero, because all labels in pairs are of one class.

    Raises:
        ValueError: the level is unknown, or `values` has a wrong shape or is given for another level.
    """
    if level not in get_args(Level):
        raise ValueError(f"level must be one of {', '.join(get_args(Level))}, got {level!r}")
    if level != "nominal" and values is None:
        crowd.warn_if_unordered(f"Krippendorff's alpha of level {level}")
    if values is not None and level != "interval":
        raise ValueError(f'values can be used only with level="interval", got level={level!r}')
    votes, size = _paired(crowd)
    if not len(votes):
        return float("nan")
    weight = votes / (size - 1)[:, None]
    coincidence = votes.T @ weight - np.diag(weight.sum(axis=0))
    total = coincidence.sum(axis=1)
    if level == "nominal":
        difference = 1 - np.eye(crowd.n_classes)
    elif level == "ordinal":
        upto = np.cumsum(total) - total / 2  # the rank of a class: all labels of lower classes, and half of its own
        difference = (upto[:, None] - upto) ** 2
    else:
        numbers = _class_values(crowd, values)
        difference = (numbers[:, None] - numbers) ** 2
    observed = float((coincidence * difference).sum())
    expected = float(total @ difference @ total)
    return 1 - observed * float(total.sum() - 1) / expected if expected > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class PairwiseAgreement:
    """How often the two workers of a pair agree, for all pairs of workers who share an item.

    Each answer of one worker is paired with each answer of the other worker to the same item.  A worker also forms a
    pair with itself, in which the repeated answers to an item are paired with each other.

    Attributes:
        worker, other: (n_pairs,) the two workers, worker <= other, in sorted order.
        n_shared: (n_pairs,) number of pairs of answers to one item.
        n_equal: (n_pairs,) number of pairs with equal answers.
        n_by_chance: (n_pairs,) expected number of equal pairs if both workers answered the shared items at random.
            Each worker keeps the frequencies of its own answers to these items.
    """

    n_workers: int
    worker: NDArray[np.int64]
    other: NDArray[np.int64]
    n_shared: NDArray[np.int64]
    n_equal: NDArray[np.int64]
    n_by_chance: Array

    @property
    def share(self) -> Array:
        """(n_pairs,) share of equal labels on shared items."""
        return self.n_equal / self.n_shared

    @property
    def kappa(self) -> Array:
        """(n_pairs,) Cohen's kappa on shared items.  NaN if both workers gave only one and the same label."""
        left = self.n_shared - self.n_by_chance
        defined = left > CERTAIN * self.n_shared
        return np.divide(self.n_equal - self.n_by_chance, left, out=np.full(len(left), np.nan), where=defined)

    def matrix(self, values: NDArray[np.number]) -> Array:
        """Return values (n_pairs,) as a symmetric matrix (n_workers, n_workers), NaN for workers who share no item."""
        dense = np.full((self.n_workers, self.n_workers), np.nan)
        dense[self.worker, self.other] = dense[self.other, self.worker] = values
        return dense

    def to_frame(self, crowd: CrowdLabels) -> pd.DataFrame:
        """Return one row per pair of different workers: worker, other (caller's names), n_shared, agreement, kappa."""
        names = np.arange(crowd.n_workers) if crowd.worker_ids is None else crowd.worker_ids
        columns = {"worker": names[self.worker], "other": names[self.other], "n_shared": self.n_shared}
        frame = pd.DataFrame(columns | {"agreement": self.share, "kappa": self.kappa})
        return frame[self.worker != self.other].reset_index(drop=True)


def pairwise_agreement(crowd: CrowdLabels) -> PairwiseAgreement:
    """Return how often each two workers agree on shared items, and how often they would by chance (J. Cohen, 1960).

    Time and memory grow with the number of pairs of answers to one item (sum_i k_i**2 for k_i annotations), not with
    n_workers**2.
    """
    shape = (crowd.n_items, crowd.n_workers)
    of_label = [
        sp.csr_array((np.ones(int(mask.sum())), (crowd.item[mask], crowd.worker[mask])), shape=shape)
        for mask in (crowd.label == label for label in range(crowd.n_classes))
    ]
    answers = sum(of_label[1:], start=of_label[0])
    itself = sp.diags_array(crowd.labels_per_worker.astype(float))  # each answer with itself, which is not a pair
    key, n_shared = _upper(answers.T @ answers - itself)
    n_equal, n_by_chance = -_at(key, *_upper(itself)), np.zeros(len(key))
    for given in of_label:
        n_equal += _at(key, *_upper(given.T @ given))
        # How often w gave the label on items shared with v.  The transpose counts the same for v.
        on_shared = (given.T @ answers - sp.diags_array(given.sum(axis=0))).tocsr()
        n_by_chance += _at(key, *_upper(on_shared.multiply(on_shared.T)))
    worker, other = np.divmod(key, crowd.n_workers)
    shared, equal = (np.rint(counts).astype(np.int64) for counts in (n_shared, n_equal))
    return PairwiseAgreement(crowd.n_workers, worker, other, shared, equal, n_by_chance / n_shared)


def _paired(crowd: CrowdLabels) -> tuple[Array, NDArray[np.int64]]:
    """Return the votes and the numbers of annotations, for items with two annotations or more."""
    paired = crowd.labels_per_item >= 2
    return crowd.votes[paired], crowd.labels_per_item[paired]


def _class_values(crowd: CrowdLabels, values: ArrayLike | None) -> Array:
    if values is None:
        names = crowd.class_names
        numeric = names is not None and are_numbers(names)
        return np.asarray(names if numeric else np.arange(crowd.n_classes), dtype=np.float64)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (crowd.n_classes,) or not np.isfinite(numbers).all():
        raise ValueError(f"values must be finite, of shape ({crowd.n_classes},), got {numbers.shape}")
    return numbers


def _upper(matrix: sp.csr_array | sp.csc_array | sp.dia_array) -> tuple[NDArray[np.int64], Array]:
    """Return the nonzero upper triangle of a square sparse matrix: sorted keys row * n + column, and the entries."""
    upper = sp.triu(matrix).tocoo()
    kept = upper.data != 0
    row, column = (index[kept].astype(np.int64) for index in upper.coords)
    key = row * matrix.shape[0] + column
    order = np.argsort(key)
    return key[order], upper.data[kept][order]


def _at(keys: NDArray[np.int64], key: NDArray[np.int64], entry: Array) -> Array:
    """Return the entries at the wanted keys, zero where a key is missing."""
    found = np.zeros(len(keys))
    at = np.searchsorted(keys, key)
    known = keys[np.minimum(at, len(keys) - 1)] == key if len(keys) else np.zeros(len(key), bool)
    found[at[known]] = entry[known]
    return found
