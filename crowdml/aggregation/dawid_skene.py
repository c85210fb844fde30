"""Dawid-Skene: every worker has a confusion matrix, found by EM.

A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28 (1979).  Both steps are products with the crowd's sparse indicator, so that an iteration
costs n_annotations * n_classes multiplications and no array larger than the posterior is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.base import (
    FLOOR,
    Aggregation,
    aggregation_of,
    check_prior,
    normalise_log,
    vote_shares,
)
from crowdml.labels import CrowdLabels

Posterior = NDArray[np.float64]


@dataclass(frozen=True)
class DawidSkene:
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
            objective.append(float(log_evidence.sum()) + self._log_smoothing(confusion))
            if self.hard:
                updated = one_hot(updated.argmax(axis=1), crowd.n_classes)
            converged = bool(np.abs(updated - posterior).max() <= self.tol)
            posterior = updated
            n_iter += 1
        return aggregation_of(
            crowd, posterior, confusion, class_prior, n_iter=n_iter, converged=converged, objective=objective
        )

    def _log_smoothing(self, confusion: NDArray[np.float64]) -> float:
        return self.smoothing * float(np.log(np.maximum(confusion, FLOOR)).sum()) if self.smoothing else 0.0


def one_hot(labels: NDArray[np.integer], n_classes: int) -> Posterior:
    """(n_items, n_classes) with a one at each label."""
    posterior = np.zeros((len(labels), n_classes))
    posterior[np.arange(len(labels)), labels] = 1.0
    return posterior


def given_counts(crowd: CrowdLabels, posterior: Posterior) -> NDArray[np.float64]:
    """(n_workers, n_classes, n_classes) with [w, c, l] the expected number of labels l that w gave to class c."""
    shape = (crowd.n_workers, crowd.n_classes, crowd.n_classes)
    # The transposed view is walked item by item, so the large posterior is read in order and only the small counts are
    # written at random: ten times faster than a transposed copy in row order.
    given_by_true = (crowd.indicator.T @ posterior).reshape(shape)
    return given_by_true.transpose(0, 2, 1)


def estimate_confusion(crowd: CrowdLabels, posterior: Posterior, smoothing: float) -> NDArray[np.float64]:
    """M-step: (n_workers, n_classes, n_classes) with [w, c, l] = P(worker w gives label l | true class c).

    A row without any weight (a worker who saw nothing of that class, and no smoothing) becomes uniform.
    """
    counts = given_counts(crowd, posterior) + smoothing
    total = counts.sum(axis=2, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), 1 / crowd.n_classes)


def infer_posterior(
    crowd: CrowdLabels, confusion: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[Posterior, NDArray[np.float64]]:
    """E-step, in the log domain.

    Args:
        confusion: (n_workers, n_classes, n_classes) as `estimate_confusion` gives.
        prior: (n_classes,) or (n_items, n_classes).

    Returns:
        The posterior (n_items, n_classes) and the log likelihood of each item's annotations (n_items,).
    """
    log_likelihood = np.log(np.maximum(confusion, FLOOR)).transpose(0, 2, 1).reshape(-1, crowd.n_classes)
    log_posterior = crowd.indicator @ log_likelihood
    log_posterior += np.log(np.maximum(prior, FLOOR))
    return normalise_log(log_posterior)
