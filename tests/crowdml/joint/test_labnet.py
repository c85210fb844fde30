from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from crowdml.aggregation import DawidSkene
from crowdml.aggregation.inference.confusion import estimate_confusion, infer_posterior
from crowdml.joint.labnet import Labnet, calibrated
from crowdml.labels import CrowdLabels
from crowdml.learning import trainer
from crowdml.learning.inputs import Inputs
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.loop import TrainingOutcome
from crowdml.learning.task import Task
from tests.crowdml.learning.tasks import Fixed, blobs, make
from tests.crowds import simulated


def task_for(n_items: int, n_classes: int, probabilities: list[float]) -> Task:
    """A task whose network always predicts the same."""
    data = blobs(n_items=2 * n_items, n_classes=n_classes)
    return make(data, network=lambda: Fixed(probabilities), epochs=1)


def test_one_iteration_by_hand() -> None:
    # Votes: item 0 -> 0, item 1 -> 1, item 2 a tie, so 0.
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [1, 1], [0, 1]]), n_classes=2)
    result = Labnet(max_iter=1, hard=False, smoothing=0.0).fit(crowd, task_for(3, 2, [0.2, 0.8]), CrossEntropy())
    # Worker 0: class 0 -> (1, 0), class 1 -> (0, 1).  Worker 1: class 0 -> (1/2, 1/2), class 1 -> (0, 1).
    assert result.aggregation.confusion == pytest.approx(np.array([[[1, 0], [0, 1]], [[0.5, 0.5], [0, 1]]]))
    # The prior is the network's mean prediction (Eq. 2): item 2 gets .2 * 1 * .5 against .8 * 0 * 1.
    assert result.aggregation.class_prior == pytest.approx([0.2, 0.8])
    assert result.aggregation.posterior == pytest.approx(np.array([[1, 0], [0, 1], [1, 0]]), abs=1e-6)
    # H_1 = -(ln .2 + ln .8 + ln .2) / 3.
    assert result.aggregation.objective == pytest.approx([np.log(0.2) * 2 / 3 + np.log(0.8) / 3])
    assert result.n_trainings == 1


def test_the_prior_decides_between_even_votes() -> None:
    # Two workers of the same kind disagree on the last item; the classes are symmetric but for the prior.
    crowd = CrowdLabels.from_dense(np.array([[0, 0], [0, 0], [1, 1], [1, 1], [0, 1], [1, 0]]), n_classes=2)
    for prior, label in (([0.9, 0.1], 0), ([0.1, 0.9], 1)):
        result = Labnet(max_iter=1, smoothing=1.0).fit(crowd, task_for(6, 2, prior), CrossEntropy())
        assert result.aggregation.labels[-2:].tolist() == [label, label]


def test_training_is_triggered_by_a_growing_loss_only(monkeypatch) -> None:
    # H_0 = 0 < H_1 trains twice; with a network that never changes, H follows the labels alone.
    crowd, _ = simulated(n_items=60, n_workers=5, n_classes=3)
    trainings: list[int] = []

    def count(learner, task, target, *, stream: int, **options) -> TrainingOutcome:
        trainings.append(stream)
        return TrainingOutcome(model=Fixed([0.5, 0.3, 0.2]), n_images=1, n_epochs=1, seconds=0.0)

    monkeypatch.setattr(trainer, "train", count)
    result = Labnet().fit(crowd, task_for(60, 3, [1 / 3] * 3), CrossEntropy())
    losses = [0.0, *(-value for value in result.aggregation.objective)]
    expected = 1 + sum(now > before for before, now in pairwise(losses[:-1]))
    assert result.n_trainings == len(trainings) == expected >= 2


def test_with_a_flat_network_labnet_is_hard_dawid_skene() -> None:
    # A flat class prior from the network and no later re-estimate: exactly hard EM with a uniform prior.
    crowd, _ = simulated(n_items=300, n_workers=5, n_classes=3)
    ours = Labnet(max_iter=2).fit(crowd, task_for(300, 3, [1 / 3] * 3), CrossEntropy())
    theirs = DawidSkene(hard=True, init="majority", class_prior="uniform", max_iter=2).fit(crowd)
    assert ours.n_trainings == 2
    assert (ours.aggregation.labels == theirs.labels).all()
    assert ours.aggregation.confusion == pytest.approx(theirs.confusion)


def test_counts_are_refreshed_unless_told_otherwise() -> None:
    crowd, _ = simulated(n_items=300, n_workers=5, n_classes=3)
    task = task_for(300, 3, [1 / 3] * 3)
    printed = Labnet(refresh_counts=False, max_iter=5).fit(crowd, task, CrossEntropy()).aggregation
    vote = np.eye(3)[crowd.votes.argmax(axis=1)]
    assert printed.confusion == pytest.approx(estimate_confusion(crowd, vote, 0.01))
    refreshed = Labnet(max_iter=5).fit(crowd, task, CrossEntropy()).aggregation
    assert not np.allclose(refreshed.confusion, printed.confusion)  # pyright: ignore[reportArgumentType]


def test_the_same_seed_gives_the_same_labels_and_network() -> None:
    data = blobs(n_items=200)
    crowd, _ = simulated(n_items=100, n_workers=3, n_classes=3)
    for options in (Labnet(), Labnet(prior="instance", final_training=True)):
        first, second = (options.fit(crowd, make(data), CrossEntropy()) for _ in range(2))
        assert (first.aggregation.posterior == second.aggregation.posterior).all()
        pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_out_of_fold_networks_never_saw_the_items_they_predict(monkeypatch) -> None:
    crowd, _ = simulated(n_items=60, n_workers=3, n_classes=3)
    task = task_for(60, 3, [1 / 3] * 3)
    seen: dict[int, set[int]] = {}
    predicted: list[tuple[set[int], set[int]]] = []

    def remember(learner, task, target, *, items=None, **options) -> TrainingOutcome:
        model = Fixed([1 / 3] * 3)
        seen[id(model)] = set(range(60)) if items is None else set(items.tolist())
        kept.append(model)
        return TrainingOutcome(model=model, n_images=len(seen[id(model)]), n_epochs=1, seconds=0.0)

    def predict(model: nn.Module, task: Task, inputs: Inputs, items: torch.Tensor) -> torch.Tensor:
        predicted.append((seen[id(model)], set(items.tolist())))
        return torch.full((len(items), 3), 1 / 3)

    kept: list[nn.Module] = []
    monkeypatch.setattr(trainer, "train", remember)
    monkeypatch.setattr(trainer, "predict_proba", predict)
    result = Labnet(prior="instance", folds=4, final_training=True).fit(crowd, task, CrossEntropy())
    assert all(not trained_on & rows for trained_on, rows in predicted)
    for start in range(0, len(predicted), 4):
        assert set.union(*(rows for _, rows in predicted[start : start + 4])) == set(range(60))
    assert result.n_trainings == len(predicted) + 1


def test_calibration_finds_the_temperature_that_made_the_predictions() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet(np.ones(3), size=20_000)
    truth = np.array([rng.choice(3, p=row) for row in honest[:20_000]])
    crowd, _ = simulated(n_items=20_000, n_workers=4, n_classes=3)
    dense = np.where(rng.random((20_000, 4)) < 0.7, truth[:, None], rng.integers(0, 3, (20_000, 4)))
    crowd = CrowdLabels.from_dense(dense, n_classes=3)
    confusion = estimate_confusion(crowd, np.eye(3)[truth], 0.0)
    overconfident = honest**3 / (honest**3).sum(axis=1, keepdims=True)
    restored = calibrated(crowd, confusion, overconfident)
    assert np.abs(restored - honest).mean() < 0.02
    before = infer_posterior(crowd, confusion, overconfident)[1].sum()
    assert infer_posterior(crowd, confusion, restored)[1].sum() > before


def test_bad_options_are_refused() -> None:
    for options, message in [
        ({"prior": "item"}, 'prior must be "class" or "instance"'),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"folds": 1}, "folds must be at least 2, got 1"),
        ({"smoothing": -0.1}, "smoothing must not be negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            Labnet(**options)
