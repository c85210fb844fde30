"""Noise adaptation layer: how a label comes of the true class, learned with the network (Goldberger, Ben-Reuven, 2017).

The network's softmax f(x) over the true class is followed by a layer theta, P(label j | x) = sum_i f_i(x) theta_ij, and
the loss is the cross-entropy of that.  In the s-model (ICLR 2017, "simple") theta is one matrix, in the c-model
("complex") it depends on the hidden features.  A network without the layer is trained first, and the layer starts from
how its predictions and the labels are confused: without such a start theta could hide any permutation of the classes.
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
from crowdml.support.search_space import Choice, Real, Space

# Logits start as log(share + 1e-8), as in the authors' code, so that no label is impossible.
FLOOR = 1e-8
# The noise that a layer starts with where no baseline has informed it, as in the authors' code.
_BLIND_NOISE = 0.46


@dataclass(frozen=True)
class SModel(LabelLearner, StagedLearner):
    """The s-model: b_ij = log of the confusion of a trained baseline, then network and b are trained on.

    Both trainings follow the recipe; the layer is left out of weight decay, which would draw it to even noise.

    Args:
        target: see LabelLearner; of a posterior the expected loss.
        beta: weight of the cross-entropy of the network's own output in [0, 1); the layer's has 1 - beta.
        pretrain_soft: count the baseline's probabilities into the confusion, not its most probable classes.
        sparse: entries of a row of theta that are learned, the largest of the confusion (5 in the paper's sparse
            variant); the others stay where a count of zero starts.  None learns all.
    """

    beta: float = 0.0
    pretrain_soft: bool = False
    sparse: int | None = None

    SPACE: ClassVar[Space] = {**LabelLearner.SPACE, "beta": Real(0, 0.95), "pretrain_soft": Choice(False, True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {self.beta}")
        if self.sparse is not None and self.sparse < 1:
            raise ValueError(f"sparse must be at least 1 or None, got {self.sparse}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """A fresh network and a layer that no baseline has informed; `learn` gives it a better start."""
        even = torch.full((task.n_classes, task.n_classes), _BLIND_NOISE / (task.n_classes - 1))
        return self._adapt(task.build_network(), even.fill_diagonal_(1 - _BLIND_NOISE))

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Means over the batch."""
        assert isinstance(model, Adapted)
        target = batch.target(self.target)
        log_class, log_transition = model.log_outputs(batch.inputs)
        terms = {"adapted": (1 - self.beta) * label_nll(log_class, log_transition, target)}
        if self.beta > 0:
            terms["network"] = self.beta * functional.cross_entropy(log_class, target)
        return terms

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """The network's parameters, and the layer's without weight decay."""
        assert isinstance(model, Adapted)
        layer = model.layer_parameters()
        others = [parameter for parameter in model.parameters() if all(parameter is not one for one in layer)]
        return [{"params": others}, {"params": layer, "weight_decay": 0.0}]

    def learn(self, run: TrainingRun) -> nn.Module:
        """Train in stages, the whole last; a model of an earlier `learn` is trained on as it is."""
        model = run.model
        if model is None:
            network = self._pretrain(run)
            labels = distribution(run.given.target(self.target), run.task.n_classes)
            labels = labels if run.items is None else labels[run.items]
            confusion = count_confusion(run.predict(network), labels, soft=self.pretrain_soft)
            model = self._adapt(network, confusion)
        return run.train(self, model=model)

    def _pretrain(self, run: TrainingRun) -> nn.Module:
        """The trained network that the layer is added to."""
        return run.train(CrossEntropy(self.target))

    def _adapt(self, network: nn.Module, confusion: Tensor) -> Adapted:
        return AdaptedByMatrix(network, confusion, self.sparse)


@dataclass(frozen=True)
class CModel(SModel):
    """The c-model: theta_ij = softmax_j(u_ij h(x) + b_ij), h the input of the network's last linear layer.

    A baseline, an s-model and then the c-model are trained, each by the recipe and from the network of the one before;
    b starts from the confusion of the s-model's network, u from 0.

    Args:
        target, beta, pretrain_soft, sparse: see SModel; they hold for both layers.

    Raises:
        ValueError: the network does not end in a linear layer (when it is trained).
    """

    def _pretrain(self, run: TrainingRun) -> nn.Module:
        """The network of a trained s-model."""
        simple = SModel(self.target, self.beta, self.pretrain_soft, self.sparse)
        adapted = simple.learn(run)
        assert isinstance(adapted, AdaptedByMatrix)
        return adapted.network

    def _adapt(self, network: nn.Module, confusion: Tensor) -> Adapted:
        return AdaptedByFeatures(network, confusion, self.sparse)


class Adapted(nn.Module):
    """A network with a noise adaptation layer; called, it gives the logits of the true class.

    Args:
        confusion: (n_classes, n_classes) where theta starts; rows sum to one.
        sparse: see SModel.
    """

    learned: Tensor

    def __init__(self, confusion: Tensor, sparse: int | None) -> None:
        super().__init__()
        learned = torch.ones_like(confusion, dtype=torch.bool) if sparse is None else largest(confusion, sparse)
        shares = confusion * learned
        self.bias = nn.Parameter(torch.log(shares / shares.sum(dim=1, keepdim=True) + FLOOR))
        self.register_buffer("learned", learned)

    def log_outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(n, n_classes) log f and log theta, (n_classes, n_classes) or one a row of the inputs; in float32."""
        raise NotImplementedError

    def layer_parameters(self) -> list[nn.Parameter]:
        """Those of theta."""
        return [self.bias]

    def log_transition(self, logits: Tensor) -> Tensor:
        """Log softmax of (..., n_classes, n_classes) logits over their last dimension, those not learned held."""
        return logits.masked_fill(~self.learned, math.log(FLOOR)).log_softmax(dim=-1)


class AdaptedByMatrix(Adapted):
    """The network of the s-model.

    Args:
        network: maps inputs to logits (n, n_classes).
        confusion, sparse: see Adapted.
    """

    def __init__(self, network: nn.Module, confusion: Tensor, sparse: int | None = None) -> None:
        super().__init__(confusion, sparse)
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, n_classes) logits of the true class."""
        return self.network(inputs)

    def log_outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See Adapted: one matrix."""
        return self(inputs).float().log_softmax(dim=1), self.log_transition(self.bias)


class AdaptedByFeatures(Adapted):
    """The network of the c-model.

    Args:
        network: maps inputs to logits (n, n_classes), and ends in a linear layer; it is taken apart.
        confusion, sparse: see Adapted.
    """

    def __init__(self, network: nn.Module, confusion: Tensor, sparse: int | None = None) -> None:
        super().__init__(confusion, sparse)
        self.features, self.linear = split_last_linear(network)
        self.weight = nn.Parameter(confusion.new_zeros((confusion.numel(), self.linear.in_features)))

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, n_classes) logits of the true class."""
        return self.linear(self.features(inputs))

    def log_outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See Adapted: one matrix an item."""
        hidden = self.features(inputs)
        logits = functional.linear(hidden, self.weight).float().unflatten(1, self.bias.shape) + self.bias
        return log_probabilities(self.linear(hidden)), self.log_transition(logits)

    def layer_parameters(self) -> list[nn.Parameter]:
        """See Adapted."""
        return [self.bias, self.weight]


def count_confusion(predicted: Tensor, labels: Tensor, *, soft: bool = False) -> Tensor:
    """(n_classes, n_classes) P(label | predicted class), counted over the items; rows sum to one.

    Args:
        predicted: (n_items, n_classes) probabilities.
        labels: (n_items, n_classes) distributions.
        soft: count each item for all classes by their probability, not for the most probable one.
    """
    if not soft:
        return count_transition(predicted.argmax(dim=1), labels)
    counts = predicted.T @ labels
    return counts / counts.sum(dim=1, keepdim=True)


def largest(matrix: Tensor, n_entries: int) -> Tensor:
    """(n_rows, n_columns) bool: the largest entries of each row, all where a row has no more."""
    places = matrix.topk(min(n_entries, matrix.shape[1]), dim=1).indices
    return torch.zeros_like(matrix, dtype=torch.bool).scatter_(1, places, True)
