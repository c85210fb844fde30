"""AggNet: EM in which the M-step trains a network for one epoch (Albarqouni et al., IEEE TMI 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from crowdml.learning.annotations import BatchAnnotations
from crowdml.learning.batch import Batch, Epoch
from crowdml.learning.crowd.crowd_learner import CrowdLearner
from crowdml.learning.crowd.evidence import add_evidence, count_confusion
from crowdml.learning.evaluate import predict_proba
from crowdml.learning.learner import LossTerms
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.learning.wrapped_network import WrappedNetwork
from crowdml.support.search_space import Choice, Float, Space

CountedBy = Literal["posterior", "network"]


@dataclass(frozen=True)
class AggNet(CrowdLearner):
    """Train on a posterior that is inferred before every epoch from the network and the workers' matrices.

    AggNet is the model of Raykar et al. (JMLR 2010) for networks of any depth and any number of classes.  Rodrigues and
    Pereira (AAAI 2018) call it DL-EM.  With the network's prediction f, the steps are

        E-step   q_ic proportional to f_c(x_i) prod_w A_w[c, l_iw]
        M-step   A_w[c, l] proportional to smoothing + sum of q_ic over the items that w labelled l;
                 one epoch of cross-entropy of f on q.

    In the first epoch, q is the vote shares.

    Args:
        smoothing: value added to every count of the M-step; 0.01 in the code of Rodrigues and Pereira.
        counted_by: "posterior" counts the workers' labels by q, as in EM; "network" counts them by f, as in the code of
            Rodrigues and Pereira.
    """

    one_process: ClassVar[bool] = True

    smoothing: float = 0.01
    counted_by: CountedBy = "posterior"

    SPACE: ClassVar[Space] = {"smoothing": Float(1e-4, 1, log=True), "counted_by": Choice(*get_args(CountedBy))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.smoothing > 0:
            raise ValueError(f"smoothing must be above 0, got {self.smoothing}")
        if self.counted_by not in get_args(CountedBy):
            raise ValueError(f'counted_by must be "posterior" or "network", got {self.counted_by!r}')

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the posterior of all items and the workers' matrices as state."""
        n_workers, n_classes = given.crowd.n_workers, task.n_classes
        uniform = torch.full((n_workers, n_classes, n_classes), 1 / n_classes)
        return _Inferring(task.build_network(), posterior=given.posterior.clone(), confusion=uniform)

    def begin_epoch(self, model: nn.Module, task: Task, given: Supervision, epoch: Epoch) -> None:
        """Carry out the E-step, except in the first epoch, and the M-step of the matrices on the training items."""
        assert isinstance(model, _Inferring)
        counted = model.posterior
        if epoch.number > 0:
            predicted = predict_proba(model, task, task.inputs)
            model.posterior.copy_(infer(predicted, model.confusion, given.crowd.all()))
            counted = model.posterior if self.counted_by == "posterior" else predicted
        part, n_workers = given.crowd.of(epoch.items), given.crowd.n_workers
        model.confusion.copy_(count_confusion(part, counted[epoch.items], n_workers, self.smoothing))

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the mean cross-entropy on the posterior."""
        assert isinstance(model, _Inferring)
        return {"cross_entropy": functional.cross_entropy(model(batch.inputs), model.posterior[batch.items])}


def infer(predicted: Tensor, confusion: Tensor, part: BatchAnnotations) -> Tensor:
    """Return the posterior of the E-step, (n, n_classes).

    Args:
        predicted: (n, n_classes) predictions f of some items.
        confusion: (n_workers, n_classes, n_classes) matrices A with entries above 0.
        part: the annotations of these items.
    """
    log_class = predicted.clamp_min(torch.finfo(predicted.dtype).tiny).log()
    return add_evidence(log_class, confusion.log(), part).exp()


class _Inferring(WrappedNetwork):
    """A network with the posterior (n_items, n_classes) and the workers' matrices that EM has inferred."""

    posterior: Tensor
    confusion: Tensor
