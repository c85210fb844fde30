"""Generalised cross-entropy, between cross-entropy and the mean absolute error (Zhang, Sabuncu, NeurIPS 2018)."""

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
from crowdml.support.search_space import Either, Real, Space, Whole


@dataclass(frozen=True)
class GeneralisedCrossEntropy(LabelLearner):
    """L_q(p) = (1 - p**q) / q of the label's probability p, which a wrong label cannot drive far.

    Truncated, an item whose label has a probability of at most `truncation` costs L_q(truncation) and teaches nothing.
    Which items these are is decided between epochs, by the network as it then is; the paper takes the network that was
    best on held-out labels.  Held-out items are never left out.

    Args:
        target: see LabelLearner; of a posterior the expected loss.
        q: in (0, 1]; towards 0 the loss is cross-entropy, at 1 the mean absolute error.
        truncation: k of the paper, in [0, 1), which takes 0.5; None does not truncate.
        first_pruning: epochs before items are first left out.
        prune_every: epochs from one decision to the next.
    """

    q: float = 0.7
    truncation: float | None = None
    first_pruning: int = 40
    prune_every: int = 10

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "q": Real(0.01, 1),
        "truncation": Either(None, Real(0, 0.9)),
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
        """The network, which remembers the items that are left out if there are to be any."""
        network = task.build_network()
        return network if self.truncation is None else Pruned(network, task.n_items)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Decide which items are left out, where that is due."""
        due = epoch.number >= self.first_pruning and (epoch.number - self.first_pruning) % self.prune_every == 0
        if isinstance(model, Pruned) and due:
            predicted = predict_proba(model, task, task.inputs, epoch.items)
            loss = generalised_cross_entropy(predicted.log(), given.target(self.target)[epoch.items], self.q)
            model.kept[epoch.items] = loss < self._loss_of_pruned()

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Mean over the batch."""
        log_class = model(batch.inputs).float().log_softmax(dim=1)
        loss = generalised_cross_entropy(log_class, batch.target(self.target), self.q)
        if isinstance(model, Pruned):
            loss = torch.where(model.kept[batch.items], loss, self._loss_of_pruned())
        return {"gce": loss.mean()}

    def _loss_of_pruned(self) -> float:
        assert self.truncation is not None
        return (1 - self.truncation**self.q) / self.q


class Pruned(nn.Module):
    """A network and which items it learns from.

    Args:
        network: maps inputs to logits (n, n_classes).
        n_items: number of training items.
    """

    kept: Tensor

    def __init__(self, network: nn.Module, n_items: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("kept", torch.ones(n_items, dtype=torch.bool))

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, n_classes) logits of the true class."""
        return self.network(inputs)


def generalised_cross_entropy(log_class: Tensor, target: Tensor, q: float) -> Tensor:
    """(n,) L_q of each item.

    Args:
        log_class: (n, n_classes) log probabilities.
        target: (n,) int64 labels, or (n, n_classes) distributions, of which the expected loss is taken.
        q: in (0, 1].
    """
    return expected(-torch.expm1(q * log_class) / q, target)
