"""A learned linear noise layer with a penalty on its trace."""

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
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Float, Space

# Initial diagonal of the matrix; near one, the gradient of the softmax would vanish.
_START = 0.9


@dataclass(frozen=True)
class TraceRegularised(LabelLearner):
    """Learn a noise layer Q together with the network, and penalise the trace of Q.

    Sukhbaatar et al., "Training convolutional networks with noisy labels" (ICLR workshop 2015), the bottom-up model.

    The label has the distribution f Q.  In the warm-up Q is the identity, which is plain cross-entropy.  Afterwards
    network and Q are learned.  Without the penalty on the trace, the network would learn the noise itself.  The paper
    keeps Q stochastic by projection.  Here the rows of Q are softmaxes that start with 0.9 on the diagonal, because
    their gradients stay bounded when the network gives a label almost no probability.

    Args:
        target: see LabelLearner.
        penalty: weight of trace(Q) / n_classes, at least 0; at 1 it balances the gradient of labels that are all
            correct.
        warm_up: share of the epochs in which Q is the identity, in [0, 1).  The paper has a warm-up.  The default here
            is 0, because noise that the network has learned moves slowly into the layer (digits, 30 % noise, 30 epochs:
            test error 7 % with warm_up 0, 16 % with 0.05, and 21 % with plain cross-entropy).
    """

    penalty: float = 0.5
    warm_up: float = 0.0

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "penalty": Float(0.01, 10, log=True), "warm_up": Float(0, 0.5)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"penalty must not be negative or infinite, got {self.penalty}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must be in [0, 1), got {self.warm_up}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the noise layer."""
        return WithLearnedTransition(task.build_network(), task.n_classes)

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> Iterable[dict[str, Any]]:
        """Return the layer as its own group: without weight decay, and for SGD with a higher learning rate.

        Weight decay would make the rows uniform.  An item changes only the row of its class, so the gradient of a row
        comes from 1 / n_classes of the items, and the learning rate of SGD is multiplied by n_classes.  Adaptive
        optimisers need no such factor.
        """
        assert isinstance(model, WithLearnedTransition)
        rate = recipe.lr * (len(model.row_logits) if recipe.optimizer == "sgd" else 1)
        return [
            {"params": [parameter for parameter in model.network.parameters() if parameter.requires_grad]},
            {"params": [model.row_logits], "lr": rate, "weight_decay": 0.0},
        ]

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the terms "noise_layer" and "trace"; the weight of the trace is 0 in the warm-up."""
        assert isinstance(model, WithLearnedTransition)
        log_class, target = log_probabilities(model(batch.inputs)), batch.target(self.target)
        transition = model.transition()
        trace = transition.diagonal().mean()
        if batch.epoch < self.warm_up * batch.n_epochs:
            return {"noise_layer": cross_entropy(log_class, target), "trace": 0.0 * trace}
        return {"noise_layer": noisy_cross_entropy(log_class, transition, target), "trace": self.penalty * trace}


class WithLearnedTransition(WrappedNetwork):
    """A network and a transition matrix whose rows are softmaxes."""

    def __init__(self, network: nn.Module, n_classes: int) -> None:
        super().__init__(network)
        self.row_logits = nn.Parameter(math.log(_START * (n_classes - 1) / (1 - _START)) * torch.eye(n_classes))

    def transition(self) -> Tensor:
        """Return P(label | true class), (n_classes, n_classes)."""
        return self.row_logits.softmax(dim=1)
