"""Dawid-Skene: every worker has a confusion matrix, found by EM.

A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28 (1979).  The simpler worker models share its two steps: the E-step is the same, and each M-step
maps the same expected counts to matrices with fewer parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crowdml.aggregation.base import Aggregation, TieRule, check_prior, first_posterior
from crowdml.aggregation.confusion import FLOOR, even_errors, given_counts, normalise_rows, one_hot
from crowdml.aggregation.passes import expectation
from crowdml.labels import CrowdLabels

if TYPE_CHECKING:
    from crowdml.aggregation.on_device import OnDevice

Array = NDArray[np.float64]
WorkerModel = Literal["confusion", "class_one_coin", "one_coin", "homogeneous"]


@dataclass(frozen=True)
class DawidSkene(TieRule):
    """Dawid-Skene EM, soft or hard, maximum likelihood or maximum a posteriori.

    Workers are known by the items they share: where no item has two labels, every confusion matrix explains them
    equally well, and only the pseudo-counts decide (with `diagonal`, for the labels given).

    Args:
        worker_model: what a worker is: "confusion", a matrix of its own; "class_one_coin", one accuracy a class, wrong
            labels spread evenly; "one_coin", one accuracy (ZenCrowd; G. Demartini et al., WWW 2012); "homogeneous",
            one matrix that all workers share.
        hard: put each item's whole weight on its most probable class in every M-step (classification EM).
        init: the first posterior: "votes" are the vote shares, "majority" the majority label (ties to the lowest
            class index) as certain; both corrected by gold labels and histories where there are any.
        smoothing: added to every cell of the workers' counts.  Zero is maximum likelihood, which can fail badly on
            sparse crowds.
        diagonal: added to the diagonal of the counts besides.  Both make the M-step the mode under a Dirichlet prior
            of 1 + smoothing, and 1 + smoothing + diagonal for right answers.
        class_prior: "estimated" re-estimates it in every M-step, "uniform" keeps it flat.  A prior passed to `fit`
            replaces both and stays as it is.
        max_iter: number of EM iterations at most.
        tol: stop when no posterior probability moves by more than this.
        device: "cpu" walks the annotations in threads; any other torch device keeps crowd and posterior in its memory,
            which pays on a GPU.
    """

    worker_model: WorkerModel = "confusion"
    hard: bool = False
    init: Literal["votes", "majority"] = "votes"
    smoothing: float = 0.01
    diagonal: float = 0.0
    class_prior: Literal["estimated", "uniform"] = "estimated"
    max_iter: int = 100
    tol: float = 1e-5
    device: str = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.worker_model not in get_args(WorkerModel):
            raise ValueError(f"worker_model must be one of {get_args(WorkerModel)}, got {self.worker_model!r}")
        if self.init not in ("votes", "majority"):
            raise ValueError(f'init must be "votes" or "majority", got {self.init!r}')
        if self.class_prior not in ("estimated", "uniform"):
            raise ValueError(f'class_prior must be "estimated" or "uniform", got {self.class_prior!r}')
        for name in ("smoothing", "diagonal"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")

    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM.

        Args:
            crowd: the annotations.
            prior: (n_classes,) or (n_items, n_classes), normalised here; kept fixed.

        Returns:
            The Aggregation; `objective` is the log likelihood of the annotations plus the log density of the
            pseudo-counts (smoothing, diagonal and the workers' histories), seen as Dirichlet priors of one more, so
            that it never falls for the soft method.
        """
        fixed_prior = check_prior(prior, crowd)
        posterior = self.start(crowd, fixed_prior)
        pseudo_counts = self.pseudo_counts(crowd)
        counts = given_counts(crowd, posterior, history=False)
        class_counts = posterior.sum(axis=0)
        confusion = class_prior = np.empty(0)
        on_device = self._on_device(crowd, posterior)
        objective: list[float] = []
        converged = False
        while len(objective) < self.max_iter and not converged:
            confusion = self.confusion_from(counts + pseudo_counts)
            log_confusion = np.log(np.maximum(confusion, FLOOR))
            class_prior = self.class_prior_from(class_counts) if fixed_prior is None else fixed_prior
            log_prior = np.log(np.maximum(class_prior, FLOOR))
            if on_device is None:
                step = expectation(crowd, log_confusion, log_prior, posterior, hard=self.hard)
            else:
                step = on_device.expectation(log_confusion, log_prior)
            counts, class_counts = step.counts, step.class_counts
            objective.append(step.log_evidence + float((pseudo_counts * log_confusion).sum()))
            converged = step.moved <= self.tol
        return self.conclude(
            crowd,
            posterior if on_device is None else on_device.posterior(),
            class_prior,
            confusion=confusion,
            counts=counts if crowd.history is None else counts + crowd.history,
            n_iter=len(objective),
            converged=converged,
            objective=objective,
        )

    def _on_device(self, crowd: CrowdLabels, posterior: Array) -> OnDevice | None:
        if self.device == "cpu":
            return None
        from crowdml.aggregation.on_device import OnDevice

        return OnDevice(crowd, posterior, self.device, hard=self.hard)

    def start(self, crowd: CrowdLabels, prior: Array | None = None) -> Array:
        """(n_items, n_classes) the posterior before the first M-step."""
        posterior = first_posterior(crowd, prior)
        certain = self.init == "majority" or self.hard
        return one_hot(posterior.argmax(axis=1), crowd.n_classes) if certain else posterior

    def pseudo_counts(self, crowd: CrowdLabels) -> Array:
        """What is added to the expected counts: (n_classes, n_classes), or one such matrix a worker with histories."""
        prior = self.smoothing + self.diagonal * np.eye(crowd.n_classes)
        return prior if crowd.history is None else prior + crowd.history

    def confusion_from(self, counts: Array) -> Array:
        """M-step: (n_workers, n_classes, n_classes) matrices of the worker model from counts of that shape."""
        if self.worker_model == "confusion":
            return normalise_rows(counts)
        if self.worker_model == "homogeneous":
            return np.broadcast_to(normalise_rows(counts.sum(axis=0)), counts.shape)
        right, total = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
        if self.worker_model == "one_coin":
            right, total = (np.broadcast_to(part.sum(axis=1, keepdims=True), total.shape) for part in (right, total))
        n_classes = counts.shape[-1]
        accuracy = np.where(total > 0, right / np.where(total > 0, total, 1), 1 / n_classes)
        return even_errors(accuracy, n_classes)

    def class_prior_from(self, class_counts: Array) -> Array:
        """M-step: (n_classes,) class probabilities from the expected number of items of each class."""
        if self.class_prior == "uniform":
            return np.full(len(class_counts), 1 / len(class_counts))
        return class_counts / class_counts.sum()
