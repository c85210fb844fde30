from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crowdml.learning.evaluate import SeveralNetworks, accuracies, predict_members, predict_proba
from crowdml.learning.held_out import hold_out
from crowdml.learning.learners.noise_layer import count_transition
from crowdml.learning.loop import seed_of
from crowdml.learning.supervision import supervise
from tests.crowdml.learning.tasks import Fixed, blobs, make

DATA = blobs()


def test_several_networks_predict_the_mean_of_their_probabilities() -> None:
    model = SeveralNetworks([Fixed([0.7, 0.2, 0.1]), Fixed([0.1, 0.2, 0.7]), Fixed([0.1, 0.6, 0.3])])
    task = make(DATA)
    assert task.test_inputs is not None
    members = predict_members(model, task, task.test_inputs)
    assert members.shape == (3, 120, 3)
    together = predict_proba(model, task, task.test_inputs)
    assert together[0].numpy() == pytest.approx([0.3, 1 / 3, 1.1 / 3], abs=1e-6)
    logits = model(torch.zeros(2, 1, 8, 8)).detach()
    assert logits.softmax(dim=1)[1].numpy() == pytest.approx([0.3, 1 / 3, 1.1 / 3], abs=1e-6)
    # The members say classes 0, 2 and 1, each right for a third; together they say class 2.
    found = accuracies(model, task)
    assert found == {"test_accuracy": pytest.approx(1 / 3), "ensemble_test_accuracy": pytest.approx(1 / 3)}


def test_without_test_items_there_is_no_accuracy() -> None:
    task = replace(make(DATA), test_inputs=None, test_labels=None)
    assert accuracies(task.build_network(), task) == {}


def test_predicting_leaves_the_mode_of_the_model() -> None:
    task = make(DATA)
    model = task.build_network().train()
    predict_proba(model, task, task.inputs)
    assert model.training


def test_held_out_items_are_drawn_in_proportion_to_their_labels() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    kept, held_out = hold_out(torch.arange(100), labels, 0.2, seed=3)
    assert torch.bincount(labels[held_out]).tolist() == [12, 6, 2]
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(100))
    assert torch.equal(held_out, hold_out(torch.arange(100), labels, 0.2, seed=3)[1])
    with pytest.raises(ValueError, match="leaves nothing to train on or nothing to validate on"):
        hold_out(torch.arange(3), labels, 0.1, seed=0)


def test_the_transition_is_counted() -> None:
    counted = count_transition(torch.tensor([0, 0, 1, 1]), torch.eye(3)[[0, 1, 1, 1]])
    assert counted.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_supervision_by_labels_and_by_a_posterior() -> None:
    hard = supervise(np.array([0, 2]), 3)
    assert hard.posterior.tolist() == [[1, 0, 0], [0, 0, 1]]
    soft = supervise(np.array([[0.2, 0.8], [0.5, 0.5]]), 2, labels=np.array([1, 1]))
    assert soft.labels.tolist() == [1, 1]
    assert soft.posterior.dtype == torch.float32
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\), got 0 to 2"):
        supervise(np.array([0, 2]), 2)
    with pytest.raises(ValueError, match="the posterior has 2 classes, the task 3"):
        supervise(np.ones((4, 2)), 3)
    with pytest.raises(ValueError, match="trains on all annotations"):
        _ = hard.crowd


def test_seeds_differ() -> None:
    assert len({seed_of(*parts) for parts in [(0,), (1,), (0, 1), (1, 0), (0, 0, 1)]}) == 5
