from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad

from crowdml.aggregation.bwa import Bwa, past_answers
from crowdml.labels import CrowdLabels
from tests.crowds import check_em, check_permutations, crowds, real_crowd, simulated


def test_one_iteration_by_hand() -> None:
    # For class 0, the workers say (1, 0) and (1, 1): shares .5 and 1, mean .75, variance of the votes .125.  An average
    # worker has twice this variance, .25.  Both workers have squared errors of .25, so the precisions are (1 + 2) /
    # (.25 + .25).
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [0, 0]]), n_classes=2)
    result = Bwa(worker_pseudo_count=1, max_iter=1).fit(crowd)
    assert result.posterior == pytest.approx(np.array([[6.75, 6.25], [12.75, 0.25]]) / 13)
    assert result.class_prior == pytest.approx([0.75, 0.25])


def naive(crowd: CrowdLabels, n_iter: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute values, precisions and prior errors class by class, on dense arrays."""
    dense = crowd.to_dense()
    there, n_classes = dense >= 0, crowd.n_classes
    values = np.full((crowd.n_items, n_classes), 1 / n_classes)
    precisions, errors = np.empty((2, crowd.n_workers, n_classes))
    for k in range(n_classes):
        says = (dense == k).astype(float)
        z = np.divide(says.sum(axis=1), there.sum(axis=1), out=values[:, k].copy(), where=there.any(axis=1))
        variance = (there * ((z * (1 - z))[:, None])).sum() / there.sum()
        errors[:, k] = 15 * max(4 * (1 - 1 / n_classes) * variance, 1e-12)
        for _ in range(n_iter):
            mu = z.mean()
            v = (15 + there.sum(axis=0)) / (errors[:, k] + (there * (z[:, None] - says) ** 2).sum(axis=0))
            z = (mu + says @ v) / (1 + there @ v)
            precisions[:, k] = v
        values[:, k] = z
    return values, precisions, errors


@given(crowds(shared=True), st.integers(1, 8))
def test_agrees_with_the_equations_written_out(crowd: CrowdLabels, n_iter: int) -> None:
    values, _, _ = naive(crowd, n_iter)
    result = Bwa(max_iter=n_iter, tol=0).fit(crowd)
    assert result.posterior == pytest.approx(values / values.sum(axis=1, keepdims=True), abs=1e-8)


def test_the_objective_is_stationary_where_the_iteration_ends() -> None:
    crowd, _ = simulated(n_items=30, n_workers=4, n_classes=3)
    values, precisions, errors = naive(crowd, 3000)
    dense = crowd.to_dense()

    def objective(z: np.ndarray, v: np.ndarray) -> float:
        z = z.reshape(values.shape)
        squares = (z[:, None, :] - (dense[:, :, None] == np.arange(3))) ** 2
        density = (15 + 30) / 2 * np.log(v) - v / 2 * (errors + squares.sum(axis=0))
        return float(density.sum() - ((z - z.mean(axis=0)) ** 2).sum() / 2)

    at_end = check_grad(lambda z: objective(z, precisions), lambda z: np.zeros_like(z), values.ravel())
    elsewhere = check_grad(lambda z: objective(z, precisions), lambda z: np.zeros_like(z), np.full(values.size, 0.5))
    assert at_end < 1e-3 < 1 < elsewhere
    assert Bwa(max_iter=3000, tol=1e-12).fit(crowd).objective[-1] == pytest.approx(objective(values, precisions))


@given(crowds(), st.booleans())
def test_the_objective_never_falls(crowd: CrowdLabels, prior_correction: bool) -> None:
    check_em(Bwa(prior_correction=prior_correction, max_iter=30, tol=0).fit(crowd))


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(Bwa(max_iter=15, tol=0), crowd, seed)


@given(crowds(), st.data())
def test_known_items_keep_their_class_and_the_objective_rises(crowd: CrowdLabels, data: st.DataObject) -> None:
    gold = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=crowd.n_items, max_size=crowd.n_items)))
    result = Bwa(max_iter=20, tol=0).fit(replace(crowd, gold=gold))
    check_em(result)
    known = gold >= 0
    assert (result.posterior[known, gold[known]] == 1).all()


def test_a_history_shifts_the_weights() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 0], [0, 1], [2, 0]]), n_classes=3)
    reliable, contrary = 20 * np.eye(3), 10 * (1 - np.eye(3))
    result = Bwa().fit(replace(crowd, history=np.stack([reliable, contrary])))
    assert result.labels.tolist() == [0, 1, 0, 2]
    assert result.worker_quality[0] > 0.8 > 0.3 > result.worker_quality[1]
    mirrored = Bwa().fit(replace(crowd, history=np.stack([contrary, reliable])))
    assert mirrored.labels.tolist() == [1, 0, 1, 0]


def test_an_earlier_wrong_answer_is_an_error_for_both_its_classes() -> None:
    history = np.array([[[1.0, 2, 0], [0, 0, 0], [0, 3, 0]]])
    crowd = CrowdLabels(np.array([0]), np.array([0]), np.array([0]), 1, 1, 3, history=history)
    answers, errors = past_answers(crowd)
    assert answers.tolist() == [[6]]
    assert errors.tolist() == [[2, 5, 3]]


def test_items_without_annotations_get_the_prior() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 0], [2, 2], [-1, -1]]), n_classes=3)
    result = Bwa().fit(crowd)
    assert result.posterior[3] == pytest.approx(result.class_prior)
    assert result.n_unlabelled == 1
    of_items = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 2, 5]])
    assert Bwa().fit(crowd, of_items).posterior[3] == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_repeated_answers_count_each() -> None:
    once = Bwa().fit(CrowdLabels(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), 1, 2, 2))
    thrice = Bwa().fit(
        CrowdLabels(np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([0, 0, 1]), 1, 2, 2, repeats="keep")
    )
    assert once.posterior[0, 0] == pytest.approx(0.5)
    assert thrice.posterior[0, 0] > 0.6


def test_a_crowd_with_few_or_unanimous_labels_gives_a_valid_result() -> None:
    for dense in ([[0]], [[0, 0], [0, 0]], [[0], [1], [2]], [[1, -1], [-1, -1]]):
        crowd = CrowdLabels.from_dense(np.array(dense), n_classes=3)
        result = Bwa().fit(crowd)
        check_em(result)
        labelled = crowd.labels_per_item > 0
        assert result.posterior[labelled] == pytest.approx(
            crowd.votes[labelled] / crowd.votes[labelled].sum(1)[:, None]
        )


def test_trusts_good_workers_more() -> None:
    crowd, truth = simulated(n_items=3000)
    result = Bwa().fit(crowd)
    assert (np.diff(result.worker_quality) > 0).all()
    assert (result.labels != truth).mean() < (crowd.votes.argmax(axis=1) != truth).mean()


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"mean_weight": 0.0}, "mean_weight must be positive and finite, got 0.0"),
        ({"worker_pseudo_count": -1.0}, "worker_pseudo_count must be positive"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Bwa(**options)


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("bluebird", 0.7593), ("rte", 0.9275), ("web", 0.8225), ("product", 0.9194), ("sp_amt", 0.9460), ("ms", 0.7857)],
)
def test_published_accuracy_on_real_crowds(data_root, name: str, accuracy: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    assert (Bwa().fit(crowd).labels == gold)[known].mean() == pytest.approx(accuracy, abs=5e-5)
