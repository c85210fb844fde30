"""Trace regularisation: workers' matrices learned with the network, and pushed away from trusting every worker."""

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
from crowdml.support.search_space import Real, Space


@dataclass(frozen=True)
class TraceReg(CrowdLearner):
    """Coupled cross-entropy plus `weight` times the workers' mean trace.

    Tanno, Saeedi, Sankaranarayanan, Alexander and Silberman, CVPR 2019, Eq. 4.  Among the matrices that explain the
    annotations equally well the trace is least at the true ones; so it is minimised.  As in the paper's appendix the
    rows are normalised softplus of parameters that start as 6 I - 5, near the identity, and the trace is averaged over
    the workers; the cross-entropy is the mean over annotations, as of every crowd method here.

    Args:
        weight: of the trace, at least 0.
        warm_up: share of the epochs that go by before the trace counts, in [0, 1).
    """

    weight: float = 0.01
    warm_up: float = 0.1

    SPACE: ClassVar[Space] = {"weight": Real(1e-4, 1, log=True), "warm_up": Real(0, 0.5)}

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must be in [0, 1), got {self.warm_up}")

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The network and the workers' matrices."""
        free = diagonal(given.crowd.n_workers, given.crowd.n_classes, on=1.0, off=-5.0)
        return WorkerMatrices(task.build_network(), free, rows="softplus")

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The coupled cross-entropy of the batch's annotations, and the trace."""
        log_a = log_confusion(model)
        trace = log_a.diagonal(dim1=1, dim2=2).exp().sum(dim=1).mean()
        weight = self.weight if batch.epoch >= self.warm_up * batch.n_epochs else 0.0
        log_f = log_probabilities(model(batch.inputs))
        return {
            "cross_entropy": annotation_nll(log_f, log_a, batch.given, batch.items),
            "trace": weight * trace,
        }

    def confusion(self, model: nn.Module) -> Tensor:
        """See CrowdLearner."""
        return log_confusion(model).exp()
