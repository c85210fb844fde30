"""Majority vote."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import Aggregation, TieRule, agreement, break_ties, vote_shares
from crowdml.aggregation.inference.confusion import one_hot
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class MajorityVote(TieRule):
    """The class that most workers gave.  The posterior holds the vote shares.

    The published tables of the LABNET paper agree with ties="lowest".
    """

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Vote.  A prior (n_classes,) or (n_items, n_classes) is used only for items without annotations."""
        shares = vote_shares(crowd, check_prior(prior, crowd))
        labels = break_ties(shares, crowd, self.ties, self.seed)
        return self.conclude(crowd, shares, quality=agreement(crowd, one_hot(labels, crowd.n_classes)))
