"""Two networks that teach each other: Co-teaching, Co-teaching+ and Decoupling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.evaluate import SeveralNetworks
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.several_networks import build_several, cross_entropies, member_log_probabilities
from crowdml.learning.learners.small_loss import SmallLossLearner, mean_over
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.support.search_space import Space, Whole


@dataclass(frozen=True)
class CoTeaching(SmallLossLearner):
    """Each network learns from the items of small loss in the other (Han, Yao, Yu, Niu et al., NeurIPS 2018).

    One optimiser holds the weights of both, which for SGD and Adam is the same as one for each.
    """

    def build(self, task: Task, given: Supervision) -> SeveralNetworks:
        """Two networks with initial weights of their own."""
        return build_several(task, 2)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The cross-entropy of each network on what the other chose."""
        log_p = member_log_probabilities(model, batch.inputs)
        losses = cross_entropies(log_p, batch.target(self.target))
        among = self.candidates(log_p, batch.epoch) if model.training else None
        chosen = self.trusted(losses, batch, training=model.training, among=among)
        return _of_each(mean_over(losses, chosen.flip(0)))

    def candidates(self, log_p: Tensor, epoch: int) -> Tensor | None:
        """(n,) bool the items from which each network chooses in an epoch; None is all."""
        return None


@dataclass(frozen=True)
class CoTeachingPlus(CoTeaching):
    """Co-teaching on the items on which the networks disagree (Yu, Han, Yao, Niu, Tsang, Sugiyama, ICML 2019).

    As in their algorithm: a step without any such item changes nothing (their program trains on the whole batch in
    that case while fewer than 5,000 steps are done).

    Args:
        n_warm_up: epochs of plain Co-teaching before; their program has 0 for MNIST, 20 for CIFAR-10 and 5 for
            CIFAR-100.
    """

    n_warm_up: int = 20

    SPACE: ClassVar[Space] = {**CoTeaching.SPACE, "n_warm_up": Whole(0, 40)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_warm_up < 0:
            raise ValueError(f"n_warm_up must not be negative, got {self.n_warm_up}")

    def candidates(self, log_p: Tensor, epoch: int) -> Tensor | None:
        """See CoTeaching."""
        return None if epoch < self.n_warm_up else disagree(log_p)


@dataclass(frozen=True)
class Decoupling(LabelLearner):
    """Both networks learn from the items on which they disagree (Malach, Shalev-Shwartz, NIPS 2017).

    A step without any such item changes nothing.
    """

    def build(self, task: Task, given: Supervision) -> SeveralNetworks:
        """Two networks with initial weights of their own."""
        return build_several(task, 2)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The cross-entropy of each network where they disagree; everywhere if the loss is only measured."""
        log_p = member_log_probabilities(model, batch.inputs)
        losses = cross_entropies(log_p, batch.target(self.target))
        return _of_each(mean_over(losses, disagree(log_p).expand_as(losses)) if model.training else losses.mean(dim=1))


def disagree(log_p: Tensor) -> Tensor:
    """(n,) bool whether two networks predict different classes, from (2, n, n_classes) log-probabilities."""
    first, second = torch.unbind(log_p.detach().argmax(dim=2))
    return first != second


def _of_each(losses: Tensor) -> LossTerms:
    return {"cross_entropy_1": losses[0], "cross_entropy_2": losses[1]}
