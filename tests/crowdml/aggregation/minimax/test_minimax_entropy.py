from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from crowdml.aggregation.aggregator import Aggregation
from crowdml.aggregation.inference.confusion import given_counts
from crowdml.aggregation.minimax.minimax_em import item_terms_matter
from crowdml.aggregation.minimax.minimax_entropy import MinimaxEntropy
from crowdml.aggregation.minimax.minimax_steps import expected_by_worker, infer, newton_step
from crowdml.labels import CrowdLabels
from tests.crowdml.aggregation.minimax.crowds import expected_by_item
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated

Array = np.ndarray


@pytest.mark.parametrize("item_terms", [True, False])
def test_the_answer_matches_the_marginals_up_to_the_penalty(item_terms: bool) -> None:
    # Stationarity: given - expected = lambda * term.  So the terms determine the answer, and the answer determines the
    # terms.
    crowd, _ = simulated(n_items=60, n_workers=6, n_classes=3)
    method = MinimaxEntropy(lambda_worker=2.0, lambda_item=3.0, item_terms=item_terms, tol=1e-10, max_iter=2000)
    result = method.fit(crowd)
    assert result.converged
    assert result.confusion is not None
    given = given_counts(crowd, result.posterior)
    worker_term = (given - given.sum(axis=2, keepdims=True) * result.confusion) / 2.0
    item_term = np.zeros((60, 1, 3))
    if item_terms:
        for _ in range(50):
            expected = expected_by_item(crowd, result.posterior, worker_term, item_term)
            newton_step(item_term, expected, crowd.votes[:, None, :], 3.0)
        assert np.abs(item_term).max() > 0.1
    expected = expected_by_worker(crowd, result.posterior, worker_term, item_term.__getitem__)
    assert given - expected == pytest.approx(2.0 * worker_term, abs=1e-5)
    posterior, log_evidence = infer(crowd, worker_term, item_term.__getitem__, np.full(3, 1 / 3))
    assert result.posterior == pytest.approx(posterior, abs=1e-5)
    cost = (worker_term**2).sum() + 1.5 * (item_term**2).sum()
    assert result.objective[-1] == pytest.approx(log_evidence.sum() - cost)


def test_the_first_iteration_starts_from_the_majority_where_asked() -> None:
    crowd, _ = simulated(n_items=50, n_workers=3, n_classes=3)
    majority = np.eye(3)[crowd.votes.argmax(axis=1)]
    worker_term, given = np.zeros((3, 3, 3)), given_counts(crowd, majority)
    for _ in range(20):
        expected = given.sum(axis=2, keepdims=True) * np.exp(log_softmax(worker_term, axis=2))
        newton_step(worker_term, expected, given, 1.0)
    posterior, _ = infer(crowd, worker_term, np.zeros((50, 1, 3)).__getitem__, np.full(3, 1 / 3))
    method = MinimaxEntropy(lambda_worker=1.0, item_terms=False, init="majority", max_iter=1, inner_iter=20)
    assert method.fit(crowd).posterior == pytest.approx(posterior)


def test_does_not_stop_while_the_terms_still_move() -> None:
    crowd, _ = simulated(n_items=50, n_workers=3, n_classes=3)
    result = MinimaxEntropy(tol=1.0, inner_iter=1).fit(crowd)  # no posterior can move by more than 1
    assert result.converged
    assert result.n_iter > 2


@given(crowds(), st.booleans(), st.sampled_from([None, 1e-6, 0.1]), st.sampled_from(["votes", "majority"]))
def test_the_objective_never_falls(crowd: CrowdLabels, item_terms: bool, penalty: float | None, init) -> None:
    method = MinimaxEntropy(
        lambda_worker=penalty, lambda_item=penalty, item_terms=item_terms, init=init, max_iter=15, tol=0, inner_iter=2
    )
    result = method.fit(crowd)
    assert np.isfinite(result.objective).all()
    check_em(result)


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(MinimaxEntropy(max_iter=10, tol=0), crowd, seed)


def test_items_and_workers_without_annotations_are_allowed() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, -1], [1, 1, -1], [-1, -1, -1]]), n_classes=2)
    result = MinimaxEntropy().fit(crowd, np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]]))
    assert result.posterior[2] == pytest.approx([0.2, 0.8])
    assert result.n_unlabelled == 1
    assert result.confusion is not None
    assert result.worker_quality is not None
    assert (np.diagonal(result.confusion[0]) > 0.5).all()
    assert result.confusion[2].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert np.isnan(result.worker_quality).tolist() == [False, False, True]


def test_a_prior_decides_where_the_workers_cannot() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0], [0, 1], [1, 0]]), n_classes=2)
    assert MinimaxEntropy().fit(crowd).posterior == pytest.approx(np.full((4, 2), 0.5))
    result = MinimaxEntropy().fit(crowd, np.array([3.0, 1.0]))
    assert (result.posterior[:, 0] > 0.6).all()
    assert result.class_prior.tolist() == [0.75, 0.25]


def test_recovers_worker_quality() -> None:
    crowd, truth = simulated(n_items=3000)
    result = MinimaxEntropy().fit(crowd)
    assert result.worker_quality == pytest.approx(np.linspace(0.3, 0.9, 6), abs=0.05)
    assert (result.labels != truth).mean() < 0.9 * (crowd.votes.argmax(axis=1) != truth).mean()


def test_item_terms_too_small_to_matter_are_left_out() -> None:
    crowd, _ = simulated(n_items=3000, n_workers=5)
    # Five annotations per item: a log odds can change by 2 * 25 / penalty, and a probability by a quarter of this.
    assert item_terms_matter(crowd, 12400.0, tol=1e-3)
    assert not item_terms_matter(crowd, 12600.0, tol=1e-3)
    left_out = MinimaxEntropy(lambda_worker=4.0, lambda_item=12600.0).fit(crowd)
    kept = MinimaxEntropy(lambda_worker=4.0, lambda_item=12600.0, tol=5e-4, max_iter=left_out.n_iter).fit(crowd)
    moved = np.abs(left_out.posterior - kept.posterior).max()
    assert 0 < moved < 1e-3


def test_default_penalties() -> None:
    dense = np.zeros((100, 10), int)
    few_classes = MinimaxEntropy().penalties(CrowdLabels.from_dense(dense, n_classes=2))
    assert few_classes == (1.0, 10.0)  # 100 labels a worker, 10 an item
    many_classes = MinimaxEntropy().penalties(CrowdLabels.from_dense(dense, n_classes=10))
    assert many_classes == pytest.approx((10 * 100 / 300, 10 * 100 / 30))
    given = MinimaxEntropy(lambda_worker=7.0, lambda_item=5.0)
    assert given.penalties(CrowdLabels.from_dense(dense, n_classes=10)) == (7.0, 5.0)


def test_many_classes_collapse_under_the_authors_penalty_and_not_by_default() -> None:
    crowd, truth = simulated(n_items=2000, n_workers=8, n_classes=40)
    assert confidence(MinimaxEntropy(lambda_worker=0.25 * 40**2).fit(crowd)) < 0.05
    result = MinimaxEntropy().fit(crowd)
    assert confidence(result) > 0.8
    assert (result.labels != truth).mean() < (crowd.votes.argmax(axis=1) != truth).mean()


def confidence(result: Aggregation) -> float:
    return float(result.posterior.max(axis=1).mean())


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"init": "random"}, "init must be"),
        ({"lambda_worker": 0.0}, "lambda_worker must be positive and finite, or None, got 0.0"),
        ({"lambda_item": float("nan")}, "lambda_item must be"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"inner_iter": 0}, "inner_iter must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            MinimaxEntropy(**options)


# 8.33 and 11.12 are published results.  On rte, joint L-BFGS stops between 7.25 and 7.75, depending on its inner
# iterations.
@pytest.mark.parametrize(("name", "percent"), [("bluebird", 8.33), ("web", 11.12), ("rte", 7.50)])
def test_known_error_on_real_crowds(data_root, name: str, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    result = MinimaxEntropy().fit(crowd)
    assert 100 * (result.labels != gold)[known].mean() == pytest.approx(percent, abs=0.3)
