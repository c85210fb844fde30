"""Plan the next labels: which items need another label most, and how many labels per item are enough."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import entr

from crowdml.aggregation.aggregator import Aggregation, Aggregator
from crowdml.aggregation.inference.confusion import normalise_rows
from crowdml.files.gold_and_history import item_names
from crowdml.labels import Array, CrowdLabels
from crowdml.support.look_alikes import near_misses
from crowdml.support.value_text import lookup

Gain = Literal["information", "error"]

logger = logging.getLogger(__name__)

LADDER = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100)
"""Numbers of labels per item that `enough_labels` tries by default."""

STREAM = 0x706C616E
"""Added to the seed, so that these draws differ from the draws that simulated the crowd."""


def next_labels(
    crowd: CrowdLabels,
    aggregation: Aggregation,
    n: int | None = None,
    *,
    gain: Gain = "information",
    worker: int | None = None,
) -> pd.DataFrame:
    """Return the items where one more label should help most, the best item first.

    With posterior q of an item and confusion matrix A of the worker, the next label is l with the probability p(l) =
    sum_c q_c A[c, l].  Label l changes the posterior to q_c A[c, l] / p(l).

    Args:
        aggregation: the result of an aggregator for this crowd.
        n: number of items to return.  By default all items.
        gain: "information" is the expected decrease of the entropy of the posterior, in nats: H(p) - sum_c q_c H(A[c]).
            "error" is the expected decrease of the probability of a wrong label: sum_l max_c q_c A[c, l] - max_c q_c.
            This gain is zero if one label cannot change the chosen class.
        worker: index of the worker who gives the label.  By default an average worker; see `average_worker`.

    Returns:
        One row per item: `task`, `expected_gain`, `doubt`, and `n_labels` so far.  Items with equal gains keep their
        order.  Gold items are left out, and so are items that the worker has labelled.

    Raises:
        ValueError: the gain is unknown, the worker is out of range, or n is below 1.
    """
    if gain not in get_args(Gain):
        raise ValueError(f"gain must be one of {', '.join(get_args(Gain))}, got {gain!r}")
    if worker is not None and not 0 <= worker < crowd.n_workers:
        raise ValueError(f"worker must be in [0, {crowd.n_workers}), got {worker}")
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    confusion = average_worker(crowd, aggregation) if worker is None else aggregation.confusion[worker]
    expected = (_information if gain == "information" else _fewer_errors)(aggregation.posterior, confusion)
    wanted = np.ones(crowd.n_items, bool) if crowd.gold is None else crowd.gold < 0
    if worker is not None:
        wanted[crowd.item[crowd.worker == worker]] = False
    best = np.argsort(np.where(wanted, -expected, np.inf), kind="stable")[: int(wanted.sum())][:n]
    names = np.arange(crowd.n_items) if crowd.item_ids is None else crowd.item_ids
    columns = {"expected_gain": expected, "doubt": aggregation.doubt, "n_labels": crowd.labels_per_item}
    return pd.DataFrame({"task": names[best]} | {name: values[best] for name, values in columns.items()})


def with_items(crowd: CrowdLabels, names: NDArray[Any]) -> CrowdLabels:
    """Add the named items that the crowd lacks.  The new items have no annotations.

    A name that occurs more than once is added once.
    """
    known = item_names(crowd)
    new = pd.unique(np.asarray(names)[lookup(known, names) < 0])
    if near := near_misses(new, known):
        logger.warning("some tasks of the pool are not in the crowd: %s", near)
    ids = pd.Index(known).append(pd.Index(new)).to_numpy()
    gold = None if crowd.gold is None else np.append(crowd.gold, np.full(len(new), -1))
    return replace(crowd, n_items=len(ids), item_ids=ids, gold=gold, repeats="keep")


def average_worker(crowd: CrowdLabels, aggregation: Aggregation) -> Array:
    """Return the (n_classes, n_classes) mean confusion matrix over all annotations.  Busy workers count more."""
    return normalise_rows(np.einsum("w,wcl->cl", crowd.labels_per_worker, aggregation.confusion))


def enough_labels(
    crowd: CrowdLabels,
    method: Aggregator,
    truth: NDArray[np.integer] | None = None,
    *,
    labels_per_item: Sequence[int] | None = None,
    n_samples: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return the accuracy for different numbers of labels per item, from subsets of the crowd's labels.

    Each sample shuffles the labels of every item once, and keeps the first k labels for each k.  So the labels for a
    small k are a subset of the labels for a larger k.  An item with fewer than k labels keeps all labels.  Gold items
    are not scored.

    Args:
        truth: (n_items,) true classes, -1 where unknown.  If None, the accuracy is the agreement with the method's
            labels for the whole crowd, which says how soon the labels stop changing, not whether they are right.
        labels_per_item: the values of k.  By default several values, up to the 90th percentile of the crowd.
        n_samples, seed: number of samples, and random seed of the shuffles.
        progress: called with the number of finished fits and the total number of fits.

    Returns:
        One row per k: `labels_per_item`, `mean_labels` (mean number of labels kept per item), `accuracy` in [0, 1],
        `standard_error` over items and samples (over items only if there is one sample), and `measure` ("accuracy" or
        "agreement with all labels").

    Raises:
        ValueError: a k or the number of samples is below 1, or `truth` has a wrong shape or no known class.
    """
    steps = _steps(crowd, labels_per_item)
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    right = method.fit(crowd).labels if truth is None else np.asarray(truth)
    if right.shape != (crowd.n_items,) or not (right >= 0).any():
        if truth is None:
            raise ValueError("every item is tied, so no label is left to compare with; choose other ties than abstain")
        raise ValueError(f"truth must have shape ({crowd.n_items},) and a known class, got {right.shape}")
    labelled = crowd.labels_per_item > 0
    scored = labelled & (right >= 0) & (True if crowd.gold is None else crowd.gold < 0)
    if not scored.any():
        raise ValueError("no item is left to score: every item with a known class is gold or has no labels")
    rows = []
    for done, k in enumerate(steps):
        whole = k >= crowd.labels_per_item.max()  # equal in all samples
        right_here = []
        for sample in range(1 if whole else n_samples):
            part = crowd if whole else crowd.select(_shuffled_rank(crowd, [seed, sample, STREAM]) < k)
            right_here.append((method.fit(part).labels == right)[scored])
            if progress is not None:
                progress(done * n_samples + sample + 1, len(steps) * n_samples)
        mean_labels = float(np.minimum(crowd.labels_per_item, k)[labelled].mean())
        rows.append((k, mean_labels, *_mean_and_error(np.stack(right_here))))
    curve = pd.DataFrame(rows, columns=["labels_per_item", "mean_labels", "accuracy", "standard_error"])
    return curve.assign(measure="agreement with all labels" if truth is None else "accuracy")


def _mean_and_error(right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the share of right labels in (n_samples, n_items), and its standard error over items and samples."""
    n_samples, n_items = right.shape
    variance = right.mean(axis=0).var() / n_items
    if n_samples > 1:
        variance += right.mean(axis=1).var(ddof=1) / n_samples
    return float(right.mean()), float(np.sqrt(variance))


def _information(posterior: Array, confusion: Array) -> Array:
    """Return the (n_items,) mutual information of the true class and the next label, in nats."""
    gained = entr(posterior @ confusion).sum(axis=1) - posterior @ entr(confusion).sum(axis=1)
    return np.maximum(gained, 0)


def _fewer_errors(posterior: Array, confusion: Array) -> Array:
    """Return the (n_items,) expected decrease of the probability that the most probable class is wrong."""
    sure = np.zeros(len(posterior))
    for given in confusion.T:
        sure += (posterior * given).max(axis=1)
    return np.maximum(sure - posterior.max(axis=1), 0)


def _steps(crowd: CrowdLabels, labels_per_item: Sequence[int] | None) -> list[int]:
    if labels_per_item is not None:
        if not labels_per_item or min(labels_per_item) < 1:
            raise ValueError(f"labels_per_item must be whole numbers of at least 1, got {list(labels_per_item)}")
        return sorted(set(labels_per_item))
    most = int(np.quantile(crowd.labels_per_item[crowd.labels_per_item > 0], 0.9))
    return [k for k in LADDER if k < most] + [most]


def _shuffled_rank(crowd: CrowdLabels, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return the (n_annotations,) random rank of each annotation within its item, whatever the order of the rows."""
    by_name = np.lexsort((crowd.label, crowd.worker, crowd.item))
    chance = np.random.default_rng(seed).random(crowd.n_annotations)
    order = by_name[np.lexsort((chance, crowd.item[by_name]))]
    rank = np.empty(crowd.n_annotations, np.int64)
    rank[order] = np.arange(crowd.n_annotations) - crowd.by_item.start[crowd.item[order]]
    return rank
