"""Majority vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.base import Aggregation, agreement, check_prior, vote_shares
from crowdml.labels import CrowdLabels

Ties = Literal["lowest", "random"]


@dataclass(frozen=True)
class MajorityVote:
    """The class most workers gave.

    The posterior holds the vote shares, so a tie stays visible there; `labels` breaks it.

    Args:
        ties: "lowest" takes the lowest class index (what the LABNET tables fit), "random" draws among the tied.
        seed: of the random draw.
    """

    ties: Ties = "lowest"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.ties not in ("lowest", "random"):
            raise ValueError(f'ties must be "lowest" or "random", got {self.ties!r}')

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Vote.  A prior (n_classes,) or (n_items, n_classes) only speaks for items without annotations."""
        checked = check_prior(prior, crowd)
        shares = vote_shares(crowd, checked)
        labels = break_ties(shares, self.ties, np.random.default_rng(self.seed))
        return Aggregation(
            posterior=shares,
            labels=labels,
            class_prior=shares.mean(axis=0),
            worker_quality=agreement(crowd, np.eye(crowd.n_classes)[labels]),
            n_unlabelled=int((crowd.labels_per_item == 0).sum()),
        )


def break_ties(scores: NDArray[np.float64], ties: Ties, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n_items,) the best class of each row of (n_items, n_classes) scores, equal ones by the rule."""
    if ties == "lowest":
        return scores.argmax(axis=1)
    best = scores == scores.max(axis=1, keepdims=True)
    return np.where(best, rng.random(scores.shape), -1.0).argmax(axis=1)


def vote_error(crowd: CrowdLabels, truth: NDArray[np.integer], items: NDArray[np.bool_] | None = None) -> float:
    """Share of wrong majority labels when a tie of k classes counts 1/k (the fractional convention).

    Args:
        truth: (n_items,) true classes.
        items: (n_items,) which items count; by default all.
    """
    best = crowd.votes == crowd.votes.max(axis=1, keepdims=True)
    credit = best[np.arange(crowd.n_items), truth] / best.sum(axis=1)
    return float(1 - credit[items if items is not None else slice(None)].mean())
