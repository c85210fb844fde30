"""Majority vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import (
    ABSTAINED,
    Aggregation,
    Sizes,
    TieRule,
    break_ties,
    checked,
    sparse_cells,
    sparse_shares,
)
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class MajorityVote(TieRule):
    """The class that most workers gave.  The posterior holds the vote shares.

    The published tables of the LABNET paper agree with ties="lowest".
    """

    IS_VOTE: ClassVar[bool] = True

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return sparse_cells(sizes)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Vote.  A prior (n_classes,) or (n_items, n_classes) is used only for items without annotations."""
        shares = sparse_shares(crowd, check_prior(prior, crowd))
        labels = break_ties(shares, crowd, self.ties, self.seed)[crowd.item]
        right = np.bincount(crowd.worker[labels == crowd.label], minlength=crowd.n_workers)
        n_tied = np.bincount(crowd.worker[labels == ABSTAINED], minlength=crowd.n_workers)
        with np.errstate(invalid="ignore"):
            return self.conclude(crowd, shares, quality=right / (crowd.labels_per_worker - n_tied))
