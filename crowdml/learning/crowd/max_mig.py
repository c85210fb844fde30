"""Max-MIG: train a classifier and an aggregator to share information (Cao, Xu, Kong, Wang, ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.crowd.evidence import add_evidence, vote_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Choice, Space

ClassPrior = Literal["majority", "uniform", "learned"]

FLOOR = 0.01
"""Value that is added to the matrices counted by the vote before their logarithm is taken, as in the authors' code."""


@dataclass(frozen=True)
class MaxMig(CrowdLearner):
    """Maximise the mutual information gain (KL form) between the network f and an aggregator g of the annotations.

    The aggregator is g(l) = softmax(log p + sum_w W_w[:, l_w]), where p is the class prior.  W_w starts as the
    logarithm of the confusion matrix of worker w, counted by the vote.  With R_ij = sum_c f_c(x_i) g_c(l_j) / p_c, the
    gain of a batch is

        mean_i (1 + log R_ii) - mean_{i != j} R_ij

    (section 3.2 and Table 1 of the paper).  It rewards agreement of f and g on the same item, and penalises agreement
    on different items.  An item without annotations has R_ii = 1 for every f, so its first term has no gradient.

    Args:
        class_prior: "majority" is the mean of the vote shares, "uniform" is uniform (the authors' code on LabelMe), and
            "learned" starts as the mean of the vote shares and is trained.
    """

    class_prior: ClassPrior = "majority"

    SPACE: ClassVar[Space] = {"class_prior": Choice(*get_args(ClassPrior))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_prior not in get_args(ClassPrior):
            raise ValueError(f'class_prior must be "majority", "uniform" or "learned", got {self.class_prior!r}')

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the aggregator, whose weights start from the matrices counted by the vote."""
        weights = (vote_confusion(given) + FLOOR).log()
        prior = given.posterior.mean(dim=0).clamp_min(1 / task.n_items)
        log_prior = torch.zeros_like(prior) if self.class_prior == "uniform" else prior.log()
        return _CoTraining(task.build_network(), weights, log_prior, self.class_prior == "learned")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the two terms of the negative gain: one over single items, and one over pairs of items."""
        assert isinstance(model, _CoTraining)
        log_f = log_probabilities(model(batch.inputs))
        log_prior = model.log_prior.log_softmax(dim=0)
        log_aggregated = add_evidence(log_prior.expand_as(log_f), model.weights, batch.annotations)
        one_item, two_items = gain(log_f, log_aggregated, log_prior)
        return {"one_item": -one_item, "two_items": two_items}

    def confusion(self, model: nn.Module) -> Tensor:
        """Return the softmax of W over the labels, (n_workers, n_classes, n_classes), as the authors report it.

        Only differences of W between classes for the same label affect g.  A constant that is added to W for one label
        has no gradient, so it keeps its initial value.
        """
        assert isinstance(model, _CoTraining)
        return model.weights.softmax(dim=2)


def gain(log_f: Tensor, log_aggregated: Tensor, log_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean_i (1 + log R_ii) and mean_{i != j} R_ij; the second is 0 for a single item.

    Args:
        log_f: (n, n_classes) log f(x_i).
        log_aggregated: (n, n_classes) log g(l_i).
        log_prior: (n_classes,) log p.
    """
    n_items = len(log_f)
    weighed = log_aggregated - log_prior
    log_same = torch.logsumexp(log_f + weighed, dim=1)
    with torch.autocast(log_f.device.type, enabled=False):
        total = log_f.exp().sum(dim=0) @ weighed.exp().sum(dim=0)
    return 1 + log_same.mean(), (total - log_same.exp().sum()) / max(n_items * (n_items - 1), 1)


class _CoTraining(WrappedNetwork):
    """A network and an aggregator with weights W and class prior p that are trained together."""

    def __init__(self, network: nn.Module, weights: Tensor, log_prior: Tensor, learn_prior: bool) -> None:
        super().__init__(network)
        self.weights = nn.Parameter(weights)
        self.log_prior = nn.Parameter(log_prior, requires_grad=learn_prior)
