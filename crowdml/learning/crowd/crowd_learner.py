"""CrowdLearner: a learner that trains on every annotation of a crowd."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crowdml.learning.learner import Learner
from crowdml.learning.supervision import Supervision


@dataclass(frozen=True)
class CrowdLearner(Learner):
    """A learner that trains on every annotation of the items in a batch.

    In its supervision, `labels` is the majority vote, `posterior` the vote shares, and `crowd` the annotations.
    """

    def confusion(self, model: nn.Module) -> Tensor:
        """Return P(label | true class) per worker, (n_workers, n_classes, n_classes); rows sum to one.

        By default, this is the buffer `confusion` of the model.
        """
        assert isinstance(model.confusion, Tensor)
        return model.confusion


def annotation_nll(log_class: Tensor, log_confusion: Tensor, given: Supervision, items: Tensor) -> Tensor:
    """Return the mean of -log sum_c f_c(x_i) A_w[c, l] over the annotations of some items, or 0 without annotations.

    Args:
        log_class: (n, n_classes) log-probabilities log f of the items.
        log_confusion: (n_workers, n_classes, n_classes) log A, indexed [worker, true, given].
        given: supervision with the annotations.
        items: (n,) indices of the items.
    """
    part = given.crowd.of(items)
    of_label = log_confusion[part.worker, :, part.label]
    return -torch.logsumexp(log_class[part.row] + of_label, dim=1).sum() / max(len(part), 1)
