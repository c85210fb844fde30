"""Dawid-Skene: every worker has a confusion matrix, found by EM.

A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28 (1979).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.base import Aggregation, TieRule, check_prior, vote_shares
from crowdml.aggregation.confusion import FLOOR, estimate_confusion, infer_posterior, one_hot
from crowdml.labels import CrowdLabels


@dataclass(frozen=True)
class DawidSkene(TieRule):
    """Dawid-Skene EM, soft or hard.

    Args:
        hard: put each item's whole weight on its most probable class in every M-step (classification EM).
        init: the first posterior: "votes" are the vote shares, "majority" the majority label (ties to the lowest
            class index) as certain.
        smoothing: added to every cell of the workers' counts before their rows are normalised.  Zero is maximum
            likelihood, which can fail badly on sparse crowds.
        class_prior: "estimated" re-estimates it in every M-step, "uniform" keeps it flat.  A prior passed to `fit`
            replaces both and stays as it is.
        max_iter: number of EM iterations at most.
        tol: stop when no posterior probability moves by more than this.
    """

    hard: bool = False
    init: Literal["votes", "majority"] = "votes"
    smoothing: float = 0.01
    class_prior: Literal["estimated", "uniform"] = "estimated"
    max_iter: int = 100
    tol: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in ("votes", "majority"):
            raise ValueError(f'init must be "votes" or "majority", got {self.init!r}')
        if self.class_prior not in ("estimated", "uniform"):
            raise ValueError(f'class_prior must be "estimated" or "uniform", got {self.class_prior!r}')
        if not self.smoothing >= 0:
            raise ValueError(f"smoothing must not be negative, got {self.smoothing}")
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM.

        Args:
            crowd: the annotations.
            prior: (n_classes,) or (n_items, n_classes), normalised here; kept fixed.

        Returns:
            The Aggregation; `objective` is the log likelihood of the annotations (plus the log density of the
            smoothing, seen as a Dirichlet prior of 1 + smoothing, so that it never falls for the soft method).
        """
        fixed_prior = check_prior(prior, crowd)
        posterior = vote_shares(crowd, fixed_prior)
        if self.init == "majority" or self.hard:
            posterior = one_hot(posterior.argmax(axis=1), crowd.n_classes)
        objective: list[float] = []
        converged, n_iter = False, 0
        class_prior = np.full(crowd.n_classes, 1 / crowd.n_classes)
        confusion = np.empty(0)
        while n_iter < self.max_iter and not converged:
            confusion = estimate_confusion(crowd, posterior, self.smoothing)
            if fixed_prior is not None:
                class_prior = fixed_prior
            elif self.class_prior == "estimated":
                class_prior = posterior.mean(axis=0)
            updated, log_evidence = infer_posterior(crowd, confusion, class_prior)
            objective.append(float(log_evidence.sum()) + self._log_prior(crowd, confusion))
            if self.hard:
                updated = one_hot(updated.argmax(axis=1), crowd.n_classes)
            converged = bool(np.abs(updated - posterior).max() <= self.tol)
            posterior = updated
            n_iter += 1
        return self.conclude(
            crowd,
            posterior,
            class_prior,
            confusion=confusion,
            n_iter=n_iter,
            converged=converged,
            objective=objective,
        )

    def _log_prior(self, crowd: CrowdLabels, confusion: NDArray[np.float64]) -> float:
        pseudo_counts = self.smoothing if crowd.history is None else self.smoothing + crowd.history
        return float((pseudo_counts * np.log(np.maximum(confusion, FLOOR))).sum())
