"""Noise adaptation layer: a learned layer from the true class to the label (Goldberger, Ben-Reuven, ICLR 2017).

The network predicts f(x), a distribution of the true class.  The layer theta gives the distribution of the label,
P(label j | x) = sum_i f_i(x) theta_ij, and the loss is its cross-entropy.  In the s-model ("simple") theta is one
matrix.  In the c-model ("complex") theta depends on the hidden features.

A network without the layer is trained first.  The layer starts from the confusion of its predictions with the labels.
Without such a start, theta could represent any permutation of the classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.cross_entropy import CrossEntropy
from crowdml.learning.learners.noise_layer import count_transition
from crowdml.learning.likelihood import label_nll, log_probabilities
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import Supervision
from crowdml.learning.targets import distribution
from crowdml.learning.task import Task
from crowdml.learning.trainer import StagedLearner, TrainingRun
from crowdml.networks.split import split_last_linear
from crowdml.support.search_space import Choice, Float, Space

# Logits start as log(share + 1e-8), as in the authors' code, so that no label is impossible.
FLOOR = 1e-8
# Noise of the initial layer if there is no baseline, as in the authors' code.
_BLIND_NOISE = 0.46


@dataclass(frozen=True)
class SModel(LabelLearner, StagedLearner):
    """The s-model: one transition matrix theta, whose logits b start as the log confusion of a trained baseline.

    A baseline is trained first.  Then its network and b are trained together.  Both trainings follow the recipe.  The
    layer has no weight decay, which would make the noise uniform.

    Args:
        target: see LabelLearner; for a posterior the loss is the expected loss.
        beta: weight of the cross-entropy of the network's own output, in [0, 1); the layer's output has 1 - beta.
        pretrain_soft: count the confusion by the baseline's probabilities instead of its most probable classes.
        sparse: number of learned entries per row of theta, those with the largest confusion (5 in the paper's sparse
            variant).  The other entries keep the value of a zero count.  None learns all entries.
    """

    beta: float = 0.0
    pretrain_soft: bool = False
    sparse: int | None = None

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "beta": Float(0, 0.95), "pretrain_soft": Choice(False, True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {self.beta}")
        if self.sparse is not None and self.sparse < 1:
            raise ValueError(f"sparse must be at least 1 or None, got {self.sparse}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return a fresh network and a layer with uniform noise; `learn` starts the layer from a baseline instead."""
        even = torch.full((task.n_classes, task.n_classes), _BLIND_NOISE / (task.n_classes - 1))
        return self._adapt(task.build_network(), even.fill_diagonal_(1 - _BLIND_NOISE))

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean losses "adapted", through the layer, and for beta above 0 "network", without the layer."""
        assert isinstance(model, Adapted)
        target = batch.target(self.target)
        log_class, log_transition = model.log_outputs(batch.inputs)
        terms = {"adapted": (1 - self.beta) * label_nll(log_class, log_transition, target)}
        if self.beta > 0:
            terms["network"] = self.beta * functional.cross_entropy(log_class, target)
        return terms

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Return the network's parameters, and the layer's parameters without weight decay."""
        assert isinstance(model, Adapted)
        layer = model.layer_parameters()
        others = [parameter for parameter in model.parameters() if all(parameter is not one for one in layer)]
        return [{"params": others}, {"params": layer, "weight_decay": 0.0}]

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train a baseline, add the layer, and train both.  A model of an earlier run needs no baseline."""
        model = run.model
        if model is None:
            network = self._pretrain(run)
            labels = distribution(run.given.target(self.target), run.task.n_classes)[run.indices]
            confusion = count_confusion(run.predict(network), labels, soft=self.pretrain_soft)
            model = self._adapt(network, confusion)
        return run.train(self, model=model)

    def _pretrain(self, run: TrainingRun) -> nn.Module:
        return run.train(CrossEntropy(self.target))

    def _adapt(self, network: nn.Module, confusion: Tensor) -> Adapted:
        return AdaptedByMatrix(network, confusion, self.sparse)


@dataclass(frozen=True)
class CModel(SModel):
    """The c-model: theta_ij = softmax_j(u_ij h(x) + b_ij), where h is the input of the network's last linear layer.

    A baseline, an s-model and the c-model are trained in this order.  Each training follows the recipe and continues
    with the previous network.  b starts from the confusion of the s-model's network, u from 0.

    The network must end in a linear layer; otherwise the training raises ValueError.

    Args:
        target, beta, pretrain_soft, sparse: see SModel; they apply to the s-model and to the c-model.
    """

    def _pretrain(self, run: TrainingRun) -> nn.Module:
        adapted = SModel(self.target, self.beta, self.pretrain_soft, self.sparse).learn(run)
        assert isinstance(adapted, AdaptedByMatrix)
        return adapted.network

    def _adapt(self, network: nn.Module, confusion: Tensor) -> Adapted:
        return AdaptedByFeatures(network, confusion, self.sparse)


class Adapted(nn.Module):
    """A network with a noise adaptation layer theta; its forward returns the logits of the true class.

    Args:
        confusion: (n_classes, n_classes) start of theta; rows sum to one.
        sparse: see SModel.

    Attributes:
        learned: (n_classes, n_classes) bool, which entries of theta are learned.
    """

    learned: Tensor

    def __init__(self, confusion: Tensor, sparse: int | None) -> None:
        super().__init__()
        learned = torch.ones_like(confusion, dtype=torch.bool) if sparse is None else largest(confusion, sparse)
        shares = confusion * learned
        self.bias = nn.Parameter(torch.log(shares / shares.sum(dim=1, keepdim=True) + FLOOR))
        self.register_buffer("learned", learned)

    def log_outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log f (n, n_classes) and log theta in float32; theta is one matrix, or one matrix per input."""
        raise NotImplementedError

    def layer_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of theta."""
        return [self.bias]

    def log_transition(self, logits: Tensor) -> Tensor:
        """Return log theta from its logits, (..., n_classes, n_classes).  Entries that are not learned are fixed."""
        return logits.masked_fill(~self.learned, math.log(FLOOR)).log_softmax(dim=-1)


class AdaptedByMatrix(Adapted):
    """The model of the s-model: any network, and one theta for all inputs; see Adapted."""

    def __init__(self, network: nn.Module, confusion: Tensor, sparse: int | None = None) -> None:
        super().__init__(confusion, sparse)
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of the true class, (n, n_classes)."""
        return self.network(inputs)

    def log_outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log f (n, n_classes) and log theta (n_classes, n_classes)."""
        return self(inputs).float().log_softmax(dim=1), self.log_transition(self.bias)


class AdaptedByFeatures(Adapted):
    """The model of the c-model: a network, split before its last linear layer, and one theta per input; see Adapted."""

    def __init__(self, network: nn.Module, confusion: Tensor, sparse: int | None = None) -> None:
        super().__init__(confusion, sparse)
        self.features, self.linear = split_last_linear(network)
        self.weight = nn.Parameter(confusion.new_zeros((confusion.numel(), self.linear.in_features)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of the true class, (n, n_classes)."""
        return self.linear(self.features(inputs))

    def log_outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return log f (n, n_classes) and log theta (n, n_classes, n_classes)."""
        hidden = self.features(inputs)
        logits = functional.linear(hidden, self.weight).float().unflatten(1, self.bias.shape) + self.bias
        return log_probabilities(self.linear(hidden)), self.log_transition(logits)

    def layer_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of theta."""
        return [self.bias, self.weight]


def count_confusion(predicted: Tensor, labels: Tensor, *, soft: bool = False) -> Tensor:
    """Return P(label | predicted class) (n_classes, n_classes), counted over the items; rows sum to one.

    Args:
        predicted: (n_items, n_classes) probabilities.
        labels: (n_items, n_classes) distributions.
        soft: count each item for all classes by their probabilities, instead of for its most probable class.
    """
    if not soft:
        return count_transition(predicted.argmax(dim=1), labels)
    counts = predicted.T @ labels
    return counts / counts.sum(dim=1, keepdim=True)


def largest(matrix: Tensor, n_entries: int) -> Tensor:
    """Return (n_rows, n_columns) bool: the `n_entries` largest entries of each row."""
    places = matrix.topk(min(n_entries, matrix.shape[1]), dim=1).indices
    return torch.zeros_like(matrix, dtype=torch.bool).scatter_(1, places, True)
