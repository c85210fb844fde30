from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.aggregation.confusion import estimate_confusion, infer_posterior
from crowdml.labels import CrowdLabels
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated


def test_one_m_step_by_hand() -> None:
    # Items: 0 -> (0, 1), 1 -> (1, 1); posterior of class 0: 0.75 and 0.25.
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 1]]), n_classes=2)
    posterior = np.array([[0.75, 0.25], [0.25, 0.75]])
    confusion = estimate_confusion(crowd, posterior, smoothing=0)
    assert confusion[0].tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert confusion[1].tolist() == [[0, 1], [0, 1]]
    smoothed = estimate_confusion(crowd, posterior, smoothing=1)
    assert smoothed[1].tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3)]] * 2


def test_one_e_step_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [-1, 1]]), n_classes=2)
    confusion = np.array([[[0.8, 0.2], [0.3, 0.7]], [[0.9, 0.1], [0.4, 0.6]]])
    posterior, log_evidence = infer_posterior(crowd, confusion, np.array([0.5, 0.5]))
    # Item 0: class 0 gets .5 * .8 * .1 = .04, class 1 gets .5 * .3 * .6 = .09; item 1: .05 and .3.
    assert posterior == pytest.approx(np.array([[4 / 13, 9 / 13], [1 / 7, 6 / 7]]))
    assert np.exp(log_evidence) == pytest.approx([0.13, 0.35])


def test_a_prior_of_each_item_enters_the_e_step() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0], [0]]), n_classes=2)
    confusion = np.array([[[0.6, 0.4], [0.3, 0.7]]])
    prior = np.array([[0.5, 0.5], [0.1, 0.9]])
    posterior, _ = infer_posterior(crowd, confusion, prior)
    assert posterior == pytest.approx(np.array([[0.3 / 0.45, 0.15 / 0.45], [0.06 / 0.33, 0.27 / 0.33]]))


def test_an_item_without_annotations_keeps_its_prior() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [-1, -1]]), n_classes=2)
    prior = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    result = DawidSkene().fit(crowd, prior)
    assert result.posterior[2] == pytest.approx([0.2, 0.8])
    assert result.n_unlabelled == 1


def test_hard_em_gives_certain_labels_and_beats_the_vote_where_few_are_experts() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 3
    experts = np.stack([truth, truth], axis=1)
    guessers = rng.integers(0, 3, (600, 5))
    crowd = CrowdLabels.from_dense(np.concatenate([experts, guessers], axis=1), n_classes=3)
    hard = DawidSkene(hard=True).fit(crowd)
    assert set(np.unique(hard.posterior)) == {0.0, 1.0}
    vote_error = (MajorityVote().fit(crowd).labels != truth).mean()
    assert (hard.labels != truth).mean() < 0.02 < 0.1 < vote_error


@given(crowds(), st.sampled_from([0.0, 0.01, 1.0]))
def test_the_objective_never_falls(crowd: CrowdLabels, smoothing: float) -> None:
    result = DawidSkene(smoothing=smoothing, max_iter=30, tol=0).fit(crowd)
    check_em(result)


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(DawidSkene(max_iter=15, tol=0), crowd, seed)


def test_recovers_worker_quality() -> None:
    crowd, truth = simulated(n_items=3000)
    result = DawidSkene().fit(crowd)
    assert result.worker_quality == pytest.approx(np.linspace(0.3, 0.9, 6), abs=0.04)
    assert (result.labels != truth).mean() < (MajorityVote().fit(crowd).labels != truth).mean()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"init": "random"}, "init must be"),
        ({"class_prior": "flat"}, "class_prior must be"),
        ({"smoothing": -1}, "smoothing must not be negative, got -1"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            DawidSkene(**options)


@pytest.mark.parametrize(
    ("name", "smoothing", "percent"),
    [
        ("bluebird", 0.0, 10.19),
        ("bluebird", 0.01, 11.11),
        ("bluebird", 1.0, 11.11),
        ("rte", 0.0, 7.25),
        ("rte", 0.01, 7.25),
        ("rte", 1.0, 7.13),
        ("web", 0.0, 16.92),
        ("web", 0.01, 16.58),
        ("web", 1.0, 13.38),
    ],
)
def test_known_error_on_real_crowds(data_root, name: str, smoothing: float, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    result = DawidSkene(smoothing=smoothing, class_prior="uniform").fit(crowd)
    assert 100 * (result.labels != gold)[known].mean() == pytest.approx(percent, abs=0.02)
