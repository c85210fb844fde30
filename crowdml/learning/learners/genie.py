"""The genie-aided baseline: the network is told how its labels are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.bootstrapping import soft_bootstrapping
from crowdml.learning.learners.noise_layer import WithTransition, check_share, count_transition, noisy_cross_entropy
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.targets import distribution
from crowdml.learning.task import Task
from crowdml.support.search_space import Real, Space


@dataclass(frozen=True)
class Genie(LabelLearner):
    """A linear noise layer fixed at the true transition matrix, counted from the true classes (of Jindal et al.).

    It knows what no method may know, and is there to be compared with.

    Args:
        alpha: weight of the noise layer's term, in [0, 1]; the rest is NNAQC's quasi-clustering term.
        beta: weight of the network's own prediction in the target of the quasi-clustering, in [0, 1].
    """

    alpha: float = 1.0
    beta: float = 0.9

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "alpha": Real(0, 1), "beta": Real(0, 1)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("alpha", self.alpha)
        check_share("beta", self.beta)

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The network with the matrix.

        Raises:
            ValueError: the true class of no training item is known.
        """
        return WithTransition(task.build_network(), self._transition(task, given))

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Count the matrix of these labels: a model that goes on from an earlier training has that of earlier ones."""
        assert isinstance(model, WithTransition)
        model.transition.copy_(self._transition(task, given))

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The terms with their weights, "noise_layer" and, where it has any, "quasi_clustering"."""
        assert isinstance(model, WithTransition)
        log_class, target = log_probabilities(model(batch.inputs)), batch.target(self.target)
        terms = {"noise_layer": self.alpha * noisy_cross_entropy(log_class, model.transition, target)}
        if self.alpha < 1:
            terms["quasi_clustering"] = (1 - self.alpha) * soft_bootstrapping(log_class, target, trust=1 - self.beta)
        return terms

    def _transition(self, task: Task, given: Supervision) -> Tensor:
        known = torch.zeros(0, dtype=torch.bool) if task.truth is None else task.truth >= 0
        if task.truth is None or not known.any():
            raise ValueError(
                "the genie is told the true transition matrix, which is counted from the true classes of the training "
                "items; none of them is known here"
            )
        labels = given.target(self.target)[known]
        posterior = distribution(labels, task.n_classes)
        return count_transition(task.truth[known], posterior)
