"""UnionNet: the labels of all workers as one (Wei, Xie, Feng, Han, An, IEEE TNNLS 2022)."""

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
from crowdml.support.search_space import Choice, Real, Space

Variant = Literal["a", "b"]
Transition = Literal["identity", "majority", "fixed"]


@dataclass(frozen=True)
class UnionNet(CrowdLearner):
    """One distribution over the labels of all workers together, n_workers * n_classes of them.

    With f the network's probabilities and theta (n_workers, n_classes true, n_classes given) the weights, label l of
    worker w has in the union the probability

        a:  softmax over (w, l) of sum_c f_c theta[w, c, l]
        b:  sum_c f_c T[w, c, l], T the softmax over (w, l) of theta[:, c, :]

    (UnionNet-A and UnionNet-B).  The loss is its mean negative logarithm over the annotations: Equation 6 divided by
    the number of labels an item, so that all methods here weigh the annotations alike.

    Args:
        variant: "a" or "b".
        transition: theta is learned from "identity", near the identity, or from "majority", the logarithm of the
            confusion that the majority vote gives each worker (the authors' code on Music); or it stays "fixed" there,
            estimated before the training.
        epsilon: chance of a wrong label in the identity, and what is added to the majority's confusion before its
            logarithm is taken; 1e-5 in the paper.
    """

    variant: Variant = "b"
    transition: Transition = "identity"
    epsilon: float = 1e-5

    SPACE: ClassVar[Space] = {
        "variant": Choice(*get_args(Variant)),
        "transition": Choice(*get_args(Transition)),
        "epsilon": Real(1e-6, 0.5, log=True),
    }

    def __post_init__(self) -> None:
        for name, choices in (("variant", Variant), ("transition", Transition)):
            if getattr(self, name) not in get_args(choices):
                listed = ", ".join(f'"{choice}"' for choice in get_args(choices))
                raise ValueError(f"{name} must be one of {listed}, got {getattr(self, name)!r}")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must be in (0, 1), got {self.epsilon}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The network with theta at its start."""
        if self.transition == "identity":
            theta = near_identity(given.crowd.n_classes, self.epsilon).repeat(given.crowd.n_workers, 1, 1)
        else:
            theta = (vote_confusion(given) + self.epsilon).log()
        return _Union(task.build_network(), theta, learned=self.transition != "fixed")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Mean negative log likelihood of the annotations in the union."""
        assert isinstance(model, _Union)
        log_f = log_probabilities(model(batch.inputs))
        if self.variant == "a":
            nll = union_nll(log_f.exp(), model.theta, batch.annotations)
        else:
            log_transition = model.theta - torch.logsumexp(model.theta, dim=(0, 2))[:, None]
            nll = annotation_nll(log_f, log_transition, batch.given, batch.items)
        return {"annotations": nll}

    def confusion(self, model: nn.Module) -> Tensor:
        """(n_workers, n_classes, n_classes) the union's distribution for a certain class, normalised by worker.

        That is the softmax of theta over the labels in both variants.
        """
        assert isinstance(model, _Union)
        return model.theta.softmax(dim=2)


def near_identity(n_classes: int, epsilon: float) -> Tensor:
    """(n_classes, n_classes) 1 - epsilon on the diagonal, the rest spread evenly (Equation 7)."""
    eye = torch.eye(n_classes)
    return (1 - epsilon) * eye + epsilon / (n_classes - 1) * (1 - eye)


def union_nll(classes: Tensor, theta: Tensor, part: BatchAnnotations) -> Tensor:
    """Mean over the annotations of -log softmax over (w, l) of sum_c f_c theta[w, c, l]; 0 without any.

    Args:
        classes: (n, n_classes) f.
        theta: (n_workers, n_classes, n_classes), [w, true, given].
        part: the annotations of those items.
    """
    with torch.autocast(classes.device.type, enabled=False):
        scores = torch.einsum("nc,wcl->nwl", classes, theta)
    log_union = scores - torch.logsumexp(scores, dim=(1, 2), keepdim=True)
    return -log_union[part.row, part.worker, part.label].sum() / max(len(part), 1)


class _Union(nn.Module):
    """A network with the transition to the union of all labels.

    Args:
        network: maps inputs to logits (n, n_classes).
        theta: (n_workers, n_classes, n_classes), [w, true, given].
        learned: train theta too.
    """

    def __init__(self, network: nn.Module, theta: Tensor, *, learned: bool) -> None:
        super().__init__()
        self.network = network
        self.theta = nn.Parameter(theta, requires_grad=learned)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)
