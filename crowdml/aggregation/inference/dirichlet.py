"""Dirichlet posteriors for variational methods: expected logarithms, marginal likelihoods, Beta marginals.

A table of parameters holds one distribution along its last axis.  The digamma and log-gamma functions of all cells take
much of the time of these methods.  So one series computes both functions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy import stats
from scipy.special import gammaln

from crowdml.aggregation.inference.confusion import FLOOR
from crowdml.aggregation.inference.prior_and_gold import keep_gold
from crowdml.aggregation.inference.threads import cut, run_parts
from crowdml.labels import Array, CrowdLabels

SHIFT = 10
"""The series is summed at x + SHIFT, where its first omitted term is below 1e-14."""

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Update(NamedTuple):
    """Dirichlet posteriors for given prior pseudo-counts and expected counts.

    Attributes:
        parameters: (..., n) prior plus counts.
        expected_log: (..., n) expected logarithm of each probability.
        log_marginal: (...,) log probability, under the prior, of one sequence with these counts.
    """

    parameters: Array
    expected_log: Array
    log_marginal: Array


def update(prior: Array, counts: Array) -> Update:
    """Return the posteriors.  The prior (above 0) and the counts (at least 0) broadcast."""
    parameters = np.ascontiguousarray(prior + counts)
    expected_log = np.empty_like(parameters)
    log_normaliser = np.empty(parameters.shape[:-1])
    n = parameters.shape[-1]
    tables = parameters.reshape(-1, n), expected_log.reshape(-1, n), log_normaliser.reshape(-1)
    rows = np.arange(len(tables[0]) + 1)
    # A cell costs as much as about 30 multiplications.
    run_parts(lambda *part: _expect_logs(*(table[slice(*part)] for table in tables)), cut(rows, 30 * n, 0))
    return Update(parameters, expected_log, log_normaliser - log_beta(prior))


def minus_divergence(posterior: Update, counts: Array) -> Array:
    """Return (...,) the part of the bound: minus the Kullback-Leibler divergence of each posterior from its prior."""
    return posterior.log_marginal - (counts * posterior.expected_log).sum(axis=-1)


def log_beta(parameters: Array) -> Array:
    """Return (...,) the logarithm of the multivariate Beta function, the normaliser of a Dirichlet distribution."""
    return gammaln(parameters).sum(axis=-1) - gammaln(parameters.sum(axis=-1))


def mean(parameters: Array) -> Array:
    """Return (..., n) the expected probabilities."""
    return parameters / parameters.sum(axis=-1, keepdims=True)


def diagonal_moments(parameters: Array) -> tuple[Array, Array]:
    """Return mean and variance, both (..., n), of the Beta marginals on the diagonal of (..., n, n) parameters."""
    total = parameters.sum(axis=-1)
    share = np.diagonal(parameters, axis1=-2, axis2=-1) / total
    return share, share * (1 - share) / (total + 1)


def quality(share: Array, variance: Array, class_prior: Array) -> dict[str, Any]:
    """Return the quality arguments of `TieRule.conclude`.  The quality is sum_c p(c) P(label c | true class c).

    Args:
        share, variance: (n_workers, n_classes) mean and variance of P(label c | true class c), independent over c.
    """
    expected, spread = share @ class_prior, variance @ class_prior**2
    return {"quality": expected, "quality_se": np.sqrt(spread), "quality_interval": beta_interval(expected, spread)}


def expected_log_prior(class_counts: Array, pseudo_counts: Array, fixed_prior: Array | None) -> tuple[Array, float]:
    """Return the expected logarithm of the class prior, and the part of the bound that comes from the class prior.

    Args:
        class_counts, pseudo_counts: (n_classes,) expected numbers of items, and parameters of their Dirichlet prior.
        fixed_prior: (n_classes,), (n_items, n_classes) or None.  If given, return its logarithm, in its shape.
    """
    if fixed_prior is not None:
        return np.log(np.maximum(fixed_prior, FLOOR)), 0.0
    classes = update(pseudo_counts, class_counts)
    return classes.expected_log, float(minus_divergence(classes, class_counts))


def fill_unlabelled(crowd: CrowdLabels, posterior: Array, class_prior: Array) -> Array:
    """Set the posterior of items without labels to the class prior, in place, and return the posterior.

    For these items, mean-field inference gives the exponential of the expected logarithms, which differs slightly from
    the mean.  The posterior is (n_items, n_classes), the class prior (n_classes,) or (n_items, n_classes).
    """
    empty = crowd.labels_per_item == 0
    posterior[empty] = class_prior if class_prior.ndim == 1 else class_prior[empty]
    return keep_gold(crowd, posterior)


def diagonal_heavy(n_classes: int, diagonal: float, off_diagonal: float) -> Array:
    """Return (n_classes, n_classes) pseudo-counts of right and wrong answers."""
    return np.where(np.eye(n_classes, dtype=bool), diagonal, off_diagonal)


@njit(cache=True, nogil=True, error_model="numpy")
def _expect_logs(parameters, expected_log, log_normaliser):
    for row in range(len(parameters)):
        psi_of_total, log_gamma_of_total = _digamma_and_log_gamma(parameters[row].sum())
        log_normaliser[row] = -log_gamma_of_total
        for cell in range(parameters.shape[1]):
            psi, log_gamma_of_cell = _digamma_and_log_gamma(parameters[row, cell])
            expected_log[row, cell] = psi - psi_of_total
            log_normaliser[row] += log_gamma_of_cell


@njit(cache=True, nogil=True, error_model="numpy")
def _digamma_and_log_gamma(x):
    """Return both functions of x > 0, to within 1e-13 of max(1, |value|).

    Stirling's series (Abramowitz and Stegun 6.3.18 and 6.1.41), shifted back by gamma(x + 1) = x gamma(x).
    """
    rising, slope = x, 1.0  # x (x + 1) ... (x + SHIFT - 1) and its derivative
    for step in range(1, SHIFT):
        slope = slope * (x + step) + rising
        rising *= x + step
    y = x + SHIFT
    log_y = math.log(y)
    inverse = 1 / y
    square = inverse * inverse
    psi = (
        log_y
        - slope / rising
        - inverse / 2
        - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    )
    log_gamma_of_x = (
        (y - 0.5) * log_y
        - y
        + HALF_LOG_TWO_PI
        + inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
        - math.log(rising)
    )
    return psi, log_gamma_of_x


def beta_interval(mean: Array, variance: Array) -> Array:
    """Return the (..., 2) central 95 % intervals of Beta distributions.  With zero variance, both ends are the mean."""
    sure = variance <= 0
    size = mean * (1 - mean) / np.where(sure, 1, variance) - 1
    levels = [stats.beta.ppf(level, mean * size, (1 - mean) * size) for level in (0.025, 0.975)]
    return np.stack([np.where(sure, mean, level) for level in levels], axis=-1)
