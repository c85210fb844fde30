from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from crowdml.aggregation.inference import dirichlet


def test_logs_agree_with_scipy() -> None:
    counts = 10 ** np.random.default_rng(0).uniform(-3, 4, (500, 20, 4))
    posterior = dirichlet.update(np.full(4, 1e-3), counts)
    total = posterior.parameters.sum(axis=-1)
    expected = special.digamma(posterior.parameters) - special.digamma(total)[..., None]
    assert posterior.expected_log == pytest.approx(expected, rel=1e-10)
    log_beta = special.gammaln(posterior.parameters).sum(axis=-1) - special.gammaln(total)
    log_beta_of_prior = 4 * special.gammaln(1e-3) - special.gammaln(4e-3)
    assert posterior.log_marginal == pytest.approx(log_beta - log_beta_of_prior, rel=1e-10)


def test_update_and_divergence_by_hand() -> None:
    prior, counts = np.array([4.0, 1.0, 1.0]), np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    posterior = dirichlet.update(prior, counts)
    # P(0) P(0 | 0) P(2 | 0, 0) = 4/6 * 5/7 * 1/8; the second row has no answers.
    assert np.exp(posterior.log_marginal) == pytest.approx([4 / 6 * 5 / 7 / 8, 1])
    draws = np.random.default_rng(0).dirichlet([6, 1, 2], 200_000)
    assert posterior.expected_log[0] == pytest.approx(np.log(draws).mean(axis=0), abs=0.02)
    log_ratio = stats.dirichlet.logpdf(draws.T, [6, 1, 2]) - stats.dirichlet.logpdf(draws.T, prior)
    assert -dirichlet.minus_divergence(posterior, counts) == pytest.approx([log_ratio.mean(), 0], abs=0.01)


def test_the_quality_has_the_moments_of_beta_marginals() -> None:
    # P(0 | 0) ~ Beta(4, 2), P(1 | 1) ~ Beta(3, 3).
    share, variance = dirichlet.diagonal_moments(np.array([[[4.0, 2.0], [3.0, 3.0]]]))
    assert share.tolist() == [[pytest.approx(2 / 3), 0.5]]
    assert variance == pytest.approx(np.array([[stats.beta.var(4, 2), stats.beta.var(3, 3)]]))
    of_first_class = dirichlet.quality(share, variance, np.array([1.0, 0.0]))
    assert of_first_class["quality_interval"][0] == pytest.approx(stats.beta.interval(0.95, 4, 2))
    assert of_first_class["quality_se"] == pytest.approx([stats.beta.std(4, 2)])
