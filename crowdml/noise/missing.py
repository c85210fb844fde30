"""Remove a share of the labels of a crowd."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crowdml.labels import CrowdLabels
from crowdml.noise.counter_random import make_key, uniform_of

MissingRule = Literal["floor", "round", "bernoulli"]
MISSING_RULES: tuple[str, ...] = get_args(MissingRule)


def check_missing(rate: float, rule: str) -> None:
    """Raise ValueError unless `rate` is in [0, 1) and `rule` is in MISSING_RULES."""
    if not 0 <= rate < 1:
        raise ValueError(f"missing_rate must be in [0, 1), got {rate}")
    if rule not in MISSING_RULES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_RULES)}, got {rule!r}")


def remove_labels(crowd: CrowdLabels, rate: float, rule: MissingRule = "floor", seed: int = 0) -> CrowdLabels:
    """Return the crowd without a share of its labels.

    A higher rate removes all labels that a lower rate removes, and more.

    Args:
        crowd: the crowd with all labels; items may have different numbers of labels.
        rate: in [0, 1).
        rule: "floor" removes floor(rate * labels of the item) labels of each item.  "round" removes the nearest whole
            number.  "bernoulli" removes each label with probability `rate`.
        seed: the seed of the draws.  The draw of a label depends only on the seed, the worker and the item.

    Raises:
        ValueError: the rate is out of range, the rule is unknown, or an item or the crowd would lose all labels.
    """
    check_missing(rate, rule)
    if rate == 0:
        return crowd
    rows = crowd.by_item
    key = make_key(seed, purpose=3)
    if rule == "bernoulli":
        kept = _kept_by_chance(rows.start, rows.worker, rate, key)
    else:
        kept = _kept_by_number(rows.start, rows.worker, n_removed(rate, crowd.labels_per_item, rule), key)
    item = np.repeat(np.arange(crowd.n_items, dtype=np.int32), crowd.labels_per_item)
    return replace(crowd, item=item[kept], worker=rows.worker[kept], label=rows.label[kept], repeats="keep")


def n_removed(rate: float, n_labels: NDArray[np.int64], rule: MissingRule) -> NDArray[np.int64]:
    """Return (n_items,) the number of labels to remove from each item by the rule "floor" or "round".

    Raises:
        ValueError: an item would lose all its labels.
    """
    # Without the tolerance, 0.29 * 100 = 28.999999999999996 would count as 28.
    removed = np.floor(rate * n_labels + (0.5 if rule == "round" else 0) + 1e-9).astype(np.int64)
    emptied = (removed >= n_labels) & (n_labels > 0)
    if emptied.any():
        raise ValueError(
            f"missing_rate {rate} removes all {n_labels[emptied][0]} labels of an item; lower it or add workers"
        )
    return removed


@njit(cache=True, nogil=True)
def _kept_by_chance(
    start: NDArray[np.int64], worker: NDArray[np.integer], rate: float, key: np.uint64
) -> NDArray[np.bool_]:
    kept = np.empty(len(worker), np.bool_)
    for item in range(len(start) - 1):
        for place in range(start[item], start[item + 1]):
            kept[place] = uniform_of(key, worker[place], item) >= rate
    return kept


@njit(cache=True, nogil=True)
def _kept_by_number(
    start: NDArray[np.int64], worker: NDArray[np.integer], n_removed: NDArray[np.int64], key: np.uint64
) -> NDArray[np.bool_]:
    """Remove the labels with the lowest draws of each item."""
    kept = np.ones(len(worker), np.bool_)
    for item in range(len(start) - 1):
        first, last = start[item], start[item + 1]
        if n_removed[item]:
            chance = np.array([uniform_of(key, worker[place], item) for place in range(first, last)])
            for place in np.argsort(chance)[: n_removed[item]]:
                kept[first + place] = False
    return kept
