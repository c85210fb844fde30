"""UnionNet: one distribution over the labels of all workers together (Wei, Xie, Feng, Han, An, IEEE TNNLS 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from crowdml.learning.annotations import BatchAnnotations
from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner, annotation_nll
from crowdml.learning.crowd.evidence import vote_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Choice, Float, Space

Variant = Literal["a", "b"]
Transition = Literal["identity", "majority", "fixed"]


@dataclass(frozen=True)
class UnionNet(CrowdLearner):
    """Model one distribution over the union of all workers' labels, which has n_workers * n_classes elements.

    With the network's probabilities f and the weights theta (n_workers, n_classes true, n_classes given), label l of
    worker w has the probability

        a:  softmax over (w, l) of sum_c f_c theta[w, c, l]
        b:  sum_c f_c T[w, c, l], where T is the softmax over (w, l) of theta[:, c, :]

    in the variants UnionNet-A and UnionNet-B.  The loss is the mean negative log-probability of the annotations.  The
    paper sums over the labels of an item (Equation 6); the mean weights annotations as in all learners here.

    Args:
        variant: "a" or "b".
        transition: start of theta.  "identity" is a matrix near the identity.  "majority" is the logarithm of each
            worker's confusion matrix, counted by the vote (the authors' code on Music).  "fixed" starts as "majority",
            and theta is not trained.
        epsilon: probability of a wrong label for "identity", and the value that is added to the counted matrices before
            their logarithm is taken; 1e-5 in the paper.
    """

    variant: Variant = "b"
    transition: Transition = "identity"
    epsilon: float = 1e-5

    SPACE: ClassVar[Space] = {
        "variant": Choice(*get_args(Variant)),
        "transition": Choice(*get_args(Transition)),
        "epsilon": Float(1e-6, 0.5, log=True),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("variant", Variant), ("transition", Transition)):
            if getattr(self, name) not in get_args(choices):
                listed = ", ".join(f'"{choice}"' for choice in get_args(choices))
                raise ValueError(f"{name} must be one of {listed}, got {getattr(self, name)!r}")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must be in (0, 1), got {self.epsilon}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the initial theta."""
        if self.transition == "identity":
            theta = near_identity(given.crowd.n_classes, self.epsilon).repeat(given.crowd.n_workers, 1, 1)
        else:
            theta = (vote_confusion(given) + self.epsilon).log()
        return _Union(task.build_network(), theta, learned=self.transition != "fixed")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean negative log likelihood of the annotations in the union."""
        assert isinstance(model, _Union)
        log_f = log_probabilities(model(batch.inputs))
        if self.variant == "a":
            nll = union_nll(log_f.exp(), model.theta, batch.annotations)
        else:
            log_transition = model.theta - torch.logsumexp(model.theta, dim=(0, 2))[:, None]
            nll = annotation_nll(log_f, log_transition, batch.given, batch.items)
        return {"annotations": nll}

    def confusion(self, model: nn.Module) -> Tensor:
        """Return the union's distribution for each class, normalised per worker: softmax of theta over the labels."""
        assert isinstance(model, _Union)
        return model.theta.softmax(dim=2)


def near_identity(n_classes: int, epsilon: float) -> Tensor:
    """Return (n_classes, n_classes) with 1 - epsilon on the diagonal and the rest spread evenly (Equation 7)."""
    eye = torch.eye(n_classes)
    return (1 - epsilon) * eye + epsilon / (n_classes - 1) * (1 - eye)


def union_nll(classes: Tensor, theta: Tensor, part: BatchAnnotations) -> Tensor:
    """Return the mean negative log-probability of the annotations in UnionNet-A, or 0 without annotations.

    Args:
        classes: (n, n_classes) probabilities f of some items.
        theta: (n_workers, n_classes, n_classes), indexed [worker, true, given].
        part: the annotations of these items.
    """
    with torch.autocast(classes.device.type, enabled=False):
        scores = torch.einsum("nc,wcl->nwl", classes, theta)
    log_union = scores - torch.logsumexp(scores, dim=(1, 2), keepdim=True)
    return -log_union[part.row, part.worker, part.label].sum() / max(len(part), 1)


class _Union(WrappedNetwork):
    """A network with theta (n_workers, n_classes, n_classes), indexed [worker, true, given]."""

    def __init__(self, network: nn.Module, theta: Tensor, *, learned: bool) -> None:
        super().__init__(network)
        self.theta = nn.Parameter(theta, requires_grad=learned)
