"""Worker agreement with aggregate (Wawa): vote, weight each worker by the agreement with the vote, vote again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, checked, sparse_cells, with_known_items
from crowdml.aggregation.inference import posteriors
from crowdml.aggregation.inference.kernels import TIED
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import Array, CrowdLabels


@dataclass(frozen=True)
class Wawa(TieRule):
    """The weighted majority vote, in which a worker's weight is the agreement with the unweighted vote.

    The posterior holds shares of the weight, and `worker_quality` is the weight.  Crowdsourcing platforms use this
    method, which has no paper.
    """

    IS_VOTE: ClassVar[bool] = True

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return sparse_cells(sizes)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Vote twice.

        Args:
            crowd: the annotations.  Gold items keep their class in both votes.  Right answers in a worker's history
                count as agreement, wrong answers as disagreement.
            prior: (n_classes,) or (n_items, n_classes), used only for items without annotations.
        """
        vote = WeightedVote(crowd, check_prior(prior, crowd))
        weight = vote.agreement(vote.shares())
        return self.conclude(crowd, vote.shares(weight), quality=weight)


class WeightedVote:
    """Votes of one crowd with different weights of the workers.  The shares are sparse."""

    def __init__(self, crowd: CrowdLabels, prior: Array | None) -> None:
        self._crowd, self._prior = crowd, prior
        self._votes = posteriors.count_votes(crowd)

    def shares(self, weight: Array | None = None) -> sp.csr_array:
        """Return the (n_items, n_classes) share of the workers' weight per class.  Gold items are certain.

        Args:
            weight: (n_workers,) not negative.  An item whose workers all have weight 0 gets the shares of votes with
                equal weights, which is also the meaning of None.
        """
        votes = posteriors.normalised(self._votes)
        if weight is not None:
            votes = posteriors.normalised(posteriors.add_weights(self._crowd, self._votes, weight), votes)
        return with_known_items(self._crowd, votes, self._prior)

    def agreement(self, shares: sp.csr_array) -> Array:
        """Return the (n_workers,) share of each worker's labels that agree with the item's best class.

        The best class has the largest share.  If k classes have the largest share, each counts 1 / k.  Histories are
        included.  A worker without answers gets zero.
        """
        crowd = self._crowd
        right = posteriors.agreement_with_best(crowd, shares, TIED)
        total = crowd.labels_per_worker.astype(np.float64)
        if crowd.history is not None:
            right += crowd.history.trace(axis1=1, axis2=2)
            total += crowd.history.sum(axis=(1, 2))
        return np.divide(right, total, out=np.zeros(crowd.n_workers), where=total > 0)
