"""Trace regularisation: learn the workers' matrices with the network, and penalise their trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner, annotation_nll
from crowdml.learning.crowd.matrices import WorkerMatrices, diagonal, log_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.support.search_space import Float, Space


@dataclass(frozen=True)
class TraceReg(CrowdLearner):
    """Minimise the coupled cross-entropy plus `weight` times the mean trace of the workers' matrices.

    Tanno, Saeedi, Sankaranarayanan, Alexander and Silberman, CVPR 2019, Eq. 4.  Among the matrices that explain the
    annotations equally well, the true matrices have the smallest trace.  As in the appendix of the paper, each row is
    the normalised softplus of parameters, which start as 6 I - 5, near the identity.  The trace is the mean over the
    workers.  As in every crowd learner here, the cross-entropy is the mean over the annotations.

    Args:
        weight: weight of the trace, at least 0.
        warm_up: share of the epochs that are trained without the trace term at the start, in [0, 1).
    """

    weight: float = 0.01
    warm_up: float = 0.1

    SPACE: ClassVar[Space] = {"weight": Float(1e-4, 1, log=True), "warm_up": Float(0, 0.5)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weight >= 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must be in [0, 1), got {self.warm_up}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the workers' matrices."""
        free = diagonal(given.crowd.n_workers, given.crowd.n_classes, on=1.0, off=-5.0)
        return WorkerMatrices(task.build_network(), free, rows="softplus")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the coupled cross-entropy of the batch's annotations, and the weighted trace."""
        log_a = log_confusion(model)
        trace = log_a.diagonal(dim1=1, dim2=2).exp().sum(dim=1).mean()
        weight = self.weight if batch.epoch >= self.warm_up * batch.n_epochs else 0.0
        log_f = log_probabilities(model(batch.inputs))
        return {"cross_entropy": annotation_nll(log_f, log_a, batch.given, batch.items), "trace": weight * trace}

    def confusion(self, model: nn.Module) -> Tensor:
        """Return the workers' matrices, (n_workers, n_classes, n_classes)."""
        return log_confusion(model).exp()
