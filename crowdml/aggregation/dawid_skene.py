"""Dawid-Skene: every worker has a confusion matrix, estimated by EM.

A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied
Statistics 28 (1979).  The simpler worker models have the same E-step.  Their M-step turns the same expected counts into
matrices with fewer parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import (
    Aggregation,
    TieRule,
    check_choice,
    check_least,
    checked,
    first_posterior,
    quality_error,
)
from crowdml.aggregation.inference.confusion import FLOOR, even_errors, normalise_rows, one_hot
from crowdml.aggregation.inference.em_loop import NO_KNOWLEDGE, PriorKnowledge, WorkerEstimates, fit_em
from crowdml.aggregation.inference.kernels import Tables
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Choice, Float, Space

WorkerModel = Literal["confusion", "class_one_coin", "one_coin", "homogeneous"]


@dataclass(frozen=True)
class DawidSkene(TieRule):
    """Dawid-Skene EM, soft or hard, maximum likelihood or maximum a posteriori.

    Args:
        worker_model: the parameters of a worker.  "confusion": a confusion matrix.  "class_one_coin": one accuracy per
            class, with evenly spread wrong labels.  "one_coin": one accuracy (ZenCrowd; G. Demartini et al., WWW 2012).
            "homogeneous": one matrix for all workers.
        hard: in every M-step, put the whole weight of an item on its most probable class (classification EM).
        init: the first posterior.  "votes": the vote shares.  "majority": certainty for the majority label (ties go to
            the lowest class index).  Gold labels and histories correct both.
        smoothing: added to every count of the workers.  Zero is maximum likelihood, which can fail badly on sparse
            crowds.
        diagonal: added to the diagonal of the counts, on top of `smoothing`.  With both, the M-step is the mode under a
            Dirichlet prior of 1 + smoothing, and of 1 + smoothing + diagonal for right answers.
        class_prior: "estimated" updates the class prior in every M-step, "uniform" keeps it uniform.  A prior passed to
            `fit` replaces both and stays fixed.
        max_iter, tol: stop after max_iter iterations, or when no posterior probability changes by more than tol.
        device: "cpu" runs in threads.  Another torch device holds crowd and posterior, which is faster on a GPU.
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

    SPACE: ClassVar[Space] = {
        "worker_model": Choice(*get_args(WorkerModel)),
        "hard": Choice(False, True),
        "init": Choice("votes", "majority"),
        "smoothing": Float(1e-4, 1, log=True),
        "diagonal": Float(0, 2),
        "class_prior": Choice("estimated", "uniform"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.worker_model not in get_args(WorkerModel):
            raise ValueError(f"worker_model must be one of {get_args(WorkerModel)}, got {self.worker_model!r}")
        check_choice(self, "init", "votes", "majority")
        check_choice(self, "class_prior", "estimated", "uniform")
        check_least(self, 0, "smoothing", "diagonal")
        check_least(self, 1, "max_iter")

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run EM.

        Args:
            prior: (n_classes,) or (n_items, n_classes), normalised here; stays fixed.

        Returns:
            The Aggregation; `objective` is the log likelihood of the annotations plus the log density of the
            pseudo-counts (smoothing, diagonal and histories), read as Dirichlet parameters minus one.  The objective of
            the soft method never falls.
        """
        posterior, fit, workers = fit_em(self, crowd, prior, self.device)
        return self.conclude(crowd, posterior, **workers._asdict(), converged=fit.converged, objective=fit.objective)

    def start(self, crowd: CrowdLabels, prior: Array | None = None) -> Array:
        """Return the (n_items, n_classes) posterior before the first M-step."""
        posterior = first_posterior(crowd, prior)
        certain = self.init == "majority" or self.hard
        return one_hot(posterior.argmax(axis=1), crowd.n_classes) if certain else posterior

    def m_step(self, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE) -> Tables:
        """Estimate matrices and class prior from expected counts; see `EmMethod`."""
        pseudo_counts = self.pseudo_counts(len(class_counts), known.history)
        confusion = self.confusion_from(counts + pseudo_counts)
        class_prior = self.class_prior_from(class_counts) if known.prior is None else known.prior
        log_confusion = np.log(np.maximum(confusion, FLOOR))
        log_prior = np.log(np.maximum(class_prior, FLOOR))
        return Tables(confusion, class_prior, log_confusion, log_prior, float((pseudo_counts * log_confusion).sum()))

    def workers(
        self, tables: Tables, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE
    ) -> WorkerEstimates:
        """Return the matrices of the last M-step, with standard errors from the last counts; see `EmMethod`."""
        marginal = np.atleast_2d(tables.class_prior).mean(axis=0)
        quality = np.diagonal(tables.confusion, axis1=1, axis2=2) @ marginal
        seen = counts if known.history is None else counts + known.history
        error = quality_error(np.diagonal(seen, axis1=1, axis2=2), seen.sum(axis=2), marginal)
        return WorkerEstimates(tables.confusion, marginal, quality, error, None)

    def pseudo_counts(self, n_classes: int, history: Array | None = None) -> Array:
        """Return the pseudo-counts (n_classes, n_classes), or one such matrix per worker if there are histories."""
        prior = self.smoothing + self.diagonal * np.eye(n_classes)
        return prior if history is None else prior + history

    def confusion_from(self, counts: Array) -> Array:
        """Return the matrices (n_workers, n_classes, n_classes) of the worker model, from counts of that shape."""
        if self.worker_model == "confusion":
            return normalise_rows(counts)
        if self.worker_model == "homogeneous":
            return np.broadcast_to(normalise_rows(counts.sum(axis=0)), counts.shape)
        right, total = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
        if self.worker_model == "one_coin":
            right, total = (np.broadcast_to(part.sum(axis=1, keepdims=True), total.shape) for part in (right, total))
        n_classes = counts.shape[-1]
        return even_errors(np.where(total > 0, right / np.where(total > 0, total, 1), 1 / n_classes), n_classes)

    def class_prior_from(self, class_counts: Array) -> Array:
        """Return the (n_classes,) class probabilities, from the expected number of items per class."""
        if self.class_prior == "uniform":
            return np.full(len(class_counts), 1 / len(class_counts))
        return class_counts / class_counts.sum()
