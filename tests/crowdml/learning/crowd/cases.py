"""Small crowds, batches and models for tests of crowd learners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from crowdml.aggregation.aggregator import vote_shares
from crowdml.joint.end_to_end import EndToEnd
from crowdml.labels import CrowdLabels
from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.observers import ReportPoint, ignore_point
from crowdml.learning.supervision import Supervision, supervise
from crowdml.learning.task import Task
from tests.crowdml.learning.tasks import blobs, make


def given_of(dense: list[list[int]] | np.ndarray, n_classes: int) -> Supervision:
    """Supervision by a table of labels (n_items, n_workers), -1 where there is none."""
    crowd = CrowdLabels.from_dense(np.asarray(dense), n_classes=n_classes)
    return supervise(vote_shares(crowd), n_classes, crowd=crowd)


def batch_of(given: Supervision, inputs: Tensor, *, epoch: int = 0, n_epochs: int = 10) -> Batch:
    """All items in one batch."""
    return Batch((inputs,), torch.arange(len(inputs)), given, epoch, n_epochs)


def predicting(learner: CrowdLearner, given: Supervision, probabilities: Tensor) -> tuple[nn.Module, Batch]:
    """A model whose network predicts given probabilities (n_items, n_classes), in their precision, and its batch."""
    task = replace(make(blobs(n_classes=3)), build_network=nn.Identity)
    model = learner.build(task, given)
    return model.to(probabilities.dtype), batch_of(given, probabilities.log())


def values_of(learner: CrowdLearner, model: nn.Module, batch: Batch) -> dict[str, float]:
    """The terms of the loss as numbers."""
    return {name: term.item() for name, term in learner.loss(model, batch).items()}


def check_gradient(learner: CrowdLearner, model: nn.Module, batch: Batch) -> None:
    """The loss's gradient by the network's outputs and by every parameter, against differences."""
    parameters = dict(model.named_parameters())

    def loss(logits: Tensor, *values: Tensor) -> Tensor:
        named = {f"model.{name}": value for name, value in zip(parameters, values, strict=True)}
        return torch.func.functional_call(_Total(learner, model), named, (replace(batch, views=(logits,)),))

    at = [value.detach().clone().requires_grad_() for value in (batch.inputs, *parameters.values())]
    assert torch.autograd.gradcheck(loss, at)


class _Total(nn.Module):
    def __init__(self, learner: CrowdLearner, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._learner = learner

    def forward(self, batch: Batch) -> Tensor:
        return torch.stack(list(self._learner.loss(self.model, batch).values())).sum()


def random_labels(n_items: int, n_workers: int, n_classes: int, seed: int) -> np.ndarray:
    """(n_items, n_workers) labels, a third of them missing."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n_items, n_workers)) < 1 / 3, -1, rng.integers(n_classes, size=(n_items, n_workers)))


def random_probabilities(n_items: int, n_classes: int, seed: int) -> Tensor:
    """(n_items, n_classes) float64."""
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(n_classes), size=n_items))


DATA = blobs(n_items=480, n_classes=4)


def hard_crowd(seed: int = 0) -> tuple[CrowdLabels, np.ndarray]:
    """A crowd on DATA whose majority is often wrong, and its workers' matrices.

    Two of five workers are right, three take each class for the next more often than not.
    """
    rng = np.random.default_rng(seed)
    good, bad = np.full((4, 4), 0.1 / 3), np.full((4, 4), 0.05)
    good[np.arange(4), np.arange(4)] = 0.9
    bad[np.arange(4), np.arange(4)] = 0.4
    bad[np.arange(4), (np.arange(4) + 1) % 4] = 0.5
    confusion = np.stack([good, good, bad, bad, bad])
    truth = DATA.train_labels
    dense = np.stack([[rng.choice(4, p=matrix[true]) for matrix in confusion] for true in truth])
    return CrowdLabels.from_dense(dense, n_classes=4), confusion


def task_of(seed: int = 0, report: ReportPoint = ignore_point, **recipe) -> Task:
    """DATA to be learned by a linear network."""
    settings = {"epochs": 25, "optimizer": "adam", "lr": 0.02, "batch_size": 32, **recipe}
    return make(DATA, seed=seed, report=report, **settings)


def accuracy_and_error(learner: CrowdLearner, **recipe) -> tuple[float, float]:
    """Share of DATA's training items whose label is inferred rightly from `hard_crowd`, and the matrices' distance."""
    crowd, confusion = hard_crowd()
    result = EndToEnd(learner=learner).fit(crowd, task_of(**recipe)).aggregation
    assert result.confusion is not None
    assert np.allclose(result.confusion.sum(axis=2), 1, atol=1e-5)
    right = (result.labels == DATA.train_labels).mean()
    return float(right), float(np.abs(result.confusion - confusion).sum(axis=2).mean() / 2)
