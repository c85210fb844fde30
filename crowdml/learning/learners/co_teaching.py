"""Two networks that choose training items for each other: Co-teaching, Co-teaching+ and Decoupling."""

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
    """Train two networks; each learns from the items of small loss in the other (Han, Yao, Yu et al., NeurIPS 2018).

    One optimiser holds the weights of both networks.  For SGD and Adam this equals one optimiser per network.
    """

    def build(self, task: Task, given: Supervision) -> SeveralNetworks:
        """Return two networks, each with its own initial weights."""
        return build_several(task, 2)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the cross-entropy of each network on the items that the other network chose."""
        log_p = member_log_probabilities(model, batch.inputs)
        losses = cross_entropies(log_p, batch.target(self.target))
        among = self.candidates(log_p, batch.epoch) if model.training else None
        chosen = self.trusted(losses, batch, training=model.training, among=among)
        return _of_each(mean_over(losses, chosen.flip(0)))

    def candidates(self, log_p: Tensor, epoch: int) -> Tensor | None:
        """Return (n,) bool: the items of the batch from which the networks may choose in an epoch; None is all."""
        return None


@dataclass(frozen=True)
class CoTeachingPlus(CoTeaching):
    """Co-teaching on the items on which the networks disagree (Yu, Han, Yao, Niu, Tsang, Sugiyama, ICML 2019).

    A step without such items changes nothing, as in the algorithm of the paper.  The authors' program trains on the
    whole batch instead during the first 5,000 steps.

    Args:
        target, forget_rate, n_gradual, exponent: see SmallLossLearner.
        n_warm_up: epochs of plain Co-teaching at the start.  The authors' program takes 0 for MNIST, 20 for CIFAR-10
            and 5 for CIFAR-100.
    """

    n_warm_up: int = 20

    SPACE: ClassVar[Space] = {**CoTeaching.SPACE, "n_warm_up": Whole(0, 40)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_warm_up < 0:
            raise ValueError(f"n_warm_up must not be negative, got {self.n_warm_up}")

    def candidates(self, log_p: Tensor, epoch: int) -> Tensor | None:
        """Return all items in the warm-up, and then the items on which the networks disagree."""
        return None if epoch < self.n_warm_up else disagree(log_p)


@dataclass(frozen=True)
class Decoupling(LabelLearner):
    """Train two networks on the items on which they disagree (Malach, Shalev-Shwartz, NIPS 2017).

    A step without such items changes nothing.
    """

    def build(self, task: Task, given: Supervision) -> SeveralNetworks:
        """Return two networks, each with its own initial weights."""
        return build_several(task, 2)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the cross-entropy of each network on the items of disagreement, or on all held-out items."""
        log_p = member_log_probabilities(model, batch.inputs)
        losses = cross_entropies(log_p, batch.target(self.target))
        return _of_each(mean_over(losses, disagree(log_p).expand_as(losses)) if model.training else losses.mean(dim=1))


def disagree(log_p: Tensor) -> Tensor:
    """Return (n,) bool: whether two networks with log-probabilities (2, n, n_classes) predict different classes."""
    first, second = torch.unbind(log_p.detach().argmax(dim=2))
    return first != second


def _of_each(losses: Tensor) -> LossTerms:
    return {"cross_entropy_1": losses[0], "cross_entropy_2": losses[1]}
