"""Worker agreement with aggregate (Wawa): vote, weight each worker by the agreement with the vote, vote again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import TIED, Aggregation, TieRule, vote_shares
from crowdml.aggregation.inference.prior_and_gold import check_prior, keep_gold
from crowdml.labels import Array, CrowdLabels


@dataclass(frozen=True)
class Wawa(TieRule):
    """The weighted majority vote, in which a worker's weight is the agreement with the unweighted vote.

    The posterior holds shares of the weight, and `worker_quality` is the weight.  Crowdsourcing platforms use this
    method, which has no paper.
    """

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Vote twice.

        Args:
            crowd: the annotations.  Gold items keep their class in both votes.  Right answers in a worker's history
                count as agreement, wrong answers as disagreement.
            prior: (n_classes,) or (n_items, n_classes), used only for items without annotations.
        """
        plain = vote_shares(crowd, check_prior(prior, crowd))
        weight = agreement_with_best(crowd, plain)
        return self.conclude(crowd, weighted_shares(crowd, weight, plain), quality=weight)


def agreement_with_best(crowd: CrowdLabels, shares: Array) -> Array:
    """Return the (n_workers,) share of each worker's labels that agree with the item's best class.

    The best class has the largest share (n_items, n_classes).  If k classes have the largest share, each counts 1 / k.
    Histories are included.  A worker without answers gets zero.
    """
    best = shares >= shares.max(axis=1, keepdims=True) - TIED
    credit = best / best.sum(axis=1, keepdims=True)
    right = np.bincount(crowd.worker, weights=credit[crowd.item, crowd.label], minlength=crowd.n_workers)
    total = crowd.labels_per_worker.astype(np.float64)
    if crowd.history is not None:
        right += crowd.history.trace(axis1=1, axis2=2)
        total += crowd.history.sum(axis=(1, 2))
    return np.divide(right, total, out=np.zeros(crowd.n_workers), where=total > 0)


def weighted_shares(crowd: CrowdLabels, weight: Array, plain: Array) -> Array:
    """Return the (n_items, n_classes) share of the workers' weight per class.  Gold items are certain.

    Args:
        weight: (n_workers,) not negative.
        plain: (n_items, n_classes) shares for items without annotations.
    """
    cell = crowd.item.astype(np.int64) * crowd.n_classes + crowd.label
    total = np.bincount(cell, weights=weight[crowd.worker], minlength=plain.size).reshape(plain.shape)
    of_item = total.sum(axis=1, keepdims=True)
    return keep_gold(crowd, np.divide(total, of_item, out=plain.copy(), where=of_item > 0))
