"""Early-learning regularisation: keep the network close to its early predictions (Liu et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Float, Space

# Distance of probabilities from 0 and 1, as in the authors' code, so that the logarithm stays finite.
_MARGIN = 1e-4


@dataclass(frozen=True)
class EarlyLearningRegularisation(LabelLearner):
    """Cross-entropy + weight * mean log(1 - <p, t>), where t is the moving average of an item's predictions p.

    t starts at 0.  Each training step on the item sets t to beta t + (1 - beta) p.  The gradient through <p, t> cancels
    the gradient of a label that disagrees with the early predictions.  A held-out item has t = 0, so its loss is the
    cross-entropy.

    Args:
        target: see LabelLearner.
        beta: weight of the old average, in [0, 1); the paper takes 0.7 on CIFAR-10 and 0.9 on CIFAR-100.
        weight: lambda of the paper, at least 0; the paper takes 3 on CIFAR-10 and 7 on CIFAR-100.
    """

    one_process: ClassVar[bool] = True

    beta: float = 0.7
    weight: float = 3.0

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "beta": Float(0.1, 0.99), "weight": Float(0.1, 20, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {self.beta}")
        if not self.weight >= 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the average prediction of every item."""
        return Remembering(task.build_network(), task.n_items, task.n_classes)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean terms of the batch.  In training, the averages are updated first, as in the authors' code."""
        assert isinstance(model, Remembering)
        logits = model(batch.inputs).float()
        predicted = logits.softmax(dim=1).clamp(_MARGIN, 1 - _MARGIN)
        if model.training:
            model.remember(batch.items, predicted.detach(), self.beta)
        return {
            "cross_entropy": functional.cross_entropy(logits, batch.target(self.target)),
            "early_learning": self.weight * regulariser(predicted, model.average[batch.items]).mean(),
        }


class Remembering(WrappedNetwork):
    """A network and the moving average (n_items, n_classes) of its predictions."""

    average: Tensor

    def __init__(self, network: nn.Module, n_items: int, n_classes: int) -> None:
        super().__init__(network, average=torch.zeros(n_items, n_classes))

    def remember(self, items: Tensor, predicted: Tensor, beta: float) -> None:
        """Move the averages of (n,) items towards their predictions (n, n_classes), scaled to sum to one."""
        share = predicted / predicted.sum(dim=1, keepdim=True)
        self.average[items] = beta * self.average[items] + (1 - beta) * share


def regulariser(predicted: Tensor, average: Tensor) -> Tensor:
    """Return log(1 - <p, t>) for each item, (n,), from predictions p and average predictions t, (n, n_classes)."""
    return torch.log1p(-(average * predicted).sum(dim=1))
