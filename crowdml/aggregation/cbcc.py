"""CBCC: workers belong to a few communities, and the members of a community answer alike.

M. Venanzi, J. Guiver, G. Kazai, P. Kohli and M. Shokouhi, "Community-Based Bayesian Aggregation Models for
Crowdsourcing", WWW 2014.  In the paper, a worker's confusion matrix is the softmax of the community's scores plus
Gaussian noise.  The paper approximates the softmax in variational message passing, which has no bound to monitor.  Here
the rows of a worker's matrix are drawn from Dirichlet distributions of the community.  Their means are the community's
confusion matrix, and their sizes say how closely the members follow this matrix.  This model is conjugate: given the
labels, a worker's matrix is integrated out exactly, and every update raises one bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, entr

from crowdml.aggregation.aggregator import (
    Aggregation,
    Sizes,
    TieRule,
    check_least,
    check_positive,
    checked,
    dense_cells,
    first_posterior,
)
from crowdml.aggregation.inference import dirichlet
from crowdml.aggregation.inference.confusion import given_counts, normalise_log
from crowdml.aggregation.inference.kernels import expectation
from crowdml.aggregation.inference.prior_and_gold import check_prior
from crowdml.labels import Array, CrowdLabels
from crowdml.support.search_space import Float, Space, Whole


@dataclass(frozen=True)
class Cbcc(TieRule):
    """Community-based Bayesian classifier combination, by variational Bayes.

    Worker w belongs to community m_w.  Row c of the worker's confusion matrix has a Dirichlet distribution with the
    community's pseudo-counts b[m_w, c].  In the approximate posterior, the labels, the class prior, the community
    shares, and the (community, matrix) of each worker are independent.  The pseudo-counts maximise the bound (empirical
    Bayes) under a Gamma prior.

    Args:
        n_communities: number of communities.  Communities that no worker needs stay empty.
        diagonal, off_diagonal: default pseudo-counts of a community, for right and wrong answers.
        default_strength: the defaults weigh as much as this number of workers.  (The Gamma prior has this rate, and
            the defaults as its mode.)
        community_pseudo_count: pseudo-count of each community, in the Dirichlet prior of the community shares.
        class_pseudo_count: pseudo-count of each class, in the Dirichlet prior of the class prior.
        max_iter, tol: stop after max_iter iterations, or when no posterior probability changes by more than tol.
    """

    n_communities: int = 3
    diagonal: float = 4.0
    off_diagonal: float = 1.0
    default_strength: float = 1.0
    community_pseudo_count: float = 10.0
    class_pseudo_count: float = 1.0
    max_iter: int = 500
    tol: float = 1e-4

    SPACE: ClassVar[Space] = {
        "n_communities": Whole(1, 10),
        "diagonal": Float(0.5, 20, log=True),
        "off_diagonal": Float(0.1, 5, log=True),
        "default_strength": Float(0.1, 10, log=True),
        "community_pseudo_count": Float(1, 100, log=True),
        "class_pseudo_count": Float(0.1, 10, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "diagonal", "off_diagonal", "default_strength")
        check_positive(self, "community_pseudo_count", "class_pseudo_count")
        check_least(self, 1, "n_communities", "max_iter")

    def peak_cells(self, sizes: Sizes) -> float:
        """See TieRule."""
        return dense_cells(sizes, posteriors=6, matrices=12 + 6 * self.n_communities)

    @checked
    def fit(self, crowd: CrowdLabels, prior: ArrayLike | None = None) -> Aggregation:
        """Run variational Bayes from the vote shares, and from communities at quantiles of the workers' accuracies.

        Args:
            crowd: the annotations.  A worker's history counts as answers of the worker.
            prior: (n_classes,) or (n_items, n_classes), normalised here; replaces the distribution of the class prior.

        Returns:
            The Aggregation; `objective` is the lower bound of the log evidence plus the log density of the communities'
            pseudo-counts, up to a constant.  `confusion` and `worker_quality` are posterior means.
        """
        fixed_prior = check_prior(prior, crowd)
        posterior = first_posterior(crowd, fixed_prior)
        past = 0.0 if crowd.history is None else crowd.history
        counts = given_counts(crowd, posterior, history=False)
        class_counts = posterior.sum(axis=0)
        class_pseudo_counts = np.full(crowd.n_classes, self.class_pseudo_count)
        default = dirichlet.diagonal_heavy(crowd.n_classes, self.diagonal, self.off_diagonal)
        communities = spread_communities(counts + past, default, self.n_communities)
        membership = np.full((crowd.n_workers, self.n_communities), 1 / self.n_communities)
        objective: list[float] = []
        converged = False
        while len(objective) < self.max_iter and not converged:
            before = membership
            membership, shares = self.join(communities, counts + past, membership)
            communities = fit_communities(communities, counts + past, membership, default, self.default_strength)
            workers = dirichlet.update(communities[:, None], counts + past)
            log_confusion = np.einsum("wm,mwcl->wcl", membership, workers.expected_log)
            log_prior, bound = dirichlet.expected_log_prior(class_counts, class_pseudo_counts, fixed_prior)
            bound += float(np.einsum("wm,mwc->", membership, dirichlet.minus_divergence(workers, counts)))
            bound += float(shares.log_marginal + entr(membership).sum())
            bound += self.default_strength * float((default * np.log(communities) - communities).sum())
            step = expectation(crowd, log_confusion, log_prior, posterior)
            objective.append(step.log_evidence + bound)
            counts, class_counts = step.counts, step.class_counts
            converged = max(step.moved, np.abs(membership - before).max()) <= self.tol
        parameters = communities[:, None] + counts + past
        class_prior = dirichlet.mean(class_pseudo_counts + class_counts) if fixed_prior is None else fixed_prior
        right, variance = dirichlet.diagonal_moments(parameters)
        expected = np.einsum("wm,mwc->wc", membership, right)
        spread = np.einsum("wm,mwc->wc", membership, variance + (right - expected) ** 2)
        return self.conclude(
            crowd,
            dirichlet.fill_unlabelled(crowd, posterior, class_prior),
            class_prior,
            confusion=np.einsum("wm,mwcl->wcl", membership, dirichlet.mean(parameters)),
            **dirichlet.quality(expected, spread, np.atleast_2d(class_prior).mean(axis=0)),
            converged=converged,
            objective=objective,
        )

    def join(self, communities: Array, counts: Array, membership: Array) -> tuple[Array, dirichlet.Update]:
        """Return each worker's distribution over communities (n_workers, n_communities), and the shares' posterior."""
        pseudo_counts = np.full(self.n_communities, self.community_pseudo_count)
        shares = dirichlet.update(pseudo_counts, membership.sum(axis=0))
        log_marginal = dirichlet.update(communities[:, None], counts).log_marginal.sum(axis=2)
        membership, _ = normalise_log(log_marginal.T + shares.expected_log)
        return membership, dirichlet.update(pseudo_counts, membership.sum(axis=0))


def spread_communities(counts: Array, default: Array, n_communities: int) -> Array:
    """Return (n_communities, n_classes, n_classes) pseudo-counts of communities, from the least to the most accurate.

    The accuracies are quantiles of the workers' accuracies.  So no community depends on the order of workers or
    classes.  The pseudo-counts have the same sum as the default.

    Args:
        counts: (n_workers, n_classes, n_classes) expected answers [w, true, given].
        default: (n_classes, n_classes) pseudo-counts, which smooth the workers' accuracies.
    """
    n_classes = len(default)
    answers = counts.sum(axis=(1, 2))
    right = np.trace(counts, axis1=1, axis2=2)
    accuracy = ((right + default[0, 0]) / (answers + default[0].sum()))[answers > 0]
    levels = (np.arange(n_communities) + 0.5) / n_communities
    quantiles = np.quantile(accuracy, levels)[:, None, None]
    shares = np.where(np.eye(n_classes, dtype=bool), quantiles, (1 - quantiles) / max(n_classes - 1, 1))
    return default[0].sum() * shares


def fit_communities(communities: Array, counts: Array, membership: Array, default: Array, strength: float) -> Array:
    """Return the communities' pseudo-counts after one fixed-point step.  No step lowers the bound.

    T. Minka, "Estimating a Dirichlet distribution", 2000, for the Polya distribution.  A Gamma prior of mode `default`
    and rate `strength` adds to the numerator and the denominator.

    Args:
        communities: (n_communities, n_classes, n_classes); `default` has the shape of one community.
        counts: (n_workers, n_classes, n_classes) expected answers [w, true, given].
        membership: (n_workers, n_communities).
    """
    parameters = communities[:, None] + counts
    gain = digamma(parameters) - digamma(communities)[:, None]
    total_gain = digamma(parameters.sum(axis=-1)) - digamma(communities.sum(axis=-1))[:, None]
    weight = strength * default + communities * np.einsum("wm,mwcl->mcl", membership, gain)
    return weight / (strength + np.einsum("wm,mwc->mc", membership, total_gain))[..., None]
