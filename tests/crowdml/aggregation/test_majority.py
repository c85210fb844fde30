from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from crowdml.aggregation import MajorityVote
from crowdml.aggregation.aggregator import fractional_error
from crowdml.labels import CrowdLabels
from tests.crowds import crowds, real_crowd


def test_shares_ties_and_quality_by_hand() -> None:
    crowd = CrowdLabels.from_dense(np.array([[2, 2, 0], [1, 2, -1], [-1, -1, -1]]), n_classes=3)
    result = MajorityVote().fit(crowd)
    assert result.labels.tolist() == [2, 1, 0]
    assert result.posterior[0].tolist() == pytest.approx([1 / 3, 0, 2 / 3])
    assert result.posterior[2].tolist() == pytest.approx([1 / 3] * 3)
    assert result.n_unlabelled == 1
    assert result.worker_quality is not None
    assert result.worker_quality.tolist() == [1, 0.5, 0]


def test_a_prior_speaks_only_for_items_without_annotations() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [-1, -1]]), n_classes=2)
    result = MajorityVote().fit(crowd, prior=[1, 3])
    assert result.posterior.tolist() == [[1, 0], [0.25, 0.75]]


def test_random_ties_are_seeded_and_fair() -> None:
    crowd = CrowdLabels.from_dense(np.tile([0, 1], (4000, 1)), n_classes=3)
    labels = MajorityVote(ties="random", seed=3).fit(crowd).labels
    assert set(labels.tolist()) == {0, 1}
    assert labels.mean() == pytest.approx(0.5, abs=0.03)
    assert (labels == MajorityVote(ties="random", seed=3).fit(crowd).labels).all()


def test_a_tie_can_go_to_the_class_given_first() -> None:
    item, worker, label = np.array([[0, 0, 2], [0, 1, 1], [1, 1, 2], [1, 0, 0], [2, 0, 1], [2, 1, 1], [2, 2, 0]]).T
    crowd = CrowdLabels(item, worker, label, 4, 3, 3)
    assert MajorityVote(ties="first").fit(crowd).labels.tolist() == [2, 2, 1, 0]
    assert MajorityVote(ties="lowest").fit(crowd).labels.tolist() == [1, 0, 1, 0]


def test_fractional_error_counts_a_tie_of_two_as_half() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 1]]), n_classes=2)
    assert fractional_error(crowd.votes, np.array([0, 1])) == 0.25
    assert fractional_error(crowd.votes, np.array([0, -1])) == 0.5


def test_bad_options_and_priors_are_refused() -> None:
    crowd = CrowdLabels.from_dense(np.array([[0, 1]]), n_classes=2)
    with pytest.raises(ValueError, match="ties must be"):
        MajorityVote(ties="highest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="prior must have shape"):
        MajorityVote().fit(crowd, prior=[1, 1, 1])
    with pytest.raises(ValueError, match="not negative"):
        MajorityVote().fit(crowd, prior=[1, -1])
    with pytest.raises(ValueError, match="sum to zero"):
        MajorityVote().fit(crowd, prior=[0, 0])


@given(crowds())
def test_rows_sum_to_one_and_classes_permute(crowd: CrowdLabels) -> None:
    result = MajorityVote().fit(crowd)
    assert np.allclose(result.posterior.sum(axis=1), 1)
    dense = crowd.to_dense()
    swapped = np.where(dense >= 0, crowd.n_classes - 1 - dense, -1)
    mirrored = MajorityVote().fit(CrowdLabels.from_dense(swapped, n_classes=crowd.n_classes))
    assert np.allclose(mirrored.posterior[:, ::-1], result.posterior)


@pytest.mark.parametrize(("name", "percent"), [("bluebird", 24.07), ("rte", 10.31), ("web", 26.93)])
def test_known_error_on_real_crowds(data_root, name: str, percent: float) -> None:
    crowd, gold, known = real_crowd(data_root, name)
    assert 100 * fractional_error(crowd.votes, gold, known) == pytest.approx(percent, abs=0.01)
