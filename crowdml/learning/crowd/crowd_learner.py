"""CrowdLearner: a learner that trains on every annotation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crowdml.learning.learner import Learner
from crowdml.learning.supervision import Supervision


@dataclass(frozen=True)
class CrowdLearner(Learner):
    """A learner whose batches hold every annotation of their items.

    `given.labels` and `given.posterior` are the majority vote; `given.crowd` holds the annotations.
    """

    def confusion(self, model: nn.Module) -> Tensor:
        """(n_workers, n_classes, n_classes) each worker's P(label | true class) in the model; rows sum to one."""
        raise NotImplementedError


def annotation_nll(log_class: Tensor, log_confusion: Tensor, given: Supervision, items: Tensor) -> Tensor:
    """Mean over the annotations of some items of -log sum_c f_c(x_i) A_w[c, l], in the log domain.

    Args:
        log_class: (n, n_classes) log f of the items.
        log_confusion: (n_workers, n_classes, n_classes) log A, [w, true, given].
        given: holds the annotations.
        items: (n,) the items; without any annotation the result is 0.
    """
    part = given.crowd.of(items)
    of_label = log_confusion[part.worker, :, part.label]
    return -torch.logsumexp(log_class[part.row] + of_label, dim=1).sum() / max(len(part), 1)
