from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdml.aggregation.kos import Kos
from crowdml.labels import CrowdLabels
from tests.crowds import crowds, real_crowd, simulated


def naive_score(crowd: CrowdLabels, rounds: int) -> np.ndarray:
    """Compute the messages of Karger et al. 2014, algorithm 1, one by one, without scaling."""
    edges = sorted(zip(crowd.item, crowd.worker, 2 * crowd.label.astype(int) - 1, strict=True))
    start = np.random.default_rng(0).normal(1, 1, len(edges))
    to_item = {edge[:2]: value for edge, value in zip(edges, start, strict=True)}
    answer = {edge[:2]: edge[2] for edge in edges}
    for _ in range(rounds):
        to_worker = {
            (i, w): sum(answer[i, v] * to_item[i, v] for j, v in answer if j == i and v != w) for i, w in answer
        }
        to_item = {
            (i, w): sum(answer[j, w] * to_worker[j, w] for j, v in answer if v == w and j != i) for i, w in answer
        }
    score = np.zeros(crowd.n_items)
    for i, w in answer:
        score[i] += answer[i, w] * to_item[i, w]
    return score


def test_equals_the_equations() -> None:
    crowd, _ = simulated(n_items=12, n_workers=5, n_classes=2)
    score = naive_score(crowd, 4)
    posterior = Kos(max_iter=4).fit(crowd).posterior
    odds = np.log(posterior[:, 1] / posterior[:, 0])
    assert odds / np.linalg.norm(odds) == pytest.approx(score / np.linalg.norm(score))


def test_the_order_of_the_rows_does_not_matter() -> None:
    crowd, _ = simulated(n_classes=2)
    order = np.random.default_rng(1).permutation(crowd.n_annotations)
    shuffled = CrowdLabels(
        crowd.item[order], crowd.worker[order], crowd.label[order], crowd.n_items, crowd.n_workers, 2
    )
    assert (Kos(max_iter=3).fit(shuffled).posterior == Kos(max_iter=3).fit(crowd).posterior).all()


def test_permuting_workers_and_items_permutes_what_it_converges_to() -> None:
    crowd, _ = simulated(n_classes=2)
    rng = np.random.default_rng(2)
    items, workers = rng.permutation(crowd.n_items), rng.permutation(crowd.n_workers)
    permuted = CrowdLabels.from_dense(crowd.to_dense()[items][:, workers], n_classes=2)
    ours, theirs = Kos().fit(crowd), Kos().fit(permuted)
    assert ours.converged
    assert theirs.posterior == pytest.approx(ours.posterior[items], abs=1e-6)


@given(crowds(max_classes=2), st.integers(0, 5))
def test_swapping_the_classes_swaps_the_answer(crowd: CrowdLabels, seed: int) -> None:
    swapped = CrowdLabels(crowd.item, crowd.worker, 1 - crowd.label, crowd.n_items, crowd.n_workers, 2)
    ours, theirs = Kos(seed=seed).fit(crowd), Kos(seed=seed).fit(swapped)
    assert np.allclose(ours.posterior.sum(axis=1), 1)
    assert theirs.posterior[:, ::-1] == pytest.approx(ours.posterior)


def test_what_nobody_confirms_has_score_zero() -> None:
    disjoint = CrowdLabels.from_dense(np.array([[0, 1, -1, -1], [-1, -1, 1, -1]]), n_classes=2)
    assert Kos().fit(disjoint).posterior == pytest.approx(np.full((2, 2), 0.5))
    assert Kos().fit(disjoint, [0.2, 0.8]).posterior == pytest.approx(np.tile([0.2, 0.8], (2, 1)))


def test_every_part_of_a_crowd_has_its_own_scale() -> None:
    strong, _ = simulated(n_items=60, n_workers=8, n_classes=2)
    dense = np.full((63, 11), -1)
    dense[:60, :8] = strong.to_dense()
    dense[60:, 8:] = [[0, 0, 0], [1, 1, 1], [0, 0, 1]]
    labels = Kos().fit(CrowdLabels.from_dense(dense, n_classes=2))
    assert labels.labels[60:].tolist() == [0, 1, 0]
    assert labels.doubt[60:].max() < 0.99


def test_many_rounds_do_not_overflow() -> None:
    crowd, truth = simulated(n_items=500, n_workers=30, n_classes=2)
    result = Kos(max_iter=2000, tol=0).fit(crowd)
    assert np.isfinite(result.posterior).all()
    assert (result.labels == truth).mean() > 0.95


def test_repeated_answers_are_edges_of_their_own() -> None:
    crowd = CrowdLabels(
        np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1]), np.array([0, 1, 0, 1, 1]), 2, 2, 2, repeats="keep"
    )
    assert np.isfinite(Kos().fit(crowd).posterior).all()


def test_a_crowd_that_the_method_cannot_use_is_refused() -> None:
    three, _ = simulated(n_classes=3)
    with pytest.raises(ValueError, match="KOS is defined for 2 classes only"):
        Kos().fit(three)
    two, _ = simulated(n_classes=2)
    gold = CrowdLabels(two.item, two.worker, two.label, 400, 6, 2, gold=np.zeros(400, int))
    with pytest.raises(ValueError, match="cannot use gold"):
        Kos().fit(gold)
    with pytest.raises(ValueError, match="max_iter must be at least 1, got 0"):
        Kos(max_iter=0)
    with pytest.raises(ValueError, match="tol must not be negative, got -1"):
        Kos(tol=-1)


@pytest.mark.parametrize(
    ("name", "percent"), [("bluebird", 72.22), ("rte", 49.75), ("product", 89.55), ("sp_amt", 94.20)]
)
def test_accuracy_on_real_crowds(data_root, name: str, percent: float) -> None:
    # The results of crowd-kit 1.4.2.
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * (Kos().fit(crowd).labels == gold)[known].mean() == pytest.approx(percent, abs=0.02)
