from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.wawa import Wawa
from crowdml.labels import CrowdLabels
from tests.crowds import check_permutations, crowds, real_crowd, simulated


def test_the_two_votes_by_hand() -> None:
    # Votes: item 0 -> 0 (2 of 3), item 1 -> 1 (2 of 3), item 2 -> 1 (all), so that the workers agree 3, 2 and 2 times.
    crowd = CrowdLabels.from_dense(np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1]]), n_classes=2)
    result = Wawa().fit(crowd)
    assert result.worker_quality == pytest.approx([1, 2 / 3, 2 / 3])
    assert result.posterior[0] == pytest.approx([5 / 7, 2 / 7])
    assert result.labels.tolist() == [0, 1, 1]


def test_a_tie_counts_half_for_both_sides() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 1]]), n_classes=2)
    result = Wawa().fit(crowd)
    assert result.worker_quality == pytest.approx([0.75, 0.75])
    assert result.posterior[0] == pytest.approx([0.5, 0.5])


def test_gold_and_history_change_the_weights() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0, 1], [0, 0, 1], [0, -1, 1]]), n_classes=2)
    gold = np.array([1, 1, -1])
    with_gold = CrowdLabels(crowd.item, crowd.worker, crowd.label, 3, 3, 2, gold=gold)
    result = Wawa().fit(with_gold)
    assert result.labels.tolist() == [1, 1, 1]
    # On item 2 the vote is a tie, which counts as half.
    assert result.worker_quality == pytest.approx([0.5 / 3, 0, 2.5 / 3])
    history = np.zeros((3, 2, 2))
    history[0] = [[0, 5], [5, 0]]
    before = CrowdLabels(crowd.item, crowd.worker, crowd.label, 3, 3, 2, history=history)
    assert Wawa().fit(before).worker_quality[0] == pytest.approx(2.5 / 13)


def test_an_item_without_annotations_gets_the_prior() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [-1, -1]]), n_classes=2)
    assert Wawa().fit(crowd, [0.2, 0.8]).posterior[2] == pytest.approx([0.2, 0.8])


@given(crowds(), st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(crowd: CrowdLabels, seed: int) -> None:
    check_permutations(Wawa(), crowd, seed)


@given(crowds())
def test_equals_a_naive_implementation(crowd: CrowdLabels) -> None:
    weight = []
    for worker in range(crowd.n_workers):
        credit = []
        for item, label in zip(crowd.item[crowd.worker == worker], crowd.label[crowd.worker == worker], strict=True):
            best = np.flatnonzero(crowd.votes[item] == crowd.votes[item].max())
            credit.append((label in best) / len(best))
        weight.append(np.mean(credit) if credit else np.nan)
    result = Wawa().fit(crowd)
    assert result.worker_quality == pytest.approx(np.array(weight), nan_ok=True)
    for item in range(crowd.n_items):
        share = np.zeros(crowd.n_classes)
        for worker, label in zip(crowd.worker[crowd.item == item], crowd.label[crowd.item == item], strict=True):
            share[label] += weight[worker]
        if share.sum() > 0:
            assert result.posterior[item] == pytest.approx(share / share.sum())


def test_beats_the_vote() -> None:
    crowd, truth = simulated(n_items=3000)
    vote = crowd.votes.argmax(axis=1)
    assert (Wawa().fit(crowd).labels != truth).mean() < (vote != truth).mean() - 0.02


@pytest.mark.parametrize(
    ("name", "percent"), [("bluebird", 75.93), ("rte", 92.12), ("web", 79.87), ("product", 89.66), ("sp_amt", 94.40)]
)
def test_accuracy_on_real_crowds(data_root, name: str, percent: float) -> None:
    # crowd-kit 1.4.2: 75.93, 91.88, 76.93, 89.66, 94.40; it breaks ties by the class name.
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (Wawa().fit(crowd).labels == gold)[known].mean() == pytest.approx(percent, abs=0.02)
