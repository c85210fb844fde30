"""NNAQC: a nonlinear noise model on top of the network, and a quasi-clustering term."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.batch import Batch
from crowdml.learning.learner import LabelLearner, LossTerms
from crowdml.learning.learners.bootstrapping import soft_bootstrapping
from crowdml.learning.learners.noise_layer import check_share, cross_entropy, full_precision
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.recipe import Recipe
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Choice, Float, Space


@dataclass(frozen=True)
class Nnaqc(LabelLearner):
    """Cross-entropy through a nonlinear noise model, plus a quasi-clustering term.

    Jindal et al., "A nonlinear, noise-aware, quasi-clustering approach to learning deep CNNs from noisy labels".

    The noise model turns the network's prediction f = softmax(t) into f' = softmax(W f).  The loss is
    alpha CE(f', y) + (1 - alpha) QC with QC = -sum_c (beta f_c + (1 - beta) y_c) log f_c.  The test prediction is f.

    alpha = 1 is the noise model alone ("NNA"); with dropout it is the method of Jindal, Nokleby, Chen (ICDM 2016).
    alpha = 0 is the quasi-clustering alone ("QC"), which is soft bootstrapping with `trust` 1 - beta.  At beta = 0.9,
    QC alone mostly makes predictions certain, and on MNIST it assigns all items to one class, unlike Table 5 of the
    paper.  With `detach` it does not, so the method `qc` sets `detach`.

    Args:
        target: see LabelLearner.
        alpha: weight of the noise model's term, in [0, 1].
        beta: weight of the network's own prediction in the target of the quasi-clustering, in [0, 1].
        dropout: share of the noise model's inputs f that is left out in training, in [0, 1).  The papers do not give
            the rate.  On digits with noise of 0.3 and more, 0.3 was better than 0.1 and 0.
        kappa: W starts as kappa times the identity; the paper does not give the start.  On digits with noise of 0 to
            0.7, 2 was the best of 1, 2, 3 and 4, and 3 was almost as good.  On MNIST with noise of 0.5, some networks
            swapped classes with kappa 2, and no network with kappa 3.  With kappa up to 2, the noise model alone makes
            many errors even without noise, and the quasi-clustering corrects them, as the paper reports.
        detach: stop the gradient through the prediction in the target of the quasi-clustering.
    """

    alpha: float = 0.9
    beta: float = 0.9
    dropout: float = 0.0
    kappa: float = 3.0
    detach: bool = False

    SPACE: ClassVar[Space] = {
        **LabelLearner.SPACE,
        "alpha": Float(0, 1),
        "beta": Float(0, 1),
        "dropout": Float(0, 0.7),
        "kappa": Float(0.5, 10, log=True),
        "detach": Choice(False, True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("alpha", self.alpha)
        check_share("beta", self.beta)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not 0 < self.kappa < math.inf:
            raise ValueError(f"kappa must be above 0 and finite, got {self.kappa}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with its noise model, or the network alone if alpha is 0."""
        network = task.build_network()
        return network if self.alpha == 0 else WithNoiseModel(network, task.n_classes, self.kappa, self.dropout)

    def parameter_groups(self, model: nn.Module, recipe: Recipe) -> Iterable[dict[str, Any]]:
        """Return two groups; the noise model has no weight decay, which would make its label distribution uniform."""
        if not isinstance(model, WithNoiseModel):
            return super().parameter_groups(model, recipe)
        network = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
        return [{"params": network}, {"params": [model.weight], "weight_decay": 0.0}]

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the weighted terms "noise_model" and "quasi_clustering"; a term of weight 0 is left out."""
        log_class, target = log_probabilities(model(batch.inputs)), batch.target(self.target)
        terms: LossTerms = {}
        if self.alpha > 0:
            assert isinstance(model, WithNoiseModel)
            terms["noise_model"] = self.alpha * cross_entropy(model.label_logits(log_class.exp()), target)
        if self.alpha < 1:
            clustering = soft_bootstrapping(log_class, target, trust=1 - self.beta, detach=self.detach)
            terms["quasi_clustering"] = (1 - self.alpha) * clustering
        return terms


class WithNoiseModel(WrappedNetwork):
    """A network and the nonlinear noise model of its labels with `weight` (n_classes, n_classes), W[label, true class].

    For the arguments see Nnaqc.
    """

    def __init__(self, network: nn.Module, n_classes: int, kappa: float, dropout: float) -> None:
        super().__init__(network)
        self.weight = nn.Parameter(kappa * torch.eye(n_classes))
        self._dropout = dropout

    def label_logits(self, probabilities: Tensor) -> Tensor:
        """Return the logits W f of the label (n, n_classes) from probabilities f of the true class (n, n_classes)."""
        with full_precision(probabilities):
            return functional.linear(functional.dropout(probabilities, self._dropout, self.training), self.weight)
