from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation import DawidSkene, MajorityVote
from crowdml.aggregation.inference.confusion import estimate_confusion, infer_posterior
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


WORKER_MODELS = ["confusion", "class_one_coin", "one_coin", "homogeneous"]


@pytest.mark.parametrize(
    ("worker_model", "first", "second"),
    [
        ("confusion", [[0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5]], [[1, 0, 0]] * 3),
        (
            "class_one_coin",
            [[0.75, 0.125, 0.125], [0, 1, 0], [0.25, 0.25, 0.5]],
            [[1, 0, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        ),
        (
            "one_coin",
            [[6 / 8, 1 / 8, 1 / 8], [1 / 8, 6 / 8, 1 / 8], [1 / 8, 1 / 8, 6 / 8]],
            [[0.25, 0.375, 0.375], [0.375, 0.25, 0.375], [0.375, 0.375, 0.25]],
        ),
        ("homogeneous", [[4 / 5, 1 / 5, 0], [1 / 3, 2 / 3, 0], [0.25, 0.375, 0.375]], None),
    ],
)  # fmt: skip
def test_the_m_step_of_each_worker_model_by_hand(worker_model: str, first, second) -> None:
    counts = np.array([[[3, 1, 0], [0, 2, 0], [0, 1, 1]], [[1, 0, 0], [1, 0, 0], [2, 0, 0]]], float)
    counts[0, 2] = [0, 1, 1]
    if worker_model == "homogeneous":
        counts[0, 2], counts[1, 2] = [0, 3, 3], [2, 0, 0]
    confusion = DawidSkene(worker_model=worker_model).confusion_from(counts)  # pyright: ignore[reportArgumentType]
    assert confusion[0] == pytest.approx(np.array(first))
    assert confusion[1] == pytest.approx(np.array(first if second is None else second))


@given(crowds(), st.sampled_from(WORKER_MODELS), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 2.0]))
def test_the_objective_of_every_worker_model_never_falls(crowd, worker_model, smoothing, diagonal) -> None:
    method = DawidSkene(worker_model=worker_model, smoothing=smoothing, diagonal=diagonal, max_iter=20, tol=0)
    check_em(method.fit(crowd))


@given(crowds(), st.sampled_from(WORKER_MODELS), st.integers(0, 2**32 - 1))
def test_every_worker_model_follows_permutations(crowd, worker_model, seed: int) -> None:
    check_permutations(DawidSkene(worker_model=worker_model, max_iter=10, tol=0), crowd, seed)


@given(crowds(), st.booleans(), st.integers(0, 2**32 - 1))
def test_gold_items_keep_their_class_and_the_objective_never_falls(crowd, hard: bool, seed: int) -> None:
    gold = np.random.default_rng(seed).integers(-1, crowd.n_classes, crowd.n_items)
    with_gold = replace(crowd, gold=gold)
    result = DawidSkene(hard=hard, max_iter=10, tol=0).fit(with_gold)
    known = gold >= 0
    assert (result.posterior[known] == np.eye(crowd.n_classes)[gold[known]]).all()
    if not hard:
        check_em(result)


def test_gold_labels_unmask_a_lying_majority() -> None:
    truth = np.arange(200) % 2
    dense = np.stack([1 - truth, 1 - truth, 1 - truth, truth, truth], axis=1)
    crowd = CrowdLabels.from_dense(dense, n_classes=2)
    assert (DawidSkene().fit(crowd).labels != truth).all()
    gold = np.where(np.arange(200) < 10, truth, -1)
    assert (DawidSkene().fit(replace(crowd, gold=gold)).labels == truth).all()


def test_a_history_counts_as_answers_given_before() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0]]), n_classes=2)
    reliable = np.array([[90.0, 10.0], [10.0, 90.0]])
    history = np.stack([reliable, np.full((2, 2), 50.0)])
    known = replace(crowd, history=history)
    result = DawidSkene(smoothing=0).fit(known)
    assert result.labels.tolist() == [0, 1]
    # One answer per class, in addition to the hundred earlier answers.  Each item's posterior is almost certain.
    assert result.confusion[0] == pytest.approx(np.array([[91, 10], [10, 91]]) / 101, abs=0.01)
    assert result.confusion[1] == pytest.approx(np.array([[50, 51], [51, 50]]) / 101, abs=0.01)
    check_em(DawidSkene(max_iter=30, tol=0).fit(known))


def test_quality_error_is_that_of_a_beta_posterior() -> None:
    truth = np.arange(100) % 2
    answers = np.where(np.arange(100) < 20, 1 - truth, truth)
    crowd = CrowdLabels.from_dense(np.stack([answers, truth, truth, truth], axis=1), n_classes=2)
    result = DawidSkene(smoothing=0).fit(crowd)
    # Worker 0 is right on 40 of 50 items of each class: Beta(41, 11) twice, with weights of a half.
    variance = 41 * 11 / (52**2 * 53)
    assert result.worker_quality[0] == pytest.approx(0.8, abs=1e-6)
    assert result.worker_quality_se[0] == pytest.approx(np.sqrt(variance / 2), abs=1e-6)
    assert (result.worker_quality_se[1:] < result.worker_quality_se[0]).all()


def test_doubtful_items_and_labels_come_first() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 1, -1]]), n_classes=2)
    result = MajorityVote().fit(crowd)
    assert result.doubtful_items()[0] == 1
    first = result.doubtful_labels(crowd)[0]
    assert (crowd.item[first], crowd.worker[first]) == (1, 1)
    assert result.label_doubt(crowd)[first] > 0.5


@pytest.mark.parametrize("hard", [False, True])
def test_on_a_torch_device_the_answer_is_the_same(hard: bool) -> None:
    crowd, _ = simulated()
    ours, theirs = (DawidSkene(hard=hard, device=device).fit(crowd) for device in ("cpu", "cpu:0"))
    assert theirs.posterior == pytest.approx(ours.posterior, abs=1e-9)
    assert theirs.objective == pytest.approx(ours.objective)
    assert theirs.confusion == pytest.approx(ours.confusion, abs=1e-9)


def test_labels_without_company_are_kept_unless_something_else_is_known() -> None:
    rng = np.random.default_rng(0)
    label, worker = rng.integers(0, 100, 3000), rng.integers(0, 200, 3000)
    alone = CrowdLabels(np.arange(3000), worker, label, 3000, 200, 100)
    result = DawidSkene().fit(alone)
    assert (result.labels == label).all()
    assert result.n_iter == 0
    assert DawidSkene().fit(alone, rng.dirichlet(np.ones(100), 3000)).n_iter > 0
    assert DawidSkene().fit(replace(alone, gold=np.where(np.arange(3000) < 500, 0, -1))).n_iter > 0


@pytest.mark.parametrize(
    "dense",
    [
        [[0], [1], [0]],  # one worker, one annotation an item
        [[0, 0], [0, 0]],  # one class seen
        [[0, 0, -1], [1, 1, -1], [0, 0, 1]],  # a worker who labelled once
        [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],  # unanimous, and an item without annotations
    ],
)
@pytest.mark.parametrize("worker_model", WORKER_MODELS)
@pytest.mark.parametrize("smoothing", [0.0, 0.01])
def test_every_edge_is_defined(dense, worker_model, smoothing: float) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=2)
    result = DawidSkene(worker_model=worker_model, smoothing=smoothing).fit(crowd)
    check_em(result)
    assert np.isfinite(result.posterior).all()
    labelled = crowd.labels_per_item > 0
    assert (result.labels[labelled] == crowd.votes.argmax(axis=1)[labelled]).all()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"init": "random"}, "init must be"),
        ({"class_prior": "flat"}, "class_prior must be"),
        ({"smoothing": -1}, "smoothing must not be negative, got -1"),
        ({"worker_model": "two_coin"}, "worker_model must be one of"),
        ({"diagonal": -2}, "diagonal must not be negative, got -2"),
        ({"ties": "highest"}, 'ties must be one of "lowest", "first", "random"'),
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
