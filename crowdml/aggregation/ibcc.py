"""IBCC: Dawid-Skene with prior distributions over the confusion matrices and the class prior, by variational Bayes.

H.-C. Kim and Z. Ghahramani, "Bayesian Classifier Combination", AISTATS 2012, for the model; E. Simpson, S. Roberts, I.
Psorakis and A. Smith, "Dynamic Bayesian Combination of Multiple Imperfect Classifiers", 2013, for the inference.  The
default pseudo-counts come from Y. Li, B. Rubinstein and T. Cohn, ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crowdml.aggregation.aggregator import Aggregation, TieRule, check_least, check_positive, checked, first_posterior
from crowdml.aggregation.inference import dirichlet
from crowdml.aggregation.inference.em_loop import NO_KNOWLEDGE, PriorKnowledge, WorkerEstimates, fit_em
from crowdml.aggregation.inference.kernels import Tables
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Float, Space


@dataclass(frozen=True)
class Ibcc(TieRule):
    """Independent Bayesian classifier combination: one confusion matrix per worker, with a Dirichlet prior per row.

    In the approximate posterior, the labels, the matrices and the class prior are independent.  Variational Bayes
    updates them in turn, to maximise the lower bound of the log evidence.

    Args:
        diagonal, off_diagonal: pseudo-counts per class, of right answers and of each wrong answer.
        class_pseudo_count: pseudo-count of each class, in the Dirichlet prior of the class prior.
        max_iter, tol: stop after max_iter iterations, or when no posterior probability changes by more than tol.
    """

    diagonal: float = 4.0
    off_diagonal: float = 1.0
    class_pseudo_count: float = 1.0
    max_iter: int = 500
    tol: float = 1e-5

    SPACE: ClassVar[Space] = {
        "diagonal": Float(0.5, 20, log=True),
        "off_diagonal": Float(0.1, 5, log=True),
        "class_pseudo_count": Float(0.1, 10, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "diagonal", "off_diagonal", "class_pseudo_count")
        check_least(self, 1, "max_iter")

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run variational Bayes, starting from the vote shares.

        Args:
            crowd: the annotations.  A worker's history is added to the worker's pseudo-counts.
            prior: (n_classes,) or (n_items, n_classes), normalised here; replaces the distribution of the class prior.

        Returns:
            The Aggregation; `objective` is the lower bound of the log evidence (for gold items, jointly with their
            class).  `confusion` and `worker_quality` are posterior means.
        """
        posterior, fit, workers = fit_em(self, crowd, prior)
        if prior is None:
            dirichlet.fill_unlabelled(crowd, posterior, workers.class_prior)
        return self.conclude(crowd, posterior, **workers._asdict(), converged=fit.converged, objective=fit.objective)

    @property
    def hard(self) -> bool:
        """False: the posteriors are never rounded.  See `EmMethod`."""
        return False

    def start(self, crowd: CrowdLabels, prior: Array | None = None) -> Array:
        """Return the (n_items, n_classes) posterior before the first update."""
        return first_posterior(crowd, prior)

    def m_step(self, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE) -> Tables:
        """Compute the distributions of matrices and class prior from expected counts; see `EmMethod`."""
        pseudo_counts = self._pseudo_counts(len(class_counts), known)
        rows = dirichlet.update(pseudo_counts, counts)
        class_pseudo_counts = np.full(len(class_counts), self.class_pseudo_count)
        log_prior, class_bound = dirichlet.expected_log_prior(class_counts, class_pseudo_counts, known.prior)
        return Tables(
            dirichlet.mean(rows.parameters),
            self._class_prior(class_counts, known),
            rows.expected_log,
            log_prior,
            float(dirichlet.minus_divergence(rows, counts).sum() + class_bound),
        )

    def workers(
        self, tables: Tables, counts: Array, class_counts: Array, known: PriorKnowledge = NO_KNOWLEDGE
    ) -> WorkerEstimates:
        """Return posterior means and intervals from the last counts; see `EmMethod`."""
        parameters = self._pseudo_counts(len(class_counts), known) + counts
        marginal = np.atleast_2d(self._class_prior(class_counts, known)).mean(axis=0)
        quality = dirichlet.quality(*dirichlet.diagonal_moments(parameters), marginal)
        return WorkerEstimates(dirichlet.mean(parameters), marginal, **quality)

    def _pseudo_counts(self, n_classes: int, known: PriorKnowledge) -> Array:
        prior = dirichlet.diagonal_heavy(n_classes, self.diagonal, self.off_diagonal)
        return prior if known.history is None else prior + known.history

    def _class_prior(self, class_counts: Array, known: PriorKnowledge) -> Array:
        return dirichlet.mean(self.class_pseudo_count + class_counts) if known.prior is None else known.prior
