"""Majority vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.base import Aggregation, TieRule, agreement, break_ties, check_prior, vote_shares
from crowdml.aggregation.confusion import one_hot
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class MajorityVote(TieRule):
    """The class most workers gave.

    The posterior holds the vote shares, so a tie stays visible there; `labels` breaks it by the rule of `ties` (the
    LABNET tables fit "lowest").
    """

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Vote.  A prior (n_classes,) or (n_items, n_classes) only speaks for items without annotations."""
        shares = vote_shares(crowd, check_prior(prior, crowd))
        labels = break_ties(shares, crowd, self.ties, self.seed)
        return self.conclude(crowd, shares, quality=agreement(crowd, one_hot(labels, crowd.n_classes)))


def vote_error(crowd: CrowdLabels, truth: NDArray[np.integer], items: NDArray[np.bool_] | None = None) -> float:
    """Share of wrong majority labels when a tie of k classes counts 1/k (the fractional convention).

    Args:
        truth: (n_items,) true classes.
        items: (n_items,) which items count; by default all.
    """
    best = crowd.votes == crowd.votes.max(axis=1, keepdims=True)
    credit = best[np.arange(crowd.n_items), truth] / best.sum(axis=1)
    return float(1 - credit[items if items is not None else slice(None)].mean())
