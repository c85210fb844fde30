"""Generalised cross-entropy, a loss between cross-entropy and mean absolute error (Zhang, Sabuncu, NeurIPS 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.supervision import Supervision
from crowdml.learning.targets import expected
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Either, Float, Space, Whole


@dataclass(frozen=True)
class GeneralisedCrossEntropy(LabelLearner):
    """Minimise L_q(p) = (1 - p**q) / q, where p is the predicted probability of the label.

    The loss is bounded, so a wrong label has limited influence.

    With truncation, items whose label has a probability of at most `truncation` are pruned: they cost the constant
    L_q(truncation) and have no gradient.  Between epochs, the current network decides which items are pruned; in the
    paper, the network that was best on held-out labels decides.  Held-out items are never pruned.

    Args:
        target: see LabelLearner; for a posterior the loss is the expected loss.
        q: exponent in (0, 1]; near 0 the loss is cross-entropy, at 1 it is the mean absolute error.
        truncation: k of the paper, in [0, 1); the paper takes 0.5.  None does not truncate.
        first_pruning: number of epochs before the first decision.
        prune_every: number of epochs between two decisions.
    """

    q: float = 0.7
    truncation: float | None = None
    first_pruning: int = 40
    prune_every: int = 10

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "q": Float(0.01, 1),
        "truncation": Either(None, Float(0, 0.9)),
        "first_pruning": Whole(0, 80),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.q <= 1:
            raise ValueError(f"q must be in (0, 1], got {self.q}")
        if self.truncation is not None and not 0 <= self.truncation < 1:
            raise ValueError(f"truncation must be in [0, 1) or None, got {self.truncation}")
        if self.first_pruning < 0:
            raise ValueError(f"first_pruning must not be negative, got {self.first_pruning}")
        if self.prune_every < 1:
            raise ValueError(f"prune_every must be at least 1, got {self.prune_every}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network; with truncation it also stores which items are pruned."""
        network = task.build_network()
        return network if self.truncation is None else Pruned(network, task.n_items)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Decide which items are pruned, in the epochs in which a decision is due."""
        due = epoch.number >= self.first_pruning and (epoch.number - self.first_pruning) % self.prune_every == 0
        if isinstance(model, Pruned) and due:
            predicted = predict_proba(model, task, task.inputs, epoch.items)
            loss = generalised_cross_entropy(predicted.log(), given.target(self.target)[epoch.items], self.q)
            model.kept[epoch.items] = loss < self._loss_of_pruned()

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean loss of the batch."""
        log_class = model(batch.inputs).float().log_softmax(dim=1)
        loss = generalised_cross_entropy(log_class, batch.target(self.target), self.q)
        if isinstance(model, Pruned):
            loss = torch.where(model.kept[batch.items], loss, self._loss_of_pruned())
        return {"gce": loss.mean()}

    def _loss_of_pruned(self) -> float:
        assert self.truncation is not None
        return (1 - self.truncation**self.q) / self.q


class Pruned(WrappedNetwork):
    """A network, and (n_items,) bool `kept`: whether an item is not pruned."""

    kept: Tensor

    def __init__(self, network: nn.Module, n_items: int) -> None:
        super().__init__(network, kept=torch.ones(n_items, dtype=torch.bool))


def generalised_cross_entropy(log_class: Tensor, target: Tensor, q: float) -> Tensor:
    """Return L_q for each item, (n,), from log-probabilities (n, n_classes).

    `target` holds labels (n,), or distributions (n, n_classes) for the expected loss.
    """
    return expected(-torch.expm1(q * log_class) / q, target)
