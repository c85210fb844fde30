"""Zero-based skill: update the weighted vote and the workers' weights in turn, with a decreasing learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import Aggregation, Sizes, TieRule, check_least, checked, sparse_cells
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.aggregation.wawa import WeightedVote
from crowdml.labels import CrowdLabels
from crowdml.support.search_space import Float, Space, Whole

AT_REST = 1e-12
"""A change of the skills of at most this is a rounding error, and cannot change a label."""


@dataclass(frozen=True)
class ZeroBasedSkill(TieRule):
    """A weighted vote, in which the weight (skill) of a worker moves towards the worker's agreement with this vote.

    The steps are skill_w <- skill_w + rate (agreement_w - skill_w), as in Toloka's crowd-kit.

    Args:
        learning_rate: rate of the first steps, in (0, 1].
        reduce_every: number of steps after which `reduce_factor` multiplies the rate.
        reduce_factor: in (0, 1].
        eps: every skill starts at 1 / n_classes + eps.
        max_iter: maximum number of steps.  The method stops earlier if a step changes nothing.
    """

    learning_rate: float = 1.0
    reduce_every: int = 20
    reduce_factor: float = 0.5
    eps: float = 1e-5
    max_iter: int = 100

    SPACE: ClassVar[Space] = {
        "learning_rate": Float(0.1, 1),
        "reduce_every": Whole(1, 50),
        "reduce_factor": Float(0.1, 1),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("learning_rate", "reduce_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        check_least(self, 1, "reduce_every", "max_iter")
        check_least(self, 0, "eps")

    IS_VOTE: ClassVar[bool] = True

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return sparse_cells(sizes)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Update vote and skills in turn.

        Args:
            crowd: the annotations.  Gold items keep their class in every vote.  Right answers in a worker's history
                count as agreement, wrong answers as disagreement.
            prior: (n_classes,) or (n_items, n_classes), used only for items without annotations.

        Returns:
            The Aggregation.  The posterior holds shares of the skill, and the worker quality is the skill.
        """
        vote = WeightedVote(crowd, check_prior(prior, crowd))
        skill = np.full(crowd.n_workers, 1 / crowd.n_classes + self.eps)
        rate = self.learning_rate
        n_iter, converged = 0, False
        while n_iter < self.max_iter and not converged:
            n_iter += 1
            if n_iter % self.reduce_every == 0:
                rate *= self.reduce_factor
            step = rate * (vote.agreement(vote.shares(skill)) - skill)
            skill += step
            converged = bool(np.abs(step).max() <= AT_REST)
        return self.conclude(crowd, vote.shares(skill), quality=skill, n_iter=n_iter, converged=converged)
