from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.aggregation import MajorityVote
from crowdml.aggregation.label_model import LabelModel, count_pairs, pair_loss
from crowdml.labels import CrowdLabels
from tests.crowdml.aggregation.test_spectral_em import EIGHTHS, whole_population
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated


def naive_loss(crowd: CrowdLabels, confusion: np.ndarray, prior: np.ndarray) -> float:
    """Compute the loss of the paper pair by pair, without the squares of the observed shares."""
    given = np.eye(crowd.n_classes)[crowd.label]
    total = 0.0
    for a in range(crowd.n_annotations):
        for b in range(crowd.n_annotations):
            if a != b and crowd.item[a] == crowd.item[b]:
                expected = confusion[crowd.worker[a]].T @ np.diag(prior) @ confusion[crowd.worker[b]]
                total += ((np.outer(given[a], given[b]) - expected) ** 2).sum() - 1
    for worker in range(crowd.n_workers):
        mine = given[crowd.worker == worker]
        if len(mine):
            total += len(mine) * ((mine.mean(axis=0) - prior @ confusion[worker]) ** 2).sum()
    if crowd.gold is not None:
        for a in range(crowd.n_annotations):
            known = crowd.gold[crowd.item[a]]
            if known >= 0:
                total += ((given[a] - confusion[crowd.worker[a], known]) ** 2).sum() - 1
    return total


@given(crowds(max_items=6), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_loss_is_that_of_all_pairs_and_its_gradient_is_right(crowd, with_gold: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if with_gold:
        crowd = replace(crowd, gold=rng.integers(-1, crowd.n_classes, crowd.n_items))
    ones = np.ones(crowd.n_classes)
    confusion = rng.dirichlet(ones, (crowd.n_workers, crowd.n_classes))
    prior = rng.dirichlet(ones)
    counts = count_pairs(crowd)
    value, gradient = pair_loss(counts, confusion, prior)
    assert value == pytest.approx(naive_loss(crowd, confusion, prior))
    step = 1e-5 * rng.standard_normal(confusion.shape)
    rise = pair_loss(counts, confusion + step, prior)[0] - pair_loss(counts, confusion - step, prior)[0]
    assert rise == pytest.approx(2 * (gradient * step).sum(), rel=1e-4, abs=1e-9)


def test_repeated_answers_are_pairs_too() -> None:
    crowd = CrowdLabels(np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([0, 1, 1]), 1, 2, 2, repeats="keep")
    confusion = np.array([[[0.8, 0.2], [0.3, 0.7]], [[0.6, 0.4], [0.1, 0.9]]])
    prior = np.array([0.4, 0.6])
    assert pair_loss(count_pairs(crowd), confusion, prior)[0] == pytest.approx(naive_loss(crowd, confusion, prior))
    check_em(LabelModel().fit(crowd))


def test_exact_moments_give_the_exact_workers() -> None:
    crowd, _ = whole_population()
    result = LabelModel(l2=0, tol=0).fit(crowd, [0.25, 0.75])
    assert result.confusion == pytest.approx(EIGHTHS, abs=1e-3)


def test_recovers_worker_quality() -> None:
    crowd, truth = simulated(n_items=3000, n_classes=2)
    result = LabelModel().fit(crowd)
    assert result.worker_quality == pytest.approx(np.linspace(0.3, 0.9, 6), abs=0.04)
    assert (result.labels != truth).mean() < (MajorityVote().fit(crowd).labels != truth).mean()


@given(crowds(), st.sampled_from([0.0, 3.0]))
def test_the_objective_never_falls(crowd: CrowdLabels, l2: float) -> None:
    check_em(LabelModel(l2=l2, max_iter=20).fit(crowd))


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(seed: int) -> None:
    crowd, _ = simulated(n_items=60, n_classes=3, seed=seed)
    check_permutations(LabelModel(max_iter=10), crowd, seed)


def test_gold_items_keep_their_class_and_unmask_a_lying_majority() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 2
    dense = np.where(rng.random((300, 5)) < [0.1, 0.1, 0.1, 0.9, 0.9], truth[:, None], 1 - truth[:, None])
    crowd = CrowdLabels.from_dense(dense, n_classes=2)
    assert (LabelModel().fit(crowd).labels != truth).mean() > 0.9
    gold = np.where(np.arange(300) < 20, truth, -1)
    result = LabelModel().fit(replace(crowd, gold=gold))
    assert (result.posterior[:20] == np.eye(2)[truth[:20]]).all()
    assert (result.labels != truth).mean() < 0.05


def test_a_history_counts_as_answers_whose_truth_is_known() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0], [0, 1], [1, 0]]), n_classes=2)
    history = np.array([[[50.0, 0], [0, 50]], [[25, 25], [25, 25]]])
    result = LabelModel().fit(replace(crowd, history=history))
    assert result.labels.tolist() == [0, 1, 0, 1]
    assert result.worker_quality[0] > result.worker_quality[1] + 0.3


def test_a_prior_of_each_item_speaks_for_an_item_without_annotations() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [-1, -1]]), n_classes=2)
    prior = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    assert LabelModel().fit(crowd, prior).posterior[2] == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize("dense", [[[0], [1], [0]], [[0, 0], [0, 0]], [[0, 0, -1], [1, 1, -1], [0, 0, 1]]])
def test_every_edge_is_defined(dense) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=2)
    result = LabelModel().fit(crowd)
    check_em(result)
    assert (result.labels == crowd.votes.argmax(axis=1)).all()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"class_prior": "flat"}, "class_prior must be"),
        ({"l2": -1}, "l2 must not be negative, got -1"),
        ({"tol": -1}, "tol must not be negative, got -1"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            LabelModel(**options)


@pytest.mark.parametrize(("name", "percent"), [("bluebird", 11.11), ("rte", 7.9), ("ms", 22.0)])
def test_error_on_real_crowds(data_root, name: str, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (LabelModel().fit(crowd).labels != gold)[known].mean() == pytest.approx(percent, abs=0.5)
