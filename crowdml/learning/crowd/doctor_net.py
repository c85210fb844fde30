"""DoctorNet: one classifier per worker, and learned weights to average them (Guan, Gulshan, Dai, Hinton, AAAI 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.annotations import BatchAnnotations
from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.learner import Learner, LossTerms
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.networks.layers import initialise
from crowdml.networks.split import split_last_linear
from crowdml.support.search_space import Choice, Space, Whole

Averaging = Literal["equal", "workers", "items"]


@dataclass(frozen=True)
class DoctorNet(CrowdLearner, StagedLearner):
    """Predict the label that each worker would give to an item, and average the predictions.

    The first training learns shared features, and one linear layer per worker on that worker's labels (DN).  The second
    training freezes both and learns the weights of the average: a softmax of one number per worker (WDN), or of a
    linear function of the features (IWDN).  The target is the distribution of the labels of an item.

    In the second training, the average of an item leaves out the workers who labelled the item, because their
    classifiers were trained on it.  If every worker labelled the item, no worker is left out.  Workers without labels
    have no classifier and are always left out.

    Args:
        averaging: "equal" is DN, "workers" is WDN, "items" is IWDN.
        averaging_epochs: epochs of the second training, which otherwise follows the recipe.
    """

    averaging: Averaging = "workers"
    averaging_epochs: int = 20

    SPACE: ClassVar[Space] = {"averaging": Choice(*get_args(Averaging)), "averaging_epochs": Whole(5, 50)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.averaging not in get_args(Averaging):
            raise ValueError(f'averaging must be "equal", "workers" or "items", got {self.averaging!r}')
        if self.averaging_epochs < 1:
            raise ValueError(f"averaging_epochs must be at least 1, got {self.averaging_epochs}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with one last layer per worker and equal weights of all workers."""
        features, last = split_last_linear(task.build_network())
        seen = torch.bincount(given.crowd.all().worker, minlength=given.crowd.n_workers) > 0
        return _Doctors(features, last.in_features, task.n_classes, seen)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean cross-entropy of the workers' classifiers on the workers' labels."""
        assert isinstance(model, _Doctors)
        part = batch.annotations
        log_labels, _ = model.opinions(batch.inputs)
        said = log_labels[part.row, part.worker, part.label]
        return {"annotations": -said.sum() / max(len(part), 1)}

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train the classifiers, then the weights of their average, and compute the workers' matrices."""
        if run.model is not None:
            assert isinstance(run.model, _Doctors)
            run.model.learn_classifiers()
        model = run.train(self, model=run.model)
        assert isinstance(model, _Doctors)
        if self.averaging != "equal":
            model.learn_average(by_item=self.averaging == "items")
            recipe = replace(run.task.settings.recipe, epochs=self.averaging_epochs)
            run.train(_Average(), model=model, recipe=recipe)
        model.confusion.copy_(_expected_labels(model, run))
        return model

    def confusion(self, model: nn.Module) -> Tensor:
        """Return the mean prediction of each worker's classifier for the items of each class.

        The entry of worker w is sum_i f_c(x_i) p_w(l | x_i) / sum_i f_c(x_i) over the training items.  f is the average
        over all workers; it replaces the true class, which the model does not represent.  The matrices are uniform
        before `learn` has ended.
        """
        return super().confusion(model)


@dataclass(frozen=True)
class _Average(Learner):
    """The second training, which learns the weights of the average."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        assert isinstance(model, _Doctors)
        part = batch.annotations
        log_labels, weights = model.opinions(batch.inputs)
        log_average = average(log_labels, weights.masked_fill(~others(part, len(batch.items), model.seen), -torch.inf))
        labelled = batch.given.crowd.per_item[batch.items] > 0
        each = -(batch.given.posterior[batch.items] * log_average).sum(dim=1)
        return {"average": (each * labelled).sum() / labelled.sum().clamp_min(1)}


def average(log_labels: Tensor, weights: Tensor) -> Tensor:
    """Return the logarithm of the workers' average, (n, n_classes).

    Args:
        log_labels: (n, n_workers, n_classes) log-probabilities of each worker's classifier.
        weights: (n, n_workers) logits of the weights; a worker with minus infinity is left out.
    """
    return torch.logsumexp(log_labels + weights.log_softmax(dim=1)[:, :, None], dim=1)


def others(part: BatchAnnotations, n_items: int, seen: Tensor) -> Tensor:
    """Return (n_items, n_workers) bool: the seen workers who did not label the item; all seen workers if all did.

    Args:
        part: the annotations of the items.
        n_items: number of items.
        seen: (n_workers,) bool, whether a worker gave any label.
    """
    labelled = torch.zeros((n_items, len(seen)), dtype=torch.bool, device=seen.device)
    labelled[part.row, part.worker] = True
    rest = seen & ~labelled
    return torch.where(rest.any(dim=1, keepdim=True), rest, seen)


def _expected_labels(model: _Doctors, run: TrainingRun) -> Tensor:
    """Return the matrices of `DoctorNet.confusion`, (n_workers, n_classes, n_classes)."""
    model.eval()
    counts = torch.zeros_like(model.confusion)
    with torch.inference_mode():
        for inputs in run.batches():
            log_labels, weights = model.opinions(inputs)
            counts += torch.einsum("nc,nwl->wcl", average(log_labels, weights).exp(), log_labels.exp())
    return functional.normalize(counts, p=1, dim=2)


class _Doctors(nn.Module):
    """Shared features, one last layer per worker, and the weights of the workers."""

    seen: Tensor
    confusion: Tensor

    def __init__(self, features: nn.Module, n_features: int, n_classes: int, seen: Tensor) -> None:
        super().__init__()
        n_workers = len(seen)
        self.features = features
        self.classifiers = initialise(nn.Linear(n_features, n_workers * n_classes))
        self.weights = nn.Linear(n_features, n_workers)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        self.register_buffer("seen", seen)
        self.register_buffer("confusion", torch.full((n_workers, n_classes, n_classes), 1 / n_classes))
        self.learn_classifiers()

    def learn_classifiers(self) -> None:
        self._frozen = False
        self.requires_grad_(True)
        self.weights.requires_grad_(False)

    def learn_average(self, *, by_item: bool) -> None:
        """Train the weights of the average from now on: one weight per worker, or also their dependence on the item."""
        self._frozen = True
        self.requires_grad_(False)
        self.weights.bias.requires_grad_(True)
        self.weights.weight.requires_grad_(by_item)

    def train(self, mode: bool = True) -> _Doctors:
        """Set the mode; frozen features stay in evaluation mode, without dropout and batch statistics."""
        super().train(mode)
        if self._frozen:
            self.features.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        return average(*self.opinions(inputs))

    def opinions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of each classifier (n, n_workers, n_classes), and weight logits (n, n_workers)."""
        features = self.features(inputs)
        full = self.classifiers.weight.dtype
        logits = self.classifiers(features).to(full).unflatten(1, (len(self.seen), -1))
        weights = self.weights(features).to(full).masked_fill(~self.seen, -torch.inf)
        return logits.log_softmax(dim=2), weights
