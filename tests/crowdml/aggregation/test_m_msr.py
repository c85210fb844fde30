from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.m_msr import MMsr, pair_agreement
from crowdml.labels import CrowdLabels
from tests.crowds import check_permutations, crowds, real_crowd, simulated


@given(crowds())
def test_agreement_equals_a_naive_count(crowd: CrowdLabels) -> None:
    agreement, shared = (matrix.toarray() for matrix in pair_agreement(crowd))
    dense, n_classes = crowd.to_dense(), crowd.n_classes
    for v in range(crowd.n_workers):
        for w in range(crowd.n_workers):
            both = (dense[:, v] >= 0) & (dense[:, w] >= 0)
            assert shared[v, w] == (v != w) * both.sum()
            if v != w and both.any():
                same = (dense[both, v] == dense[both, w]).mean()
                assert agreement[v, w] == pytest.approx((n_classes * same - 1) / (n_classes - 1))


def test_completes_a_rank_one_matrix_with_holes() -> None:
    skill = np.array([0.9, 0.2, 0.5, 0.7, 0.4])
    observed = np.ones((5, 5), bool)
    np.fill_diagonal(observed, False)
    observed[0, 4] = observed[4, 0] = observed[1, 2] = observed[2, 1] = False
    matrix = sp.csr_array(np.where(observed, np.outer(skill, skill), 0))
    size, _, converged = MMsr(trim=0.0)._complete(matrix, 0.01)
    assert converged
    assert size == pytest.approx(skill, abs=1e-6)


def test_withstands_what_it_trims() -> None:
    rng = np.random.default_rng(0)
    skill = rng.uniform(0.2, 0.9, 21)
    matrix = np.outer(skill, skill)
    # Three of the workers agree with everybody at random.
    matrix[:3], matrix[:, :3] = rng.uniform(0, 1, (3, 21)), rng.uniform(0, 1, (21, 3))
    matrix = np.triu(matrix, 1) + np.triu(matrix, 1).T
    robust, plain = (MMsr(trim=trim)._complete(sp.csr_array(matrix), 0.01)[0] for trim in (0.2, 0.0))
    off = [
        np.abs(size[3:] / np.linalg.norm(size[3:]) - skill[3:] / np.linalg.norm(skill[3:])) for size in (robust, plain)
    ]
    assert off[0].max() < off[1].max() / 2


def naive_sizes(agreement: np.ndarray, shared: np.ndarray, trim: float, lowest: float, sweeps: int) -> np.ndarray:
    n_workers = len(agreement)

    def swept(known: np.ndarray, own: np.ndarray) -> np.ndarray:
        new = own.copy()
        for w in range(n_workers):
            fellows = np.flatnonzero(shared[w])
            ratios = sorted(abs(agreement[w, v]) / known[v] for v in fellows)
            most = int(trim * len(ratios))
            low = min(most, sum(ratio < own[w] for ratio in ratios))
            high = min(most, sum(ratio > own[w] for ratio in ratios))
            if ratios:
                new[w] = max(np.mean(ratios[low : len(ratios) - high]), lowest)
        return new

    left, right = np.ones(n_workers), np.ones(n_workers)
    for _ in range(sweeps):
        right = swept(left, right)
        left = swept(right, left)
    return left * np.sqrt(np.linalg.norm(right) / np.linalg.norm(left))


@given(crowds(max_workers=8), st.sampled_from([0.0, 0.2, 0.4]))
def test_equals_a_naive_implementation(crowd: CrowdLabels, trim: float) -> None:
    agreement, shared = pair_agreement(crowd)
    size, n_iter, _ = MMsr(trim=trim, max_iter=5)._complete(agreement, 0.1)
    assert size == pytest.approx(naive_sizes(agreement.toarray(), shared.toarray(), trim, 0.1, n_iter))


def test_finds_the_skills_also_of_those_who_are_mostly_wrong() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 4000)
    accuracy = np.array([0.9, 0.8, 0.7, 0.6, 0.75, 0.1, 0.15])
    right = rng.random((4000, 7)) < accuracy
    wrong = (truth[:, None] + rng.integers(1, 3, (4000, 7))) % 3
    dense = np.where(right, truth[:, None], wrong)
    dense[rng.random((4000, 7)) < 0.3] = -1
    result = MMsr().fit(CrowdLabels.from_dense(dense, n_classes=3))
    assert result.worker_quality == pytest.approx(accuracy, abs=0.06)
    assert (result.labels == truth)[(dense >= 0).any(axis=1)].mean() > 0.9
    assert np.allclose(result.confusion.sum(axis=2), 1)


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    # In a tiny crowd, the signs of a group can balance.  Then rounding decides which sign is positive.
    agreement, _ = pair_agreement(crowd)
    if (agreement.data >= 0).all():
        check_permutations(MMsr(max_iter=50), crowd, seed)


def test_workers_without_fellows_are_half_way_to_right() -> None:
    answers = np.where(np.eye(30, dtype=bool), 1, -1)
    answers[:2, :2] = 1  # the only item with two labels
    result = MMsr().fit(CrowdLabels.from_dense(answers, n_classes=2))
    # One answer each: skill 1 - 1 / sqrt(2) at most.
    assert result.worker_quality[2:] == pytest.approx(np.full(28, 0.5 + (1 - 1 / np.sqrt(2)) / 2))
    assert (result.labels == 1).all()
    answers = np.full((32, 3), -1)
    answers[:30, 0], answers[30:, 1:] = 1, 1
    long = CrowdLabels.from_dense(answers, n_classes=2)
    assert MMsr().fit(long).worker_quality[0] == pytest.approx(0.75)


def test_priors_repeats_and_unlabelled_items_are_handled() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, 1], [-1, -1, -1], [1, 1, 1]]), n_classes=2)
    assert MMsr().fit(crowd, [0.3, 0.7]).posterior[1] == pytest.approx([0.3, 0.7])
    twice = CrowdLabels(np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([0, 1, 0]), 1, 2, 2, repeats="keep")
    _, shared = pair_agreement(twice)
    assert shared.toarray().tolist() == [[0, 2], [2, 0]]
    assert np.isfinite(MMsr().fit(twice).posterior).all()


def test_a_crowd_that_the_method_cannot_use_is_refused() -> None:
    crowd, truth = simulated(n_items=20)
    with pytest.raises(ValueError, match="cannot use gold"):
        MMsr().fit(CrowdLabels(crowd.item, crowd.worker, crowd.label, 20, 6, 4, gold=truth))
    with pytest.raises(ValueError, match="cannot use worker histories"):
        MMsr().fit(CrowdLabels(crowd.item, crowd.worker, crowd.label, 20, 6, 4, history=np.ones((6, 4, 4))))
    for options, message in [
        ({"trim": 0.5}, r"trim must be in \[0, 0.5\), got 0.5"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tol": -1}, "tol must not be negative, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            MMsr(**options)


@pytest.mark.parametrize(
    ("name", "percent"), [("bluebird", 71.30), ("rte", 92.62), ("web", 69.43), ("product", 92.70), ("sp_amt", 94.40)]
)
def test_accuracy_on_real_crowds(data_root, name: str, percent: float) -> None:
    # crowd-kit 1.4.2: 71.30, 85.75, 68.34, an error, 94.40.
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (MMsr().fit(crowd).labels == gold)[known].mean() == pytest.approx(percent, abs=0.02)
