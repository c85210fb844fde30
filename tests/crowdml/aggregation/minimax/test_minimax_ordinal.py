from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from crowdml.aggregation.minimax.minimax_conditional import MinimaxConditional
from crowdml.aggregation.minimax.minimax_ordinal import MinimaxOrdinal, Thresholds
from crowdml.labels import CrowdLabels
from tests.crowds import crowds, real_crowd

Array = np.ndarray


def test_logits_by_hand() -> None:
    # Three classes, thresholds 1 and 2; terms of (s=1, below), (s=1, at least), (s=2, below), (s=2, at least).
    term = np.array([[1.0, 2.0, 4.0, 8.0]])
    rows = Thresholds(3).logits(term)[0]
    # Class 0 is below both thresholds.  Class 1 is at least 1 and below 2.  Class 2 is at least both.
    expected = np.array([[-1 - 4, 1 - 4, 1 + 4], [-2 - 4, 2 - 4, 2 + 4], [-2 - 8, 2 - 8, 2 + 8]]) / np.sqrt(2)
    assert rows - rows.mean(axis=1, keepdims=True) == pytest.approx(expected - expected.mean(axis=1, keepdims=True))


def features(n_classes: int) -> Array:
    """Return (n_classes, n_classes, n_features): the change of the logit [c, l] for a term of one."""
    thresholds = Thresholds(n_classes)
    return thresholds.logits(np.eye(thresholds.n_features)).transpose(1, 2, 0)


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_a_newton_step_solves_the_bounding_curvature_and_is_shortened(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    thresholds = Thresholds(n_classes)
    term = rng.normal(size=(4, thresholds.n_features))
    weight = rng.uniform(0, 5, (4, n_classes))
    weight[0, 0] = 0  # a class that never occurred
    expected = weight[:, :, None] * softmax(thresholds.logits(term), axis=2)
    given = weight[:, :, None] * rng.dirichlet(np.ones(n_classes), (4, n_classes))
    moved = term.copy()
    largest = thresholds.step(moved, expected, given, 0.3)
    basis, spreads = features(n_classes), []
    for index in range(4):
        hessian = 0.3 * np.eye(thresholds.n_features)
        for c in range(n_classes):
            mean = expected[index, c]
            curvature = np.diag(mean) - np.outer(mean, mean) / max(mean.sum(), 1e-300)
            hessian += basis[c].T @ curvature @ basis[c]
        gradient = np.einsum("cl,clf->f", given[index] - expected[index], basis) - 0.3 * term[index]
        step = np.linalg.solve(hessian, gradient)
        spreads.append(np.ptp(basis @ step, axis=1).max())
        assert moved[index] == pytest.approx(term[index] + step * np.log1p(spreads[-1]) / spreads[-1])
    assert largest == pytest.approx(max(spreads))


@given(crowds(max_classes=2))
def test_with_two_classes_it_is_the_conditional_form(crowd: CrowdLabels) -> None:
    # The two forms shorten steps differently.  At the end of the M-step they agree within SETTLED.
    ours, theirs = (form(max_iter=10, tol=0, inner_iter=50).fit(crowd) for form in (MinimaxOrdinal, MinimaxConditional))
    assert ours.posterior == pytest.approx(theirs.posterior, abs=1e-3)
    assert ours.objective == pytest.approx(theirs.objective, abs=1e-4)


@given(crowds(), st.booleans(), st.integers(0, 2**32 - 1))
def test_items_and_workers_in_another_order_and_classes_reversed(crowd, reverse: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    workers, items = rng.permutation(crowd.n_workers), rng.permutation(crowd.n_items)
    dense = crowd.to_dense()
    turned = np.where(dense >= 0, crowd.n_classes - 1 - dense, -1) if reverse else dense
    method = MinimaxOrdinal(max_iter=10, tol=0)
    ours = method.fit(crowd)
    theirs = method.fit(CrowdLabels.from_dense(turned[items][:, workers], n_classes=crowd.n_classes))
    posterior = theirs.posterior[:, ::-1] if reverse else theirs.posterior
    assert posterior == pytest.approx(ours.posterior[items], abs=1e-6)
    assert theirs.worker_quality == pytest.approx(ours.worker_quality[workers], abs=1e-6, nan_ok=True)


def ratings(n_items: int, per_item: int, seed: int) -> tuple[CrowdLabels, Array]:
    """Simulate workers of different quality who err by one step, on a scale of five."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, n_items)
    quality = np.linspace(0.2, 0.9, 40)
    dense = np.full((n_items, 40), -1)
    for item in range(n_items):
        chosen = rng.choice(40, per_item, replace=False)
        wrong = rng.random(per_item) > quality[chosen]
        dense[item, chosen] = np.clip(truth[item] + wrong * rng.choice([-1, 1], per_item), 0, 4)
    return CrowdLabels.from_dense(dense, n_classes=5), truth


@pytest.mark.parametrize("seed", [1, 2])
def test_on_few_ratings_thresholds_withstand_a_penalty_that_overwhelms_matrices(seed: int) -> None:
    crowd, truth = ratings(600, 3, seed)
    ordinal, conditional, vote = (
        (labels != truth).mean()
        for labels in (
            MinimaxOrdinal(lambda_worker=0.25 * 5**2).fit(crowd).labels,
            MinimaxConditional(lambda_worker=0.25 * 5**2).fit(crowd).labels,
            crowd.votes.argmax(axis=1),
        )
    )
    assert ordinal < vote - 0.05 < conditional


# Ratings of web pages on five levels: the ordinal form is the best of the family, as in the papers.
def test_known_error_on_real_ratings(data_root) -> None:
    crowd, gold, known = real_crowd(data_root, "web")
    result = MinimaxOrdinal().fit(crowd)
    assert result.converged
    assert 100 * (result.labels != gold)[known].mean() == pytest.approx(10.29, abs=0.1)
