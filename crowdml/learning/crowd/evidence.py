"""Two sums over annotations: what a posterior says of the workers, and what the workers say of the items."""

from __future__ import annotations

import torch
from torch import Tensor

from crowdml.learning.annotations import BatchAnnotations
from crowdml.learning.supervision import Supervision


def count_confusion(part: BatchAnnotations, posterior: Tensor, n_workers: int, smoothing: float) -> Tensor:
    """(n_workers, n_classes, n_classes) P(label | true class), [w, true, given]: the M-step of Dawid-Skene.

    Args:
        part: the annotations of some items.
        posterior: (n, n_classes) of those items.
        n_workers: number of workers, those without annotations included.
        smoothing: added to every count, above 0; a row without any count becomes uniform.
    """
    counts = _count(part, posterior, n_workers) + smoothing
    return counts / counts.sum(dim=2, keepdim=True)


def vote_confusion(given: Supervision) -> Tensor:
    """(n_workers, n_classes, n_classes) P(label | true class) counted by the vote shares, without smoothing.

    The row of a class that a worker never met by them is zero, as in the code of Max-MIG and UnionNet.
    """
    counts = _count(given.crowd.all(), given.posterior, given.crowd.n_workers)
    return counts / counts.sum(dim=2, keepdim=True).clamp_min(torch.finfo(counts.dtype).tiny)


def add_evidence(log_class: Tensor, log_confusion: Tensor, part: BatchAnnotations) -> Tensor:
    """(n, n_classes) log q, q proportional to exp(log_class) prod_w A_w[c, l]: the E-step of Dawid-Skene.

    Args:
        log_class: (n, n_classes) log of what is known of each item without its annotations.
        log_confusion: (n_workers, n_classes, n_classes) log A, [w, true, given]; its rows need not be normalised.
        part: the annotations of those items.
    """
    said = log_confusion[part.worker, :, part.label]
    return log_class.index_add(0, part.row, said).log_softmax(dim=1)


def _count(part: BatchAnnotations, posterior: Tensor, n_workers: int) -> Tensor:
    """(n_workers, n_classes, n_classes) expected number of labels [w, true, given]."""
    n_classes = posterior.shape[1]
    counts = posterior.new_zeros((n_workers * n_classes, n_classes))
    counts.index_add_(0, part.worker * n_classes + part.label, posterior[part.row])
    return counts.reshape(n_workers, n_classes, n_classes).transpose(1, 2)
