"""A linear noise layer that is learned, and pressed away from the identity by its trace."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.noise_layer import cross_entropy, noisy_cross_entropy
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.support.search_space import Real, Space

# The diagonal of the matrix when its learning begins: near one, the gradient of the softmax vanishes.
_START = 0.9


@dataclass(frozen=True)
class TraceRegularised(LabelLearner):
    """Sukhbaatar et al., "Training convolutional networks with noisy labels" (ICLR workshop 2015), the bottom-up model.

    The label is distributed as f Q.  While the network warms up, Q is the identity, which is plain cross-entropy; then
    both are learned, with a penalty on the trace of Q, without which the network goes on explaining the noise itself.
    The paper keeps Q stochastic by projection; here its rows are softmaxes, whose gradients stay bounded where the
    network gives a label next to no probability, and which start at 0.9 on the diagonal.

    Args:
        penalty: weight of trace(Q) / n_classes, not negative; at 1 it balances the pull of labels that are all right.
        warm_up: share of the epochs for which Q is the identity, in [0, 1).  The paper warms up; by default nothing
            does here, for what the network learns of the noise the layer is slow to take over (digits, 30 % noise,
            30 epochs: test error 7 % without a warm-up, 16 % with one of 0.05, 21 % with plain cross-entropy).
    """

    penalty: float = 0.5
    warm_up: float = 0.0

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "penalty": Real(0.01, 10, log=True), "warm_up": Real(0, 0.5)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"penalty must not be negative or infinite, got {self.penalty}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must be in [0, 1), got {self.warm_up}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The network with the noise layer."""
        return WithLearnedTransition(task.build_network(), task.n_classes)

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> Iterable[dict[str, Any]]:
        """The layer apart: without weight decay, which would draw its rows to the even distribution, and faster.

        An item moves the row of its class alone, so a row's gradient is a share 1 / n_classes of the items'.  Adaptive
        optimisers even that out themselves.
        """
        assert isinstance(model, WithLearnedTransition)
        rate = recipe.lr * (len(model.row_logits) if recipe.optimizer == "sgd" else 1)
        return [
            {"params": [parameter for parameter in model.network.parameters() if parameter.requires_grad]},
            {"params": [model.row_logits], "lr": rate, "weight_decay": 0.0},
        ]

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The terms "noise_layer" and "trace", the latter with its weight, which is 0 in the warm-up."""
        assert isinstance(model, WithLearnedTransition)
        log_class, target = log_probabilities(model(batch.inputs)), batch.target(self.target)
        transition = model.transition()
        trace = transition.diagonal().mean()
        if batch.epoch < self.warm_up * batch.n_epochs:
            return {"noise_layer": cross_entropy(log_class, target), "trace": 0.0 * trace}
        return {"noise_layer": noisy_cross_entropy(log_class, transition, target), "trace": self.penalty * trace}


class WithLearnedTransition(nn.Module):
    """A network and a transition matrix whose rows are softmaxes.

    Args:
        network: maps inputs to logits (n, n_classes) of the true class; so does the whole.
        n_classes: number of classes.
    """

    def __init__(self, network: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.network = network
        self.row_logits = nn.Parameter(math.log(_START * (n_classes - 1) / (1 - _START)) * torch.eye(n_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's logits."""
        return self.network(inputs)

    def transition(self) -> Tensor:
        """(n_classes, n_classes) P(label | true class)."""
        return self.row_logits.softmax(dim=1)
