"""The genie-aided baseline: the network knows the true transition matrix of the noise."""

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
from crowdml.support.search_space import Float, Space


@dataclass(frozen=True)
class Genie(LabelLearner):
    """A linear noise layer with the true transition matrix, which is not trained (Jindal et al.).

    The matrix is counted from the true classes.  No real method may use the true classes; this baseline shows what a
    method could gain by knowing the noise.

    Args:
        target: see LabelLearner.
        alpha: weight of the noise layer's term, in [0, 1]; the quasi-clustering term of NNAQC has the weight 1 - alpha.
        beta: weight of the network's own prediction in the target of the quasi-clustering term, in [0, 1].
    """

    alpha: float = 1.0
    beta: float = 0.9

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "alpha": Float(0, 1), "beta": Float(0, 1)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("alpha", self.alpha)
        check_share("beta", self.beta)

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the matrix.

        Raises:
            ValueError: no true class of a training item is known.
        """
        return WithTransition(task.build_network(), self._transition(task, given))

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Count the matrix for these labels; a model from an earlier training has the matrix of its earlier labels."""
        assert isinstance(model, WithTransition)
        model.transition.copy_(self._transition(task, given))

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the weighted terms "noise_layer" and, for alpha below 1, "quasi_clustering"."""
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
                "the genie needs true classes of training items to count the transition matrix, but none is known; "
                "choose another method"
            )
        return count_transition(task.truth[known], distribution(given.target(self.target)[known], task.n_classes))
