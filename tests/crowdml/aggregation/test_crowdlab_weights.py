from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crowdml.aggregation import MajorityVote
from crowdml.aggregation.crowdlab_weights import Crowdlab, compare_with_peers
from crowdml.labels import CrowdLabels
from tests.crowds import crowds, simulated

SMALL = np.array([[0, 0, -1], [1, -1, 1], [0, 1, 1], [2, 2, 0], [-1, 2, -1], [1, 0, -1], [2, 2, 2], [0, -1, 1]])
PREDICTED = np.array(
    [[7, 2, 1], [2, 6, 2], [3, 5, 2], [1, 3, 6], [2, 2, 6], [3, 5, 2], [1, 1, 8], [4, 3, 3]]
) / 10  # fmt: skip


def small() -> CrowdLabels:
    return CrowdLabels.from_dense(SMALL, n_classes=3)


def test_agreement_with_peers_by_hand() -> None:
    # Worker 1 shares items 0, 2, 3, 5 and 6; it agrees in 1 of 1, 1 of 2, 1 of 2, 0 of 1 and 2 of 2 comparisons.
    peers = compare_with_peers(small())
    assert peers.agreed[1] == pytest.approx(5 / 8)
    assert peers.shared.tolist() == [True] * 4 + [False] + [True] * 3


def test_the_same_as_the_authors_package() -> None:
    # cleanlab 2.9.0, get_label_quality_multiannotator(labels with NaN for -1, PREDICTED, verbose=False): the columns
    # consensus_label and consensus_quality_score of label_quality, and annotator_quality of annotator_stats.
    result = Crowdlab().fit(small(), PREDICTED)
    assert result.labels.tolist() == [0, 1, 1, 2, 2, 1, 2, 0]
    quality = [
        0.714739229, 0.623129252, 0.535891969, 0.60753376, 0.630185634, 0.450113379, 0.789196873, 0.405782313,
    ]  # fmt: skip
    assert result.posterior[np.arange(8), result.labels] == pytest.approx(quality, abs=1e-8)
    assert result.worker_quality == pytest.approx([0.623345623, 0.651785826, 0.509330848], abs=1e-8)


@given(crowds(max_items=8), st.integers(0, 2**32 - 1))
def test_the_posterior_is_the_weighted_mean_of_votes_and_classifier(crowd: CrowdLabels, seed: int) -> None:
    assume(crowd.labels_per_item.max() > 1)
    predicted = np.random.default_rng(seed).dirichlet(np.ones(crowd.n_classes), crowd.n_items)
    result = Crowdlab().fit(crowd, predicted)
    assert np.allclose(result.posterior.sum(axis=1), 1)
    dense, n_classes = crowd.to_dense(), crowd.n_classes
    several = [i for i in range(crowd.n_items) if (dense[i] >= 0).sum() > 1]
    agreed = np.full(crowd.n_workers, np.nan)
    for j in range(crowd.n_workers):
        pairs = [
            dense[i, j] == dense[i, k]
            for i in several
            for k in range(crowd.n_workers)
            if k != j and dense[i, j] >= 0 and dense[i, k] >= 0
        ]
        agreed[j] = np.mean(pairs) if pairs else np.nan
    agreed[np.isnan(agreed)] = np.nanmean(agreed)

    def ensemble(consensus: np.ndarray) -> np.ndarray:
        baseline = max(np.mean(consensus[several] != np.bincount(consensus[several]).argmax()), 1e-6)
        right = np.mean([np.mean(dense[i][dense[i] >= 0] == consensus[i]) for i in several])
        weight = np.maximum(1 - (1 - agreed) / baseline, 1e-6)
        error = np.mean(predicted[several].argmax(axis=1) != consensus[several])
        mean_labels = np.mean([n for n in (dense >= 0).sum(axis=1) if n])
        own = max(1 - error / baseline, 1e-6) * np.sqrt(mean_labels)
        posterior = own * predicted
        total = np.full(crowd.n_items, own)
        for i, j in zip(*np.nonzero(dense >= 0), strict=True):
            vote = np.full(n_classes, (1 - right) / (n_classes - 1))
            vote[dense[i, j]] = right
            posterior[i] += weight[j] * vote
            total[i] += weight[j]
        return posterior / total[:, None]

    tied = np.where(crowd.votes == crowd.votes.max(axis=1, keepdims=True), predicted, -1)
    first = ensemble(tied.argmax(axis=1))
    consensus = (first >= first.max(axis=1, keepdims=True) - 1e-9).argmax(axis=1)
    assert result.posterior == pytest.approx(ensemble(consensus), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_permuting_workers_items_and_classes_permutes_the_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crowd, _ = simulated(n_items=40, n_classes=3, seed=seed)
    predicted = rng.dirichlet(np.ones(3), 40)
    classes, workers, items = rng.permutation(3), rng.permutation(6), rng.permutation(40)
    moved = CrowdLabels.from_dense(classes[crowd.to_dense()][items][:, workers], n_classes=3)
    ours, theirs = Crowdlab().fit(crowd, predicted), Crowdlab().fit(moved, predicted[items][:, np.argsort(classes)])
    assert theirs.posterior[:, classes] == pytest.approx(ours.posterior[items])
    assert theirs.worker_quality == pytest.approx(ours.worker_quality[workers])


def test_a_good_classifier_beats_the_vote() -> None:
    crowd, truth = simulated(n_workers=3)
    rng = np.random.default_rng(0)
    predicted = 0.1 + np.eye(4)[np.where(rng.random(400) < 0.85, truth, rng.integers(0, 4, 400))]
    result = Crowdlab().fit(crowd, predicted)
    assert (result.labels != truth).mean() < (MajorityVote().fit(crowd).labels != truth).mean() - 0.1
    assert result.worker_quality.argsort().tolist() == [0, 1, 2]


def test_a_gold_item_keeps_its_class_and_is_one_more_worker_to_agree_with() -> None:
    crowd = replace(small(), gold=np.array([-1, -1, -1, -1, 0, -1, -1, -1]))
    assert compare_with_peers(crowd).agreed[1] == pytest.approx(5 / 9)
    assert Crowdlab().fit(crowd, PREDICTED).posterior[4].tolist() == [1, 0, 0]


def test_a_history_counts_as_comparisons() -> None:
    history = np.zeros((3, 3, 3))
    history[1] = [[4, 0, 0], [0, 3, 1], [0, 0, 0]]
    assert compare_with_peers(replace(small(), history=history)).agreed[1] == pytest.approx(12 / 16)


def test_an_item_without_annotations_keeps_the_prediction() -> None:
    crowd = CrowdLabels.from_dense(np.vstack([SMALL, [[-1, -1, -1]]]), n_classes=3)
    assert Crowdlab().fit(crowd, np.vstack([PREDICTED, [[0.2, 0.5, 0.3]]])).posterior[8] == pytest.approx(
        [0.2, 0.5, 0.3]
    )


@pytest.mark.parametrize("dense", [[[0, 0], [0, 0]], [[0, 0, -1], [1, 1, -1], [0, 0, 1]], [[1, 1], [0, 0], [-1, 1]]])
def test_every_edge_is_defined(dense) -> None:
    crowd = CrowdLabels.from_dense(np.array(dense), n_classes=2)
    result = Crowdlab().fit(crowd, np.full((crowd.n_items, 2), 0.5))
    assert (result.labels == crowd.votes.argmax(axis=1)).all()
    assert np.isfinite(result.worker_quality).all()


def test_repeated_answers_are_compared_too() -> None:
    crowd = CrowdLabels(np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([0, 1, 1]), 1, 2, 2, repeats="keep")
    assert compare_with_peers(crowd).agreed.tolist() == [0.25, 0.5]


def test_a_crowd_that_the_method_cannot_use_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Crowdlab needs prior: .* = \(8, 3\)"):
        Crowdlab().fit(small())
    with pytest.raises(ValueError, match="Crowdlab needs prior"):
        Crowdlab().fit(small(), [0.2, 0.3, 0.5])
    alone = CrowdLabels.from_dense(np.array([[0], [1]]), n_classes=2)
    with pytest.raises(ValueError, match="at least one item with two annotations, the crowd has none"):
        Crowdlab().fit(alone, np.full((2, 2), 0.5))
