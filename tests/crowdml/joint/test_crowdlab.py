from __future__ import annotations

import numpy as np
import pytest

from crowdml.aggregation.crowdlab_weights import Crowdlab
from crowdml.joint.crowdlab import CrowdlabTraining
from crowdml.joint.out_of_fold import JointTrainer
from crowdml.labels import CrowdLabels
from crowdml.learning.learners.cross_entropy import CrossEntropy
from tests.crowdml.learning.tasks import blobs, make


def noisy_crowd(truth: np.ndarray, n_classes: int) -> CrowdLabels:
    rng = np.random.default_rng(0)
    right = rng.random((len(truth), 3)) < 0.6
    return CrowdLabels.from_dense(
        np.where(right, truth[:, None], rng.integers(0, n_classes, right.shape)), n_classes=n_classes
    )


def test_it_is_crowdlab_on_out_of_fold_predictions_and_a_last_training() -> None:
    data = blobs(n_items=240)
    crowd = noisy_crowd(data.train_labels, 3)
    result = CrowdlabTraining(folds=4).fit(crowd, make(data), CrossEntropy())
    majority = np.eye(3)[crowd.votes.argmax(axis=1)]
    predicted = JointTrainer(CrossEntropy(), make(data)).predict_out_of_fold(majority, 4)
    expected = Crowdlab().fit(crowd, predicted)
    assert result.aggregation.posterior == pytest.approx(expected.posterior)
    assert result.n_trainings == 5
    # Each item is seen by three of four folds' networks and by the last.
    assert result.n_images == 3 * (3 * 120 + 120)
    assert result.seconds > 0


def test_the_classifier_helps_the_vote() -> None:
    data = blobs(n_items=600)
    crowd = noisy_crowd(data.train_labels, 3)
    result = CrowdlabTraining().fit(crowd, make(data, epochs=5), CrossEntropy())
    wrong = (crowd.votes.argmax(axis=1) != data.train_labels).mean()
    assert (result.aggregation.labels != data.train_labels).mean() < wrong - 0.05


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        CrowdlabTraining(folds=1)
