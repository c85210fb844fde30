"""The E-step and the M-step of Dawid-Skene on the device, as sums over annotations."""

from __future__ import annotations

import torch
from torch import Tensor

from crowdml.learning.annotations import BatchAnnotations
from crowdml.learning.supervision import Supervision


def count_confusion(part: BatchAnnotations, posterior: Tensor, n_workers: int, smoothing: float) -> Tensor:
    """Return P(label | true class) (n_workers, n_classes, n_classes) [worker, true, given], the M-step of Dawid-Skene.

    Args:
        part: the annotations of some items.
        posterior: (n, n_classes) posterior of these items.
        n_workers: number of workers, including workers without annotations.
        smoothing: value above 0 that is added to every count; a row without counts becomes uniform.
    """
    counts = _count(part, posterior, n_workers) + smoothing
    return counts / counts.sum(dim=2, keepdim=True)


def vote_confusion(given: Supervision) -> Tensor:
    """Return P(label | true class) per worker, counted by the vote shares without smoothing.

    The result is (n_workers, n_classes, n_classes), indexed [worker, true, given].  A row is zero if the worker
    labelled no item with a vote for that class, as in the code of Max-MIG and UnionNet.
    """
    counts = _count(given.crowd.all(), given.posterior, given.crowd.n_workers)
    return counts / counts.sum(dim=2, keepdim=True).clamp_min(torch.finfo(counts.dtype).tiny)


def add_evidence(log_class: Tensor, log_confusion: Tensor, part: BatchAnnotations) -> Tensor:
    """Return log q (n, n_classes), the E-step of Dawid-Skene: q is proportional to exp(log_class) prod_w A_w[c, l].

    Args:
        log_class: (n, n_classes) log-probabilities of the classes of each item before its annotations are seen.
        log_confusion: (n_workers, n_classes, n_classes) log A, indexed [worker, true, given]; rows need not be
            normalised.
        part: the annotations of these items.
    """
    said = log_confusion[part.worker, :, part.label]
    return log_class.index_add(0, part.row, said).log_softmax(dim=1)


def _count(part: BatchAnnotations, posterior: Tensor, n_workers: int) -> Tensor:
    """Return the expected number of labels, (n_workers, n_classes, n_classes), indexed [worker, true, given]."""
    n_classes = posterior.shape[1]
    counts = posterior.new_zeros((n_workers * n_classes, n_classes))
    counts.index_add_(0, part.worker * n_classes + part.label, posterior[part.row])
    return counts.reshape(n_workers, n_classes, n_classes).transpose(1, 2)
