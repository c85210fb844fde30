"""Coupled cross-entropy minimisation (CCEM): fit network and workers' matrices to every annotation together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

from crowdml.learning.batch import Batch
from crowdml.learning.crowd.crowd_learner import CrowdLearner, annotation_nll
from crowdml.learning.crowd.evidence import count_confusion
from crowdml.learning.crowd.matrices import WorkerMatrices, diagonal, log_confusion
from crowdml.learning.learner import LossTerms
from crowdml.learning.likelihood import log_probabilities
from crowdml.learning.supervision import Supervision
from crowdml.learning.task import Task
from crowdml.support.search_space import Choice, Space

Init = Literal["identity", "votes"]

# Added to every count.  A worker without items of a class starts with a uniform row for that class.
_SMOOTHING = 0.01


@dataclass(frozen=True)
class Ccem(CrowdLearner):
    """Minimise the mean over all annotations of -log [A_w^T f(x_i)]_l (Ibrahim, Nguyen and Fu, ICLR 2023, Eq. 3).

    The rows of A_w are softmaxes of free parameters.

    Args:
        init: start of the free parameters.  "identity" starts from the identity, as the authors do; the diagonal of A_w
            is then e / (e + n_classes - 1).  "votes" starts from the logarithms of the matrices that are counted by the
            vote shares.
    """

    init: Init = "identity"

    SPACE: ClassVar[Space] = {"init": Choice(*get_args(Init))}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in get_args(Init):
            raise ValueError(f'init must be "identity" or "votes", got {self.init!r}')

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """Return the network with the workers' matrices."""
        crowd = given.crowd
        if self.init == "identity":
            free = diagonal(crowd.n_workers, crowd.n_classes)
        else:
            free = count_confusion(crowd.all(), given.posterior, crowd.n_workers, _SMOOTHING).log()
        return WorkerMatrices(task.build_network(), free)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """Return the coupled cross-entropy of the batch's annotations."""
        log_f = log_probabilities(model(batch.inputs))
        return {"cross_entropy": annotation_nll(log_f, log_confusion(model), batch.given, batch.items)}

    def confusion(self, model: nn.Module) -> Tensor:
        """Return the workers' matrices, (n_workers, n_classes, n_classes)."""
        return log_confusion(model).exp()
