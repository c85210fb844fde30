"""Measure how far the workers of a crowd agree, before any aggregation.

Agreement compares pairs of annotations of one item, so an item with one annotation has no effect.  `fleiss_kappa` and
`krippendorff_alpha` treat repeated answers of one worker (repeats="keep") like answers of different workers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.inference.posteriors import count_votes, row_of_cell
from crowdml.labels import Array, CrowdLabels
from crowdml.support.value_text import are_numbers

Level = Literal["nominal", "ordinal", "interval"]

CERTAIN = 1e-12
"""Chance agreement counts as perfect if the expected disagreement is at most this share, because of rounding errors."""


def fleiss_kappa(crowd: CrowdLabels) -> float:
    """Return Fleiss' kappa, generalised to items with different numbers of annotations.

    kappa = (P - E) / (1 - E) is at most 1, and 0 for agreement by chance.  P is the mean share of equal pairs, over the
    items with two annotations or more.  E = sum_l p_l**2, where p_l is the mean share of label l, over all labelled
    items (K. L. Gwet, Handbook of Inter-Rater Reliability, 2014).  If all items have the same number of annotations,
    this is the kappa of J. L. Fleiss, Psychological Bulletin 76 (1971).  The result is NaN if no item has two
    annotations.  It is also NaN if all labels are of one class, because agreement by chance is then perfect.  A NaN
    comes with an UndefinedAgreementWarning that gives the reason.
    """
    reason = why_no_kappa(crowd)
    if reason:
        warnings.warn(f"Fleiss' kappa is not defined: {reason}", UndefinedAgreementWarning, stacklevel=2)
        return float("nan")
    paired = _paired(crowd)
    equal_pairs = np.bincount(paired.item, paired.votes * (paired.votes - 1), crowd.n_items)
    size = crowd.labels_per_item
    observed = float((equal_pairs[size > 1] / (size * (size - 1))[size > 1]).mean())
    shares = np.bincount(crowd.label, 1 / size[crowd.item], crowd.n_classes) / (size > 0).sum()
    by_chance = float((shares**2).sum())
    return (observed - by_chance) / (1 - by_chance)


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
        zero, because all labels in pairs are of one class.  A NaN comes with an UndefinedAgreementWarning that gives
        the reason.

    Raises:
        ValueError: the level is unknown, or `values` has a wrong shape or is given for another level.
    """
    if level not in get_args(Level):
        raise ValueError(f"level must be one of {', '.join(get_args(Level))}, got {level!r}")
    if level != "nominal" and values is None:
        crowd.warn_if_unordered(f"Krippendorff's alpha of level {level}")
    if values is not None and level != "interval":
        raise ValueError(f'values can be used only with level="interval", got level={level!r}')
    reason = why_no_alpha(crowd, level, values=values)
    if reason:
        warnings.warn(f"Krippendorff's alpha is not defined: {reason}", UndefinedAgreementWarning, stacklevel=2)
        return float("nan")
    paired = _paired(crowd)
    size = crowd.labels_per_item
    total = np.bincount(paired.label, paired.votes, crowd.n_classes)
    n = total.sum()
    # The sum over all pairs of a group of annotations of (x - y)**2 is 2 * size * (sum of squared deviations).
    if level == "nominal":
        within = size - np.bincount(paired.item, paired.votes**2, crowd.n_items) / np.maximum(size, 1)
        overall = n - float((total**2).sum()) / n
    else:
        # For "ordinal", the rank of a class: all labels of lower classes, and half of the labels of the class.
        place = np.cumsum(total) - total / 2 if level == "ordinal" else _class_values(crowd, values)
        place = place - (total @ place) / n
        mean = np.bincount(paired.item, paired.votes * place[paired.label], crowd.n_items) / np.maximum(size, 1)
        deviation = place[paired.label] - mean[paired.item]
        within = np.bincount(paired.item, paired.votes * deviation**2, crowd.n_items)
        overall = float(total @ place**2)
    observed = float((size * within / np.maximum(size - 1, 1))[size > 1].sum())
    return 1 - observed * (n - 1) / (n * overall)


class UndefinedAgreementWarning(UserWarning):
    """An agreement is NaN."""


def why_no_kappa(crowd: CrowdLabels) -> str:
    """Return why Fleiss' kappa is NaN, or an empty text if it is a number."""
    if crowd.labels_per_item.max() < 2:
        return "no item has two labels"
    if (crowd.label == crowd.label[0]).all():
        return f"all labels are {_name(crowd, crowd.label[0])}, so agreement by chance is perfect"
    return ""


def why_no_alpha(crowd: CrowdLabels, level: Level = "nominal", *, values: ArrayLike | None = None) -> str:
    """Return why Krippendorff's alpha is NaN, or an empty text if it is a number.  See `krippendorff_alpha`."""
    n_shared = int((crowd.labels_per_item > 1).sum())
    if not n_shared:
        return "no item has two labels"
    in_pairs = np.unique(crowd.label[crowd.labels_per_item[crowd.item] > 1])
    where = (
        f"the {n_shared:,} items with two labels or more" if n_shared > 1 else "the only item with two labels or more"
    )
    if len(in_pairs) == 1:
        return f"all labels of {where} are {_name(crowd, in_pairs[0])}, so agreement by chance is perfect"
    if level == "interval" and np.ptp(_class_values(crowd, values)[in_pairs]) == 0:
        return f"all labels of {where} have the same value"
    return ""


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


class _Votes(NamedTuple):
    """The votes for each pair of item and class that has a vote: (n,) each."""

    item: NDArray[np.int64]
    label: NDArray[np.integer]
    votes: Array


def _paired(crowd: CrowdLabels) -> _Votes:
    """Return the votes of the items with two annotations or more."""
    votes = count_votes(crowd)
    item = row_of_cell(votes)
    kept = crowd.labels_per_item[item] > 1
    return _Votes(item[kept], votes.indices[kept], votes.data[kept])


def _name(crowd: CrowdLabels, label: int) -> str:
    return str(label if crowd.class_names is None else crowd.class_names[label])


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
