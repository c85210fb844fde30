"""Coupled cross-entropy minimisation (CCEM): network and workers' matrices fit every annotation together."""

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

# Added to every count against the votes; a worker who met nothing of a class starts from a uniform row there.
_SMOOTHING = 0.01


@dataclass(frozen=True)
class Ccem(CrowdLearner):
    """Minimises the mean over all annotations of -log [A_w^T f(x_i)]_l.

    Ibrahim, Nguyen and Fu, ICLR 2023, Eq. 3; the rows of A_w are softmaxes of free parameters.

    Args:
        init: the free parameters start as the "identity", as the authors' do (a weak diagonal: each row has
            e / (e + n_classes - 1) there), or as the logarithms of the matrices counted against the "votes".
    """

    init: Init = "identity"

    SPACE: ClassVar[Space] = {"init": Choice(*get_args(Init))}

    def __post_init__(self) -> None:
        if self.init not in get_args(Init):
            raise ValueError(f'init must be "identity" or "votes", got {self.init!r}')

    def build(self, task: Task, given: Supervision) -> nn.Module:
        """The network and the workers' matrices."""
        crowd = given.crowd
        if self.init == "identity":
            free = diagonal(crowd.n_workers, crowd.n_classes)
        else:
            free = count_confusion(crowd.all(), given.posterior, crowd.n_workers, _SMOOTHING).log()
        return WorkerMatrices(task.build_network(), free)

    def loss(self, model: nn.Module, batch: Batch) -> LossTerms:
        """The coupled cross-entropy of the batch's annotations."""
        log_f = log_probabilities(model(batch.inputs))
        return {"cross_entropy": annotation_nll(log_f, log_confusion(model), batch.given, batch.items)}

    def confusion(self, model: nn.Module) -> Tensor:
        """See CrowdLearner."""
        return log_confusion(model).exp()
